//! The name of a file in a part of a multipart body, as browsers, libraries and mail programs write
//! it.

use std::{borrow::Cow, collections::HashMap};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};
use percent_encoding::{percent_decode, percent_decode_str};

/// Base64, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the name of the file from the value of `Content-Disposition`, or an empty name if there
/// is none.
///
/// `filename*` (RFC 8187) is preferred, also in numbered pieces (RFC 2231). `filename` may have
/// encoded words (RFC 2047), and bytes of an old charset instead of UTF-8.
pub fn from_disposition(value: &[u8]) -> String {
    let parameters = parameters(value);
    let find = |name: &str| parameters.iter().find(|(found, _)| found == name);
    let extended = find("filename*").and_then(|(_, value)| decode_extended(value));
    let extended = extended.or_else(|| decode_pieces(&parameters));
    extended.or_else(|| find("filename").map(|(_, value)| decode_plain(value))).unwrap_or_default()
}

/// Returns the parameters of a header, with their names in lower case and their values without
/// quotes.
fn parameters(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = after(value, b';').unwrap_or_default();
    while !rest.is_empty() {
        let Some(equals) = rest.iter().position(|&byte| byte == b'=') else { break };
        let (name, text) = rest.split_at(equals);
        // A parameter without a value may come before.
        let name = name.rsplit(|&byte| byte == b';').next().unwrap_or_default();
        let (value, left) = parameter_value(&text[1..]);
        let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        found.push((name, value));
        rest = left;
    }
    found
}

/// Splits off the value at the start of a text. Returns it and what follows the next semicolon.
fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.trim_ascii_start().strip_prefix(b"\"") else {
        let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
        return (text[..end].trim_ascii().to_vec(), text.get(end + 1..).unwrap_or_default());
    };
    let mut value = Vec::new();
    let mut position = 0;
    while let Some(&byte) = quoted.get(position) {
        let rest = &quoted[position + 1..];
        match byte {
            b'"' => break,
            // A backslash before anything else is part of a path of Windows, and so is one before
            // the last quote.
            b'\\' if rest.starts_with(b"\"") && !ends_value(&rest[1..]) => {
                value.push(b'"');
                position += 2;
            }
            byte => {
                value.push(byte);
                position += 1;
            }
        }
    }
    let rest = quoted.get(position + 1..).unwrap_or_default();
    (value, after(rest, b';').unwrap_or_default())
}

fn ends_value(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_start();
    rest.is_empty() || rest.starts_with(b";")
}

fn after(text: &[u8], separator: u8) -> Option<&[u8]> {
    let position = text.iter().position(|&byte| byte == separator)?;
    Some(&text[position + 1..])
}

/// Decodes `charset'language'percent-encoded text`.
fn decode_extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let text = percent_decode(text).collect::<Vec<_>>();
    decode(Encoding::for_label(charset), &text)
}

/// Joins `filename*0*`, `filename*1` and so on. The percent-encoded ones end in an asterisk, and
/// the first of them begins with the charset.
fn decode_pieces(parameters: &[(String, Vec<u8>)]) -> Option<String> {
    let (mut joined, mut charset) = (Vec::new(), None);
    // The first of several with one name counts.
    let pieces = parameters.iter().rev().map(|(name, value)| (name.as_str(), value.as_slice()));
    let pieces = pieces.collect::<HashMap<_, _>>();
    for index in 0.. {
        let plain = format!("filename*{index}");
        if let Some(text) = pieces.get(plain.as_str()) {
            joined.extend(*text);
            continue;
        }
        let Some(value) = pieces.get((plain + "*").as_str()) else { break };
        let mut text = *value;
        if index == 0 {
            let mut parts = value.splitn(3, |&byte| byte == b'\'');
            charset = Encoding::for_label(parts.next()?);
            text = parts.nth(1)?;
        }
        joined.extend(percent_decode(text));
    }
    if joined.is_empty() { None } else { decode(charset, &joined) }
}

/// Decodes a text of a known charset; of an unknown one, only if it is UTF-8.
fn decode(charset: Option<&'static Encoding>, text: &[u8]) -> Option<String> {
    let charset = charset.unwrap_or(UTF_8);
    charset.decode_without_bom_handling_and_without_replacement(text).map(Cow::into_owned)
}

fn decode_plain(value: &[u8]) -> String {
    let text = match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => guess_charset(value).decode_without_bom_handling(value).0,
    };
    if text.contains("=?") {
        return decode_words(&text);
    }
    // So browsers write quotes (WHATWG HTML, multipart/form-data).
    text.replace("%22", "\"")
}

/// Guesses the charset of a text from a system that does not use UTF-8. Our people write English
/// and Russian.
fn guess_charset(text: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(text, true);
    detector.guess(Some(b"ru"), Utf8Detection::Deny)
}

/// Decodes the encoded words of a text. White space between two of them is left out, and a character
/// may begin in one and end in the next.
fn decode_words(text: &str) -> String {
    let mut decoded = String::new();
    let mut bytes = Vec::new();
    let mut charset = UTF_8;
    let mut rest = text;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        let found = encoded_word(word);
        let joins = !bytes.is_empty() && before.trim().is_empty() && found.is_some();
        if !joins || found.as_ref().is_some_and(|word| word.charset != charset) {
            decoded.push_str(&charset.decode_without_bom_handling(&bytes).0);
            bytes.clear();
        }
        if !joins {
            decoded.push_str(before);
        }
        rest = if let Some(word) = found {
            charset = word.charset;
            bytes.extend(word.bytes);
            word.rest
        } else {
            decoded.push_str("=?");
            &word[2..]
        };
    }
    decoded.push_str(&charset.decode_without_bom_handling(&bytes).0);
    decoded + rest
}

