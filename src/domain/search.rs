//! What people search for, and what they are shown of what was found.

use super::{
    ids::CommentId,
    text::{SingleLine, TextError},
    ticket::{NumberPrefix, Ticket, TicketNumber},
};

/// What somebody searches for, as they typed it.
pub type SearchText = SingleLine<255>;

/// At most so many tickets are found, the best ones.
pub const MAX_FOUND: i64 = 1_000;

/// Where more texts fit, so many of them are compared, the newest.
pub const MAX_RANKED: i64 = 10_000;

/// Words of fewer letters and digits are like too many others.
const MIN_SIMILAR: usize = 3;

/// What a search looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    text: SearchText,
    number: Option<TicketNumber>,
}

impl SearchQuery {
    /// Reads what somebody typed.
    ///
    /// # Errors
    /// Empty, too long, or with a control character.
    pub fn parse(text: &str, prefix: &NumberPrefix) -> Result<Self, TextError> {
        let text = SearchText::parse(text)?;
        let digits = text.as_str().bytes().all(|byte| byte.is_ascii_digit());
        let bare = || text.as_str().parse().ok().map(TicketNumber);
        let number = if digits { bare() } else { prefix.read(text.as_str()) };
        Ok(Self { text, number })
    }

    /// The text, in the form that search engines take: words, `"phrases"`, `or`, `-without`.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// The ticket that the text is the number of.
    pub fn number(&self) -> Option<TicketNumber> {
        self.number
    }

    /// What comes before the last word, and the last word, which may be the beginning of a
    /// longer one. None where it is no plain word.
    pub fn last_word(&self) -> Option<(&str, &str)> {
        let text = self.text();
        let start = text
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + text[space..].chars().next().map_or(0, char::len_utf8));
        let (head, last) = text.split_at(start);
        last.chars().all(char::is_alphanumeric).then_some((head, last))
    }

    /// Its words, to be compared letter by letter with others: those of some length. None where
    /// it is more than words.
    pub fn similar(&self) -> Vec<&str> {
        let words = self.text().split_whitespace();
        if words.clone().any(|word| word.starts_with('-') || word.contains('"') || word == "or") {
            return vec![];
        }
        let letters = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).count();
        words.filter(|word| letters(word) >= MIN_SIMILAR).collect()
    }
}

/// A place in a list of what was found: best first, of equally good ones the newest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundKey {
    /// How well the ticket fits.
    pub rank: f32,
    /// The ticket.
    pub ticket: super::ids::TicketId,
}

/// A part of a text that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What it says.
    pub text: String,
    /// Whether it is what was searched for.
    pub is_match: bool,
}

/// A ticket that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The ticket.
    pub ticket: Ticket,
    /// How well it fits.
    pub rank: f32,
    /// Its summary.
    pub summary: Vec<Fragment>,
    /// What fits best in its best text.
    pub excerpt: Vec<Fragment>,
    /// The comment that the excerpt is from; none: the ticket's description.
    pub comment: Option<CommentId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SearchQuery {
        SearchQuery::parse(text, &NumberPrefix::parse("CS").unwrap()).unwrap()
    }

    #[test]
    fn numbers_are_read_with_and_without_their_prefix() {
        for text in ["cs-234567", " 234567 "] {
            assert_eq!(parse(text).number(), Some(TicketNumber(234_567)));
        }
        for text in ["CS-", "XX-1", "23 4", "99999999999999999999"] {
            assert_eq!(parse(text).number(), None, "{text}");
        }
    }

    #[test]
    fn the_last_word_may_be_a_beginning() {
        assert_eq!(parse("mail serv").last_word(), Some(("mail ", "serv")));
        assert_eq!(parse("почт").last_word(), Some(("", "почт")));
        assert_eq!(parse("a\u{3000}b").last_word(), Some(("a\u{3000}", "b")));
        for text in ["mail -serv", "\"mail serv\"", "a:*", "web3.example.com"] {
            assert_eq!(parse(text).last_word(), None, "{text}");
        }
    }

    #[test]
    fn only_words_are_compared_letter_by_letter() {
        assert_eq!(parse("a certifcate ?!?").similar(), ["certifcate"]);
        for text in ["ab", "?!?!", "mail -web", "\"mail web\"", "mail or web"] {
            assert_eq!(parse(text).similar(), [] as [&str; 0], "{text}");
        }
    }
}
