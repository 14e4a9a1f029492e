//! The tokens of a document (GraphQL specification, §2.1).

use async_graphql::{Pos, ServerError, ServerResult};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bracket, an ellipsis or another mark.
    Punctuator,
    /// A name or a keyword.
    Name,
    /// A number without fraction and exponent.
    Int,
    /// Any other number.
    Float,
    /// A string with its quotes.
    String,
    /// A block string with its quotes.
    BlockString,
    /// The end of the document, which has no text.
    End,
}

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'d> {
    /// What it is.
    pub kind: Kind,
    /// Its text in the document.
    pub text: &'d str,
    /// Where it begins.
    pub pos: Pos,
}

impl Token<'_> {
    /// Whether it is this punctuator.
    pub fn is(&self, punctuator: &str) -> bool {
        self.kind == Kind::Punctuator && self.text == punctuator
    }
}

/// The tokens of a document, found in linear time. The last is its end. After an error there are
/// none.
pub struct Tokens<'d> {
    /// What is left of the document.
    rest: &'d str,
    pos: Pos,
    has_ended: bool,
}

impl<'d> Tokens<'d> {
    /// Returns the tokens of a document.
    pub fn of(document: &'d str) -> Self {
        Self { rest: document, pos: Pos { line: 1, column: 1 }, has_ended: false }
    }

    /// Returns the next bytes of the document, and moves behind them.
    fn take(&mut self, length: usize) -> &'d str {
        let (taken, rest) = self.rest.split_at(length);
        let mut characters = taken.chars().peekable();
        while let Some(character) = characters.next() {
            let ends_line = match character {
                '\n' => true,
                '\r' => characters.peek().map_or(!rest.starts_with('\n'), |next| *next != '\n'),
                _ => false,
            };
            self.pos = if ends_line {
                Pos { line: self.pos.line + 1, column: 1 }
            } else {
                Pos { column: self.pos.column + 1, ..self.pos }
            };
        }
        self.rest = rest;
        taken
    }
}

impl<'d> Iterator for Tokens<'d> {
    type Item = ServerResult<Token<'d>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        self.take(length_of_ignored(self.rest));
        let pos = self.pos;
        let token = measure(self.rest).map(|(kind, length)| {
            self.has_ended = kind == Kind::End;
            Token { kind, text: self.take(length), pos }
        });
        Some(token.map_err(|message| {
            self.has_ended = true;
            ServerError::new(message, Some(pos))
        }))
    }
}

/// Returns the length of the white space, commas, byte order marks and comments that a text begins
/// with.
fn length_of_ignored(text: &str) -> usize {
    let mut in_comment = false;
    let is_ignored = |character: char| {
        in_comment = match character {
            '\n' | '\r' => false,
            '#' => true,
            _ => in_comment,
        };
        in_comment || matches!(character, ' ' | '\t' | '\n' | '\r' | ',' | '\u{feff}')
    };
    text.len() - text.trim_start_matches(is_ignored).len()
}

