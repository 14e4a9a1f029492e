//! Searches and their results.

use unicode_normalization::UnicodeNormalization as _;

use super::{
    character, email,
    ids::CommentId,
    text::{SingleLine, TextError},
    ticket::Ticket,
    ticket_number::{NumberPrefix, TicketNumber},
};

/// A search text as a person typed it: a line of at most 255 characters. It is empty if none of
/// its characters can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// Parses a search text.
    ///
    /// # Errors
    /// The text consists of white space, is too long, or contains a line break, a control
    /// character or an override of the direction.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        match SingleLine::<255>::parse(text) {
            Ok(line) => Ok(Self(line.into_string())),
            Err(TextError::Empty) if !text.trim().is_empty() => Ok(Self(String::new())),
            Err(error) => Err(error),
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The maximum number of tickets that a search finds. The best matches are returned.
pub const MAX_FOUND: i64 = 1_000;

/// The maximum number of matching texts that are ranked. The newest ones are ranked.
pub const MAX_RANKED: i64 = 10_000;

/// The minimum number of letters and digits in a word that is compared by similarity. Shorter
/// words resemble too many others.
const MIN_SIMILAR: usize = 3;

/// The maximum number of words in a search. Words are runs of letters and digits, because Postgres
/// divides names such as `mail.example.com` there. Ranking a text takes time for every word.
pub const MAX_WORDS: usize = 24;

/// The maximum number of words in a phrase. Marking a phrase in a text takes time that grows fast
/// with the number of its words.
pub const MAX_PHRASE_WORDS: usize = 8;

/// Why a text is not a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The text is empty, too long, or contains a control character.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The text has too many words.
    #[error("has {words} words, but at most {MAX_WORDS} are allowed: search for fewer words")]
    TooManyWords {
        /// How many it has.
        words: usize,
    },
    /// A phrase has too many words.
    #[error(
        "has a phrase of {words} words, but at most {MAX_PHRASE_WORDS} are allowed between \
         quotes: shorten the phrase"
    )]
    PhraseTooLong {
        /// How many it has.
        words: usize,
    },
}

impl SearchError {
    /// Whether a shorter text might be a search.
    fn is_about_length(self) -> bool {
        match self {
            Self::Text(error) => {
                matches!(error, TextError::TooLong { .. } | TextError::LineEnd { .. })
            }
            Self::TooManyWords { .. } | Self::PhraseTooLong { .. } => true,
        }
    }
}

/// A parsed search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    text: SearchText,
    /// The text with its domains in their other encoding, if it has any.
    alternative: Option<String>,
    number: Option<TicketNumber>,
}

impl SearchQuery {
    /// Parses a search text. Of a text that has a ticket number with its prefix and is too long,
    /// such as the subject of a mail, only the number is used.
    ///
    /// # Errors
    /// The text is empty, too long, contains a control character, or has too many words.
    pub fn parse(text: &str, prefix: &NumberPrefix) -> Result<Self, SearchError> {
        let number = prefix.find(text);
        let parsed = SearchText::parse(text).map_err(SearchError::from).and_then(|text| {
            let text = SearchText(indexable(text.as_str()));
            check_words(text.as_str())?;
            let number = number.map(|mention| mention.number);
            Ok(Self { alternative: other_domains(text.as_str()), text, number })
        });
        match (parsed, number) {
            (Err(error), Some(mention)) if mention.has_prefix && error.is_about_length() => {
                let text = SearchText(prefix.format(mention.number));
                Ok(Self { text, alternative: None, number: Some(mention.number) })
            }
            (parsed, _) => parsed,
        }
    }

    /// Returns the text as it is compared, in web search syntax: words, `"phrases"`, `or`, `-excluded`.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Returns the text, or its alternative with the domains in their other encoding, in web
    /// search syntax.
    pub fn alternatives(&self) -> String {
        match &self.alternative {
            Some(other) => format!("{} or {other}", self.text()),
            None => self.text().to_owned(),
        }
    }

    /// Returns the ticket number that the text is or contains, if any.
    pub fn number(&self) -> Option<TicketNumber> {
        self.number
    }

    /// Splits off the last word, which may be the beginning of a longer one. Returns the text
    /// before it and the word, or `None` if the last word contains other characters than letters
    /// and digits. The text before it is empty if the word is an alternative of its own, after `or`.
    pub fn last_word(&self) -> Option<(&str, &str)> {
        let text = self.text();
        let start = text
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + text[space..].chars().next().map_or(0, char::len_utf8));
        let (head, last) = text.split_at(start);
        let plain = !last.is_empty() && last.chars().all(char::is_alphanumeric);
        let head = if ends_in_or(head) { "" } else { head };
        plain.then_some((head, last))
    }

    /// Returns the words to compare by similarity, without short ones. Returns no words if the
    /// text contains operators.
    pub fn similar(&self) -> Vec<&str> {
        let words = self.text().split_whitespace();
        if has_operators(self.text()) {
            return vec![];
        }
        let letters = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).count();
        words.filter(|word| letters(word) >= MIN_SIMILAR).collect()
    }
}

/// Does to a text what the database does to those that it indexes (`indexable` in the migrations),
/// so that what looks equal is equal. Also replaces ё, as the stemmer does with whole words.
fn indexable(text: &str) -> String {
    let shown = text.nfkc().filter(|&c| !character::is_ignorable(c));
    let replaced = |c: char| match c {
        'ё' => 'е',
        'Ё' => 'Е',
        c => c,
    };
    shown.map(replaced).collect()
}

/// Whether a text has operators of the web search syntax.
fn has_operators(text: &str) -> bool {
    text.split_whitespace()
        .any(|word| word.starts_with('-') || word.contains('"') || word.eq_ignore_ascii_case("or"))
}

