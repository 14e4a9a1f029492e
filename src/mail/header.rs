//! Headers of mails that people's texts are in.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lettre::message::{
    Mailbox,
    header::{HeaderName, HeaderValue},
};

/// The largest number of bytes in an encoded word, which is at most 75 characters long, and in the first
/// one: a line with encoded words has at most 76, and begins with the name of the header (RFC 2047).
const WORD_BYTES: usize = 45;
const FIRST_WORD_BYTES: usize = 39;
/// What an encoded word begins with.
const WORD_START: &str = "=?";

/// A header whose value is ASCII without line breaks and never what a person wrote: it is not
/// encoded.
pub(super) fn ascii(name: &'static str, value: &str) -> HeaderValue {
    encoded(name, value, value.to_owned())
}

/// The subject, which mail programs show exactly as it is.
pub(super) fn subject(text: &str) -> HeaderValue {
    let name = "Subject";
    // Programs would decode what looks like an encoded word, and may join spaces.
    let is_plain = text.is_ascii() && !text.contains(WORD_START) && !text.contains("  ");
    if is_plain {
        return HeaderValue::new(HeaderName::new_from_ascii_str(name), text.to_owned());
    }
    encoded(name, text, encoded_words(text))
}

/// A header with one mailbox whose name contains what looks like an encoded word. `None` if it does
/// not: lettre encodes such names.
pub(super) fn mailbox(name: &'static str, mailbox: &Mailbox) -> Option<HeaderValue> {
    let shown = mailbox.name.as_deref().filter(|shown| shown.contains(WORD_START))?;
    let value = format!("{}\r\n <{}>", encoded_words(shown), mailbox.email);
    Some(encoded(name, &mailbox.to_string(), value))
}

fn encoded(name: &'static str, value: &str, encoded: String) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), encoded)
}

/// Encodes a whole text, so that nothing in it can be taken for an encoded word.
fn encoded_words(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let room = if words.is_empty() { FIRST_WORD_BYTES } else { WORD_BYTES };
        let (word, left) = rest.split_at(rest.floor_char_boundary(room));
        words.push(format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
        rest = left;
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;

    #[test]
    fn a_subject_reads_as_it_was_written() {
        for text in [
            "The site is down",
            "=?utf-8?B?0J/RgNC40LLQtdGC?= shows up as subject in my mails",
            "Тема =?utf-8?B?0J/RgNC40LLQtdGC?= и ещё =?koi8-r?Q?=F0?=",
            "two  spaces and   three",
            "я  👩‍💻 é  =? ?=",
            &"я".repeat(255),
            "a b ".repeat(60).trim_end(),
        ] {
            let mut headers = lettre::message::header::Headers::new();
            headers.insert_raw(subject(text));
            let raw = format!("{headers}\r\n");
            assert!(raw.is_ascii() && raw.lines().all(|line| line.len() <= 76), "{raw}");
            let parsed = MessageParser::default().parse(raw.as_bytes()).unwrap();
            assert_eq!(parsed.subject(), Some(text), "{raw}");
        }
    }

    #[test]
    fn a_name_that_looks_like_an_encoded_word_is_shown_as_it_was_written() {
        let address = "anna@example.com".parse().unwrap();
        let named = |name: &str| Mailbox::new(Some(name.to_owned()), Clone::clone(&address));
        assert!(mailbox("To", &named("Anna Petrova")).is_none());
        let mut headers = lettre::message::header::Headers::new();
        let name = "=?utf-8?B?0J/RgNC40LLQtdGC?=";
        headers.insert_raw(mailbox("To", &named(name)).unwrap());
        let raw = format!("{headers}\r\n");
        let parsed = MessageParser::default().parse(raw.as_bytes()).unwrap();
        let to = parsed.to().unwrap().first().unwrap();
        assert_eq!((to.name(), to.address()), (Some(name), Some("anna@example.com")));
    }
}
