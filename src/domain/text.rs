//! Text that people write, validated and normalised before it is stored.
//!
//! What people paste is normalised where that is harmless: every kind of line end, invisible
//! characters, letters with separate accents. A text is rejected only where it misleads or cannot
//! be stored as it was meant, and the error says which character does so and where it is.

use std::{fmt, ops::Range};

use super::character;

/// The place of a character in a text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character (Unicode scalar value) in the line.
    pub character: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, character } = self;
        write!(f, "line {line}, character {character}")
    }
}

/// The reason why a text is rejected. Its `Display` output completes a sentence that begins with
/// the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The text is empty or has no character that can be seen.
    #[error("must not be empty")]
    Empty,
    /// The text has more than `max` characters (Unicode scalar values).
    #[error("must be at most {max} characters long, but has {actual}")]
    TooLong {
        /// The maximum length, in characters.
        max: usize,
        /// The actual length, in characters.
        actual: usize,
    },
    /// The text contains a control character.
    #[error("must not contain the control character U+{:04X} ({at}): remove it", u32::from(*.character))]
    Control {
        /// The character.
        character: char,
        /// Where it is.
        at: Place,
    },
    /// The text contains a character that reverses the order in which others are displayed.
    #[error(
        "must not contain the invisible character U+{:04X} ({at}), which changes the order of the \
         characters after it: remove it",
        u32::from(*.character)
    )]
    Override {
        /// The character.
        character: char,
        /// Where it is.
        at: Place,
    },
    /// The text has several lines, but the field takes only one.
    #[error("must be a single line, but has a line break ({at})")]
    LineEnd {
        /// Where the first line break is.
        at: Place,
    },
    /// The text contains a character that the field does not allow.
    #[error("must not contain `{character}`{}", shown_code(*.character))]
    Unsuitable {
        /// The character.
        character: char,
    },
    /// The text does not have the form that the field requires.
    #[error("must be {0}")]
    Malformed(&'static str),
}

/// The code of a character that cannot be recognised by its look.
fn shown_code(c: char) -> String {
    if c.is_ascii_graphic() { String::new() } else { format!(" (U+{:04X})", u32::from(c)) }
}

/// A trimmed line of text, 1 to `MAX` characters long, without control characters.
#[derive(Clone, PartialEq, Eq)]
pub struct SingleLine<const MAX: usize>(String);

/// A text of several lines, 1 to `MAX` characters long. Lines end in `\n`. Tabs are allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct MultiLine<const MAX: usize>(String);

/// A name that another system has chosen, 1 to `MAX` characters long. It is trimmed and otherwise
/// unchanged, because that system may distinguish what looks equal.
#[derive(Clone, PartialEq, Eq)]
pub struct Identifier<const MAX: usize>(String);

/// The summary of a ticket.
pub type Summary = SingleLine<255>;
/// The name of a person.
pub type PersonName = SingleLine<120>;
/// The id of an object in another system.
pub type ExternalId = Identifier<255>;
/// The name of a category.
pub type CategoryName = SingleLine<80>;
/// A name for administrative purposes, such as the name of a service token.
pub type Label = SingleLine<120>;
/// A key with which a client can repeat a mutation safely.
pub type IdempotencyKey = Identifier<255>;
/// The maximum length of a ticket's description or a comment, in characters.
pub const MAX_BODY: usize = 65_536;
/// The text of a ticket's description or a comment.
pub type Body = MultiLine<MAX_BODY>;

impl<const MAX: usize> SingleLine<MAX> {
    /// Parses and trims a line. Tabs and the less common line ends become spaces, and invisible
    /// characters that change nothing are left out.
    ///
    /// # Errors
    /// The text has no visible character, is too long, has a line break (`\n` or `\r`), or
    /// contains a control character or an override of the direction.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let outside = |c: char| {
            c.is_whitespace() || character::is_noise(c) || character::is_direction_mark(c)
        };
        let inner = trimmed(text, outside);
        if let Some((_, at)) = find(text, &inner, |c| matches!(c, '\n' | '\r')) {
            return Err(TextError::LineEnd { at });
        }
        reject_control(text)?;
        let spaced = |c: char| if c == '\t' || character::ends_line(c) { ' ' } else { c };
        finish::<MAX>(text, text[inner].chars().map(spaced)).map(Self)
    }
}