/// Whether a text ends in an `or` that separates what is before it from what follows. At the beginning
/// and in a phrase it is a word.
fn ends_in_or(text: &str) -> bool {
    let mut words = text.split_whitespace().rev();
    words.next().is_some_and(|last| last.eq_ignore_ascii_case("or"))
        && words.next().is_some()
        && text.matches('"').count().is_multiple_of(2)
}

/// Returns a text with its internationalised domains in ASCII, and those in ASCII in Unicode, also
/// within addresses and links. `None` if it has none, or has operators.
fn other_domains(text: &str) -> Option<String> {
    if has_operators(text) {
        return None;
    }
    let other = |part: &str| {
        let domain = part.trim_end_matches(['.', ',', '/', '@', ':', ' ']);
        let is_domain = domain.contains('.') && (!domain.is_ascii() || domain.contains("xn--"));
        let ascii = email::ascii_domain(domain).filter(|_| is_domain);
        let other = ascii.map(|ascii| {
            if domain.is_ascii() { email::unicode_domain(&ascii) } else { ascii.into_owned() }
        });
        other.unwrap_or_else(|| domain.to_owned()) + &part[domain.len()..]
    };
    let changed = text.split_inclusive(['/', '@', ':', ',', ' ']).map(other).collect::<String>();
    (changed != text && check_words(&changed).is_ok()).then_some(changed)
}

/// Bounds the words of a search, and those of each of its phrases.
fn check_words(text: &str) -> Result<(), SearchError> {
    let count = |text: &str| {
        let words = text.split(|c: char| !c.is_alphanumeric());
        words.filter(|word| !word.is_empty()).count()
    };
    let words = count(text);
    if words > MAX_WORDS {
        return Err(SearchError::TooManyWords { words });
    }
    // Every second part is between quotes. Names are phrases too: of the words that they are
    // divided into.
    let longest = text.split('"').skip(1).step_by(2).map(count).max().unwrap_or_default();
    if longest > MAX_PHRASE_WORDS {
        return Err(SearchError::PhraseTooLong { words: longest });
    }
    Ok(())
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
        for text in ["cs-234567", " 234567 ", "Re: [CS-234567] it is down"] {
            assert_eq!(parse(text).number(), Some(TicketNumber(234_567)));
        }
        for text in ["CS-", "XX-1", "23 4", "99999999999999999999"] {
            assert_eq!(parse(text).number(), None, "{text}");
        }
    }

    #[test]
    fn of_a_long_text_with_a_number_the_number_is_searched_for() {
        for rest in
            ["я".repeat(255), "a ".repeat(100), format!("\"{}\"", "a ".repeat(9)), "x\ny".into()]
        {
            let found = parse(&format!("Fwd: Re: [CS-234567] {rest}"));
            assert_eq!(found.number(), Some(TicketNumber(234_567)));
            assert_eq!(found.text(), "CS-234567");
        }
        let prefix = NumberPrefix::parse("CS").unwrap();
        assert!(SearchQuery::parse(&format!("#234567 {}", "a ".repeat(100)), &prefix).is_err());
    }

    #[test]
    fn what_looks_equal_is_the_same_search() {
        for text in ["cafe\u{301} ещё file", "café еще \u{FB01}le", "ca\u{AD}fé е\u{200C}ще file"]
        {
            assert_eq!(parse(text).text(), "café еще file");
        }
    }

    #[test]
    fn a_domain_is_searched_for_in_both_encodings() {
        let other = "xn--80a1acny.xn--p1ai";
        for (text, alternative) in [
            ("почта.рф", Some(other.to_owned())),
            (other, Some("почта.рф".into())),
            ("Mail to anna@почта.рф, please", Some(format!("Mail to anna@{other}, please"))),
            ("https://почта.рф/a?b down", Some(format!("https://{other}/a?b down"))),
            ("example.com is down", None),
            ("\"почта.рф\"", None),
            ("-почта.рф x", None),
            ("сайт не работает", None),
        ] {
            assert_eq!(parse(text).alternative, alternative, "{text}");
        }
        assert_eq!(parse("почта.рф").alternatives(), format!("почта.рф or {other}"));
    }

    #[test]
    fn a_text_that_cannot_be_seen_has_no_words() {
        let found = parse("\u{AD}\u{200B}");
        assert_eq!((found.text(), found.last_word(), found.number()), ("", None, None));
        assert_eq!(SearchText::parse(" \t"), Err(TextError::Empty));
    }

    #[test]
    fn the_words_of_a_search_and_of_a_phrase_are_bounded() {
        let prefix = NumberPrefix::parse("CS").unwrap();
        let parse = |text: &str| SearchQuery::parse(text, &prefix).map(|_| ());
        assert_eq!(parse(&"ab ".repeat(24)), Ok(()));
        assert_eq!(parse(&"ab ".repeat(25)), Err(SearchError::TooManyWords { words: 25 }));
        assert_eq!(parse(&"a-".repeat(84)), Err(SearchError::TooManyWords { words: 84 }));
        assert_eq!(parse(&format!("x \"{}\" y", "ab ".repeat(8))), Ok(()));
        let long = format!("x \"a b\" or \"{}", "ab.".repeat(9));
        assert_eq!(parse(&long), Err(SearchError::PhraseTooLong { words: 9 }));
    }

    #[test]
    fn a_plain_last_word_is_split_off() {
        assert_eq!(parse("mail serv").last_word(), Some(("mail ", "serv")));
        assert_eq!(parse("почт").last_word(), Some(("", "почт")));
        assert_eq!(parse("a\u{3000}b").last_word(), Some(("a ", "b")));
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
