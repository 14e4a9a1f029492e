//! Text that people write, bounded and cleaned before anything keeps it.

use std::fmt;

/// Why a text was refused. Its `Display` is for the person who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// More than `max` characters (Unicode scalar values).
    #[error("must be at most {max} characters long; this has {actual}")]
    TooLong {
        /// The bound, in characters.
        max: usize,
        /// What came, in characters.
        actual: usize,
    },
    /// A character that can't be shown or that changes how others are shown.
    #[error("must not contain the control character U+{0:04X}")]
    Control(u32),
    /// Not of the form that the field asks for.
    #[error("must be {0}")]
    Malformed(&'static str),
}

/// A line of text without control characters: 1 to `MAX` characters, trimmed.
#[derive(Clone, PartialEq, Eq)]
pub struct SingleLine<const MAX: usize>(String);

/// Text of several lines: 1 to `MAX` characters; line ends are `\n`, tabs stay.
#[derive(Clone, PartialEq, Eq)]
pub struct MultiLine<const MAX: usize>(String);

/// What a ticket is about, in a line.
pub type Summary = SingleLine<255>;
/// A person's name as shown to others.
pub type PersonName = SingleLine<120>;
/// What another system calls something.
pub type ExternalId = SingleLine<255>;
/// The name of a category.
pub type CategoryName = SingleLine<80>;
/// What something is called, for those who look after it.
pub type Label = SingleLine<120>;
/// A caller's key for repeating a mutation safely.
pub type IdempotencyKey = SingleLine<255>;
/// A ticket's description or a comment.
pub type Body = MultiLine<65_536>;

impl<const MAX: usize> SingleLine<MAX> {
    /// Accepts a line.
    ///
    /// # Errors
    /// Empty, too long, or with a control character (line breaks are some).
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded::<MAX>(text.trim(), |_| false).map(Self)
    }
}

impl<const MAX: usize> MultiLine<MAX> {
    /// Accepts a text; `\r\n` and `\r` become `\n`, white space at the end goes.
    ///
    /// # Errors
    /// Empty, too long, or with a control character other than `\n` and `\t`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        bounded::<MAX>(text.trim_end(), |c| matches!(c, '\n' | '\t')).map(Self)
    }
}

fn bounded<const MAX: usize>(text: &str, allowed: fn(char) -> bool) -> Result<String, TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    let actual = text.chars().count();
    if actual > MAX {
        return Err(TextError::TooLong { max: MAX, actual });
    }
    match text.chars().find(|&c| is_control(c) && !allowed(c)) {
        Some(c) => Err(TextError::Control(c.into())),
        None => Ok(text.to_owned()),
    }
}

/// Control characters (Unicode category Cc), line and paragraph separators, and
/// the bidirectional overrides and isolates, with which one text can pose as another.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

macro_rules! text_traits {
    ($($name:ident),+) => {$(
        impl<const MAX: usize> $name<MAX> {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, owned.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        // What people write is theirs: it stays out of logs.
        impl<const MAX: usize> fmt::Debug for $name<MAX> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} characters", self.0.chars().count())
            }
        }
    )+};
}

text_traits!(SingleLine, MultiLine);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_trimmed_and_bounded() {
        assert_eq!(Summary::parse("  a b ").unwrap().as_str(), "a b");
        assert_eq!(Summary::parse(" \u{3000}\t"), Err(TextError::Empty));
        assert!(Summary::parse(&"я".repeat(255)).is_ok());
        assert_eq!(
            Summary::parse(&"я".repeat(256)),
            Err(TextError::TooLong { max: 255, actual: 256 })
        );
    }

    #[test]
    fn control_characters_are_refused() {
        for c in ['\0', '\n', '\u{7f}', '\u{85}', '\u{202E}', '\u{2028}'] {
            assert_eq!(Summary::parse(&format!("a{c}b")), Err(TextError::Control(c.into())));
        }
        assert_eq!(Body::parse("a\0b"), Err(TextError::Control(0)));
    }

    #[test]
    fn prose_keeps_lines_tabs_and_emoji() {
        let body = Body::parse("  first\r\n\tsecond\rthird 👩‍💻 \n\n").unwrap();
        assert_eq!(body.as_str(), "  first\n\tsecond\nthird 👩‍💻");
    }
}