/// Returns the kind and the length of the token that a text begins with.
fn measure(text: &str) -> Result<(Kind, usize), String> {
    let Some(first) = text.chars().next() else { return Ok((Kind::End, 0)) };
    match first {
        '!' | '$' | '&' | '(' | ')' | ':' | '=' | '@' | '[' | ']' | '{' | '|' | '}' => {
            Ok((Kind::Punctuator, 1))
        }
        '.' if text.starts_with("...") => Ok((Kind::Punctuator, 3)),
        'A'..='Z' | 'a'..='z' | '_' => {
            let length = text.bytes().take_while(|byte| is_name(*byte)).count();
            Ok((Kind::Name, length))
        }
        '-' | '0'..='9' => number(text).ok_or_else(|| {
            "A number is malformed. Write it like 5, -1 or 0.25, without leading zeros.".to_owned()
        }),
        '"' => string(text).ok_or_else(|| {
            "A string is not closed. It ends at the next quote on its line, one between triple \
             quotes at the next triple quote."
                .to_owned()
        }),
        _ => Err(format!("The character {first:?} can only stand in strings and comments.")),
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Returns the kind and the length of the number that a text begins with, or `None` if it is
/// malformed.
fn number(text: &str) -> Option<(Kind, usize)> {
    let digits = |at: usize| {
        let count = text[at..].bytes().take_while(u8::is_ascii_digit).count();
        (count > 0).then_some(at + count)
    };
    let next = |at: usize| text[at..].bytes().next();
    let start = usize::from(text.starts_with('-'));
    let (mut kind, mut end) = (Kind::Int, digits(start)?);
    if text[start..].starts_with('0') && end > start + 1 {
        return None;
    }
    if next(end) == Some(b'.') {
        (kind, end) = (Kind::Float, digits(end + 1)?);
    }
    if matches!(next(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(next(end + 1), Some(b'+' | b'-')));
        (kind, end) = (Kind::Float, digits(end + 1 + sign)?);
    }
    let is_whole = next(end).is_none_or(|byte| byte != b'.' && !is_name(byte));
    is_whole.then_some((kind, end))
}

/// Returns the kind and the length of the string that a text begins with, or `None` if it is not
/// closed.
fn string(text: &str) -> Option<(Kind, usize)> {
    const TRIPLE: &str = "\"\"\"";
    if !text.starts_with(TRIPLE) {
        let mut bytes = text.bytes().enumerate().skip(1);
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => return Some((Kind::String, at + 1)),
                b'\\' => drop(bytes.next()),
                b'\n' | b'\r' => return None,
                _ => {}
            }
        }
        return None;
    }
    let mut at = TRIPLE.len();
    loop {
        let close = at + text[at..].find(TRIPLE)?;
        at = close + TRIPLE.len();
        if !text[..close].ends_with('\\') {
            return Some((Kind::BlockString, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(document: &str) -> (String, usize, usize) {
        let error = Tokens::of(document).find_map(Result::err).expect(document);
        (error.message, error.locations[0].line, error.locations[0].column)
    }

    #[test]
    fn a_document_is_split_into_tokens_with_their_places() {
        let document = "{ a(b:[-1-0 Xe-0 1e-2,\"\\\"#\" \"\"\"\r\n \\\"\"\" \"\"\"]) ...on # \"\n\
                        \u{feff}й\"й\" 0.5\r|\n";
        let document = document.replace("й\"", "\"");
        let tokens = Tokens::of(&document).collect::<ServerResult<Vec<_>>>().unwrap();
        let found = tokens
            .iter()
            .map(|token| (token.kind, token.text, token.pos.line, token.pos.column))
            .collect::<Vec<_>>();
        let expected = [
            (Kind::Punctuator, "{", 1, 1),
            (Kind::Name, "a", 1, 3),
            (Kind::Punctuator, "(", 1, 4),
            (Kind::Name, "b", 1, 5),
            (Kind::Punctuator, ":", 1, 6),
            (Kind::Punctuator, "[", 1, 7),
            (Kind::Int, "-1", 1, 8),
            (Kind::Int, "-0", 1, 10),
            (Kind::Name, "Xe", 1, 13),
            (Kind::Int, "-0", 1, 15),
            (Kind::Float, "1e-2", 1, 18),
            (Kind::String, "\"\\\"#\"", 1, 23),
            (Kind::BlockString, "\"\"\"\r\n \\\"\"\" \"\"\"", 1, 29),
            (Kind::Punctuator, "]", 2, 10),
            (Kind::Punctuator, ")", 2, 11),
            (Kind::Punctuator, "...", 2, 13),
            (Kind::Name, "on", 2, 16),
            (Kind::String, "\"\"", 3, 2),
            (Kind::Float, "0.5", 3, 5),
            (Kind::Punctuator, "|", 4, 1),
            (Kind::End, "", 5, 1),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_malformed_number_is_an_error() {
        for number in [
            "01", "-01", "00", "1.", "1.e5", "1.5.5", "1e", "1e+", "1E5.0", "0x1", "1a", "1_000",
            "-", "- 1", "--1", "1...a", "1.a",
        ] {
            let (message, line, column) = message(&format!("[\n{number}]"));
            assert!(message.starts_with("A number is malformed."), "{number}: {message}");
            assert_eq!((line, column), (2, 1));
        }
        for number in ["0", "-0", "10", "0.0", "-0.5", "1e5", "1E-5", "1.5e+10"] {
            assert!(Tokens::of(&format!("[{number}]")).all(|token| token.is_ok()), "{number}");
        }
    }

    #[test]
    fn an_unclosed_string_is_an_error() {
        for string in ["\"", "\"a", "\"a\\\"", "\"\\", "\"a\nb\"", "\"a\rb\"", "\"й\\", "\"й\\й"]
        {
            assert!(message(string).0.starts_with("A string is not closed."), "{string}");
        }
        for string in ["\"\"\"", "\"\"\"a\"", "\"\"\"a\\\"\"\"", "\"\"\"a\"\"", "\"\"\"\"\""] {
            assert!(message(string).0.starts_with("A string is not closed."), "{string}");
        }
    }

    #[test]
    fn a_character_that_begins_no_token_is_an_error() {
        for (document, character) in
            [("{ a ? }", "'?'"), ("{ a \u{a0}", "'\\u{a0}'"), ("{ a .", "'.'"), ("{ a %", "'%'")]
        {
            let expected =
                format!("The character {character} can only stand in strings and comments.");
            assert_eq!(message(document), (expected, 1, 5));
        }
    }
}