impl<const MAX: usize> MultiLine<MAX> {
    /// Parses a text. Every kind of line end becomes `\n`, white space at the end is removed, and
    /// invisible characters that change nothing are left out.
    ///
    /// # Errors
    /// The text has no visible character, is too long, or contains a control character or an
    /// override of the direction.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let ended = |c: char| if character::ends_line(c) { '\n' } else { c };
        let text = text.replace("\r\n", "\n").chars().map(ended).collect::<String>();
        reject_control(&text)?;
        let end = text.trim_end_matches(|c: char| c.is_whitespace() || character::is_noise(c));
        finish::<MAX>(&text, end.chars()).map(Self)
    }
}

impl<const MAX: usize> Identifier<MAX> {
    /// Parses and trims an identifier.
    ///
    /// # Errors
    /// The text has no visible character, is too long, or contains a control character, a line
    /// end or an override of the direction.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let inner = trimmed(text, char::is_whitespace);
        let control = |c: char| c.is_control() || character::ends_line(c);
        if let Some((character, at)) = find(text, &inner, control) {
            return Err(TextError::Control { character, at });
        }
        reject_override(text)?;
        bounded::<MAX>(text[inner].to_owned()).map(Self)
    }
}

/// Leaves out what changes nothing, composes accents, and checks the rest of the rules.
fn finish<const MAX: usize>(
    text: &str,
    chars: impl Iterator<Item = char>,
) -> Result<String, TextError> {
    let composed = character::compose(character::without_noise(chars));
    if !composed.chars().any(character::is_visible) {
        return Err(TextError::Empty);
    }
    reject_override(text)?;
    bounded::<MAX>(composed.replace(character::is_override, ""))
}

fn reject_control(text: &str) -> Result<(), TextError> {
    match find(text, &(0..text.len()), character::is_control) {
        Some((character, at)) => Err(TextError::Control { character, at }),
        None => Ok(()),
    }
}

fn reject_override(text: &str) -> Result<(), TextError> {
    let Some(misleading) = character::misleading_override(text) else { return Ok(()) };
    let found = find(text, &(0..text.len()), |c| c == misleading);
    found.map_or(Ok(()), |(character, at)| Err(TextError::Override { character, at }))
}

/// The range of a text without the characters at its ends that meet a condition.
fn trimmed(text: &str, outside: impl Fn(char) -> bool + Copy) -> Range<usize> {
    let end = text.trim_end_matches(outside).len();
    let start = end - text[..end].trim_start_matches(outside).len();
    start..end
}

/// Finds the first character in a range of a text that meets a condition, and its place.
fn find(
    text: &str,
    range: &Range<usize>,
    condition: impl Fn(char) -> bool,
) -> Option<(char, Place)> {
    let (offset, found) = text[range.clone()].char_indices().find(|&(_, c)| condition(c))?;
    let before = &text[..range.start + offset];
    let last_line = before.rsplit('\n').next().unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    Some((found, Place { line, character: last_line.chars().count() + 1 }))
}

fn bounded<const MAX: usize>(text: String) -> Result<String, TextError> {
    if !text.chars().any(character::is_visible) {
        return Err(TextError::Empty);
    }
    let actual = text.chars().count();
    if actual > MAX { Err(TextError::TooLong { max: MAX, actual }) } else { Ok(text) }
}

macro_rules! text_traits {
    ($($name:ident),+) => {$(
        impl<const MAX: usize> $name<MAX> {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the text as a string.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        // What people write must not appear in logs.
        impl<const MAX: usize> fmt::Debug for $name<MAX> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} characters", self.0.chars().count())
            }
        }
    )+};
}