/// A decoded encoded word.
struct Word<'w> {
    charset: &'static Encoding,
    bytes: Vec<u8>,
    /// The text after it.
    rest: &'w str,
}

/// Decodes the encoded word at the start of a text.
fn encoded_word(text: &str) -> Option<Word<'_>> {
    let mut parts = text.strip_prefix("=?")?.splitn(4, '?');
    let (charset, encoding) = (parts.next()?, parts.next()?);
    let (encoded, rest) = (parts.next()?, parts.next()?.strip_prefix('=')?);
    // A language may follow an asterisk (RFC 2231).
    let charset = Encoding::for_label(charset.split('*').next()?.as_bytes())?;
    let bytes = match encoding {
        "B" | "b" => BASE64.decode(encoded).ok()?,
        "Q" | "q" => percent_decode_str(&encoded.replace('%', "=25").replace('=', "%"))
            .map(|byte| if byte == b'_' { b' ' } else { byte })
            .collect(),
        _ => return None,
    };
    Some(Word { charset, bytes, rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CP1251: &[u8] =
        b"form-data; name=\"0\"; filename=\"\xEE\xF2\xF7\xB8\xF2 \xE7\xE0 \xEC\xE0\xE9.docx\"";
    const KOI8: &[u8] =
        b"form-data; name=\"0\"; filename=\"\xCF\xD4\xDE\xA3\xD4 \xDA\xC1 \xCD\xC1\xCA.docx\"";

    #[test]
    fn a_name_is_decoded_in_every_form_that_programs_send() {
        let name = "отчёт за май.docx";
        let extended = "%D0%BE%D1%82%D1%87%D1%91%D1%82%20%D0%B7%D0%B0%20%D0%BC%D0%B0%D0%B9.docx";
        let word = "=?utf-8?B?0L7RgtGH0ZHRgiDQt9CwINC80LDQuS5kb2N4?=";
        for value in [
            format!("filename=\"{name}\""),
            format!("filename={name}"),
            format!("FileName=\"{word}\"; filename*=utf-8''{extended}"),
            format!("filename*=utf-8''{extended}; filename=\"{word}\""),
            format!("filename*=UTF-8'ru'{extended}"),
            format!("filename*=\"utf-8''{extended}\""),
            format!("filename=\"{word}\""),
            "filename=\"=?utf-8?B?0L7RgtGH0ZHRgiDQt9CwINC80LDQuQ==?=.docx\"".into(),
            "filename*=windows-1251''%EE%F2%F7%B8%F2%20%E7%E0%20%EC%E0%E9.docx".into(),
            "filename=\"=?windows-1251?Q?=EE=F2=F7=B8=F2_=E7=E0_=EC=E0=E9.docx?=\"".into(),
            "filename=\"=?koi8-r?B?z9Teo9QgwMEg?=\"; filename*=utf-8''".to_owned() + extended,
            "filename=\"=?koi8-r?Q?=CF=D4=DE=A3=D4_=DA=C1_?= =?koi8-r?Q?=CD=C1=CA=2Edocx?=\"".into(),
            "filename*0*=utf-8''%D0%BE%D1%82%D1%87%D1%91%D1%82; filename*1*=%20%D0%B7%D0%B0; filename*2=\" \"; filename*3*=%D0%BC%D0%B0%D0%B9; filename*4=\".docx\"".into(),
            // A character that begins in one word and ends in the next.
            "filename=\"=?utf-8?Q?=D0=BE=D1=82=D1=87=D1=91=D1?= =?UTF-8*ru?Q?=82_=D0=B7=D0=B0_=D0=BC=D0=B0=D0=B9?=.docx\"".into(),
            // Unreadable: the plain form counts.
            format!("filename=\"{name}\"; filename*=utf-8''%FF"),
            format!("filename=\"{name}\"; filename*=nonsense"),
        ] {
            let value = format!("form-data; name=\"0\"; {value}");
            assert_eq!(from_disposition(value.as_bytes()), name, "{value}");
        }
        for value in [CP1251, KOI8] {
            assert_eq!(from_disposition(value), name);
        }
    }

    #[test]
    fn quotes_paths_and_missing_names_are_understood() {
        for (value, name) in [
            (r#"form-data; name="0"; filename="a\"b;c.txt""#, "a\"b;c.txt"),
            (r#"form-data; name="0"; filename="a%22b.txt""#, "a\"b.txt"),
            (r#"form-data; name="0"; filename="C:\new\table.txt""#, "C:\\new\\table.txt"),
            (r#"form-data; name="0"; filename="C:\new\"; x="y""#, "C:\\new\\"),
            (r#"form-data; name="filename="; filename=a.txt"#, "a.txt"),
            (r#"form-data; flag; filename = "a.txt" "#, "a.txt"),
            (r#"form-data; name="0""#, ""),
            (r#"form-data; name="0"; filename="""#, ""),
            (r#"form-data; name="0"; filename="open"#, "open"),
            (r#"form-data; name="0"; filename="a=?b.txt""#, "a=?b.txt"),
            (
                r#"form-data; name="0"; filename="=?utf-9?Q?x?= =?utf-8?X?y?=""#,
                "=?utf-9?Q?x?= =?utf-8?X?y?=",
            ),
            (r#"form-data; name="0"; filename="50% =?utf-8?q?=41%_z?= b""#, "50% A% z b"),
            ("form-data", ""),
            ("", ""),
        ] {
            assert_eq!(from_disposition(value.as_bytes()), name, "{value}");
        }
    }
}
