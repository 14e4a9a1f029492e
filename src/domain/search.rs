//! Searches and their results.

use super::{
    ids::CommentId,
    text::{SingleLine, TextError},
    ticket::{NumberPrefix, Ticket, TicketNumber},
};

/// A search text as a person typed it.
pub type SearchText = SingleLine<255>;

/// The maximum number of tickets that a search finds. The best matches are returned.
pub const MAX_FOUND: i64 = 1_000;

/// The maximum number of matching texts that are ranked. The newest ones are ranked.
pub const MAX_RANKED: i64 = 10_000;

/// The minimum number of letters and digits in a word that is compared by similarity. Shorter
/// words resemble too many others.
const MIN_SIMILAR: usize = 3;

/// A parsed search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    text: SearchText,
    number: Option<TicketNumber>,
}

impl SearchQuery {
    /// Parses a search text.
    ///
    /// # Errors
    /// The text is empty, too long, or contains a control character.
    pub fn parse(text: &str, prefix: &NumberPrefix) -> Result<Self, TextError> {
        let text = SearchText::parse(text)?;
        let digits = text.as_str().bytes().all(|byte| byte.is_ascii_digit());
        let bare = || text.as_str().parse().ok().map(TicketNumber);
        let number = if digits { bare() } else { prefix.read(text.as_str()) };
        Ok(Self { text, number })
    }

    /// Returns the text in web search syntax: words, `"phrases"`, `or`, `-excluded`.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Returns the ticket number, if the text is one.
    pub fn number(&self) -> Option<TicketNumber> {
        self.number
    }

    /// Splits off the last word, which may be the beginning of a longer one. Returns the text
    /// before it and the word, or `None` if the last word contains other characters than letters
    /// and digits.
    pub fn last_word(&self) -> Option<(&str, &str)> {
        let text = self.text();
        let start = text
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + text[space..].chars().next().map_or(0, char::len_utf8));
        let (head, last) = text.split_at(start);
        last.chars().all(char::is_alphanumeric).then_some((head, last))
    }

    /// Returns the words to compare by similarity, without short ones. Returns no words if the
    /// text contains operators.
    pub fn similar(&self) -> Vec<&str> {
        let words = self.text().split_whitespace();
        if words.clone().any(|word| word.starts_with('-') || word.contains('"') || word == "or") {
            return vec![];
        }
        let letters = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).count();
        words.filter(|word| letters(word) >= MIN_SIMILAR).collect()
    }
}

/// The position of a ticket in the results: best first, then newest first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundKey {
    /// How well the ticket matches.
    pub rank: f32,
    /// The ticket.
    pub ticket: super::ids::TicketId,
}

/// A piece of a text with matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The text of the piece.
    pub text: String,
    /// Whether the piece matches the search.
    pub is_match: bool,
}

/// A ticket that a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The ticket.
    pub ticket: Ticket,
    /// How well the ticket matches.
    pub rank: f32,
    /// The ticket's summary, with its matches marked.
    pub summary: Vec<Fragment>,
    /// The best passages of the ticket's best matching text.
    pub excerpt: Vec<Fragment>,
    /// The comment that the excerpt is from, or `None` if it is from the description.
    pub comment: Option<CommentId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SearchQuery {
        SearchQuery::parse(text, &NumberPrefix::parse("CS").unwrap()).unwrap()
    }

    #[test]
    fn a_ticket_number_is_recognised_with_and_without_its_prefix() {
        for text in ["cs-234567", " 234567 "] {
            assert_eq!(parse(text).number(), Some(TicketNumber(234_567)));
        }
        for text in ["CS-", "XX-1", "23 4", "99999999999999999999"] {
            assert_eq!(parse(text).number(), None, "{text}");
        }
    }

    #[test]
    fn a_plain_last_word_is_split_off() {
        assert_eq!(parse("mail serv").last_word(), Some(("mail ", "serv")));
        assert_eq!(parse("почт").last_word(), Some(("", "почт")));
        assert_eq!(parse("a\u{3000}b").last_word(), Some(("a\u{3000}", "b")));
        for text in ["mail -serv", "\"mail serv\"", "a:*", "web3.example.com"] {
            assert_eq!(parse(text).last_word(), None, "{text}");
        }
    }

    #[test]
    fn only_plain_words_are_compared_by_similarity() {
        assert_eq!(parse("a certifcate ?!?").similar(), ["certifcate"]);
        for text in ["ab", "?!?!", "mail -web", "\"mail web\"", "mail or web"] {
            assert_eq!(parse(text).similar(), [] as [&str; 0], "{text}");
        }
    }
}