text_traits!(SingleLine, MultiLine, Identifier);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_line_is_trimmed_and_limited_in_length() {
        assert_eq!(Summary::parse("  a b ").unwrap().as_str(), "a b");
        assert_eq!(Summary::parse(" \u{3000}\t"), Err(TextError::Empty));
        assert!(Summary::parse(&"я".repeat(255)).is_ok());
        assert_eq!(
            Summary::parse(&"я".repeat(256)),
            Err(TextError::TooLong { max: 255, actual: 256 })
        );
    }

    fn at(line: usize, character: usize) -> Place {
        Place { line, character }
    }

    #[test]
    fn a_control_character_is_rejected_and_its_place_is_named() {
        for character in ['\0', '\u{7}', '\u{1B}', '\u{1F}', '\u{7F}', '\u{9F}'] {
            let place = at(1, 3);
            let expected = Err(TextError::Control { character, at: place });
            assert_eq!(Summary::parse(&format!(" a{character}b")).map(|_| ()), expected);
        }
        let error = Body::parse("one\r\ntwo\u{2028}th\u{1B}[31m").unwrap_err();
        assert_eq!(error, TextError::Control { character: '\u{1B}', at: at(3, 3) });
        let text = "must not contain the control character U+001B (line 3, character 3): remove it";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn every_kind_of_line_end_becomes_a_line_end_or_a_space() {
        let ends = ["\r\n", "\r", "\n", "\u{B}", "\u{C}", "\u{85}", "\u{2028}", "\u{2029}"];
        for end in ends {
            let body = Body::parse(&format!("a{end}{end}b{end}")).unwrap();
            assert_eq!(body.as_str(), "a\n\nb", "{end:?}");
        }
        for end in &ends[3..] {
            let summary = Summary::parse(&format!("{end}a{end}b\tc{end}")).unwrap();
            assert_eq!(summary.as_str(), "a b c", "{end:?}");
        }
        let broken = Err(TextError::LineEnd { at: at(1, 3) });
        assert_eq!(
            Summary::parse("\tab\r\nBcc: c\n").map(|_| ()),
            Err(TextError::LineEnd { at: at(1, 4) })
        );
        assert_eq!(Summary::parse("ab\nc").map(|_| ()), broken);
        assert_eq!(Summary::parse(" ab\r\n").unwrap().as_str(), "ab");
    }

    #[test]
    fn what_cannot_be_seen_is_empty_in_every_kind_of_text() {
        let ignorable =
            (0..=0x10_FFFF).filter_map(char::from_u32).filter(|&c| character::is_ignorable(c));
        let blank =
            ['\u{2800}', '\u{301}', '\u{20DD}', '\u{A0}', '\u{3000}', '\u{FFFC}', '\u{2028}'];
        for c in ignorable.chain(blank) {
            let text = format!("{c} {c}\t{c}");
            assert_eq!(Summary::parse(&text), Err(TextError::Empty), "{c:?}");
            assert_eq!(Body::parse(&text), Err(TextError::Empty), "{c:?}");
            assert!(ExternalId::parse(&c.to_string()).is_err(), "{c:?}");
        }
    }

    #[test]
    fn invisible_characters_that_change_nothing_are_left_out() {
        for (sent, stored) in [
            ("\u{FEFF}a\u{200B}b\u{AD}c\u{2060}d", "abcd"),
            ("\u{202A}C:\\Windows\u{202C}", "C:\\Windows"),
            ("\u{2068}Anna\u{2069}, \u{202D}+7 (495) 1\u{202C}", "Anna, +7 (495) 1"),
            ("\u{200E}שלום\u{200F}", "שלום"),
            ("Sine\u{301}ad", "Sinéad"),
            ("👩\u{200D}💻 ❤\u{FE0F}", "👩\u{200D}💻 ❤\u{FE0F}"),
            ("می\u{200C}خواهم", "می\u{200C}خواهم"),
            ("🏴\u{E0067}\u{E0062}\u{E007F}a\u{E0062}b", "🏴\u{E0067}\u{E0062}\u{E007F}ab"),
        ] {
            assert_eq!(Summary::parse(sent).unwrap().as_str(), stored);
            if !sent.contains('\u{200E}') {
                assert_eq!(Body::parse(sent).unwrap().as_str(), stored);
            }
        }
    }

    #[test]
    fn an_override_of_the_direction_is_rejected() {
        let error = Body::parse("one\ninvoice\u{202E}fdp.exe").unwrap_err();
        assert_eq!(error, TextError::Override { character: '\u{202E}', at: at(2, 8) });
        assert!(Summary::parse("a\u{202E}b").is_err() && Summary::parse("\u{202D}שלום").is_err());
        assert!(ExternalId::parse("a\u{202E}b").is_err());
    }

    #[test]
    fn an_identifier_is_trimmed_and_otherwise_unchanged() {
        assert_eq!(ExternalId::parse(" a\u{200B}e\u{301} ").unwrap().as_str(), "a\u{200B}e\u{301}");
        for text in ["a\nb", "a\u{2028}b", "a\tb", "a\0"] {
            assert!(ExternalId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_multi_line_text_keeps_indentation_tabs_and_emoji() {
        let body = Body::parse("  first\r\n\tsecond\rthird 👩‍💻 \n\n").unwrap();
        assert_eq!(body.as_str(), "  first\n\tsecond\nthird 👩‍💻");
    }
}
