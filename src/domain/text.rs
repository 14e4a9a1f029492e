//! Text that people write, validated and normalised before it is stored.

use std::fmt;

/// The reason why a text is rejected. Its `Display` output completes a sentence that begins with
/// the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The text is empty or consists of white space.
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
    /// The text contains a character that is invisible or changes how others are displayed.
    #[error("must not contain the control character U+{0:04X}")]
    Control(u32),
    /// The text does not have the form that the field requires.
    #[error("must be {0}")]
    Malformed(&'static str),
}

/// A trimmed line of text, 1 to `MAX` characters long, without control characters.
#[derive(Clone, PartialEq, Eq)]
pub struct SingleLine<const MAX: usize>(String);

/// A text of several lines, 1 to `MAX` characters long. Lines end in `\n`. Tabs are allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct MultiLine<const MAX: usize>(String);

/// The summary of a ticket.
pub type Summary = SingleLine<255>;
/// The name of a person.
pub type PersonName = SingleLine<120>;
/// The id of an object in another system.
pub type ExternalId = SingleLine<255>;
/// The name of a category.
pub type CategoryName = SingleLine<80>;
/// A name for administrative purposes, such as the name of a service token.
pub type Label = SingleLine<120>;
/// A key with which a client can repeat a mutation safely.
pub type IdempotencyKey = SingleLine<255>;
/// The text of a ticket's description or a comment.
pub type Body = MultiLine<65_536>;

impl<const MAX: usize> SingleLine<MAX> {
    /// Parses and trims a line.
    ///
    /// # Errors
    /// The text is empty, too long, or contains a control character, such as a line break.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded::<MAX>(text.trim(), |_| false).map(Self)
    }
}

impl<const MAX: usize> MultiLine<MAX> {
    /// Parses a text. Replaces `\r\n` and `\r` by `\n` and removes white space at the end.
    ///
    /// # Errors
    /// The text is empty, too long, or contains a control character other than `\n` and `\t`.
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

/// Returns whether a character is a control character (Unicode category Cc), a line or paragraph
/// separator, or a bidirectional override or isolate, which can make a text look like another.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
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

text_traits!(SingleLine, MultiLine);

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

    #[test]
    fn control_characters_are_rejected() {
        for c in ['\0', '\n', '\u{7f}', '\u{85}', '\u{202E}', '\u{2028}'] {
            assert_eq!(Summary::parse(&format!("a{c}b")), Err(TextError::Control(c.into())));
        }
        assert_eq!(Body::parse("a\0b"), Err(TextError::Control(0)));
    }

    #[test]
    fn a_multi_line_text_keeps_line_breaks_tabs_and_emoji() {
        let body = Body::parse("  first\r\n\tsecond\rthird 👩‍💻 \n\n").unwrap();
        assert_eq!(body.as_str(), "  first\n\tsecond\nthird 👩‍💻");
    }
}
