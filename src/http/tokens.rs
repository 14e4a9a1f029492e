//! The tokens of a document (GraphQL specification, §2.1), as finely as the checks before parsing
//! need them.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name, a number or an ellipsis. An ellipsis and the name after it may be one word.
    Word,
    /// A bracket or another character.
    Punctuator(u8),
    /// A string with its quotes.
    String,
    /// A block string with its quotes.
    BlockString,
    /// A string of either kind without its closing quotes.
    Unclosed,
}

/// A token and its place in the document, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub range: Range<usize>,
}

/// The tokens of a document, found in linear time.
pub struct Tokens<'s> {
    bytes: &'s [u8],
    at: usize,
}

impl<'s> Tokens<'s> {
    /// Returns the tokens of a document.
    pub fn of(document: &'s str) -> Self {
        Self { bytes: document.as_bytes(), at: 0 }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let (bytes, start) = (self.bytes, skip_ignored(self.bytes, self.at));
        let (kind, end) = match *bytes.get(start)? {
            b'"' if bytes[start..].starts_with(b"\"\"\"") => end_of_block_string(bytes, start + 3),
            b'"' => end_of_string(bytes, start + 1),
            byte if is_word(byte) => (Kind::Word, end_of_word(bytes, start)),
            byte => (Kind::Punctuator(byte), start + 1),
        };
        self.at = end;
        Some(Token { kind, range: start..end })
    }
}

/// Returns the position of the next token: after white space, commas, byte order marks and
/// comments.
fn skip_ignored(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        at += match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xEF | 0xBB | 0xBF => 1,
            b'#' => bytes[at..].iter().take_while(|&&byte| !is_line_end(byte)).count(),
            _ => break,
        };
    }
    at
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'+')
}

/// Returns the position after a word. A sign begins another one, unless it is an exponent's.
fn end_of_word(bytes: &[u8], start: usize) -> usize {
    let is_number = bytes[start].is_ascii_digit() || bytes[start] == b'-';
    let continues = |at: usize| match bytes[at] {
        b'-' | b'+' => is_number && matches!(bytes[at - 1], b'e' | b'E'),
        byte => is_word(byte),
    };
    (start + 1..bytes.len()).find(|at| !continues(*at)).unwrap_or(bytes.len())
}

/// Returns the position after a string: after its closing quote, or the end of the line if it is
/// missing. A string cannot span lines, and the parser stops there.
fn end_of_string(bytes: &[u8], mut at: usize) -> (Kind, usize) {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return (Kind::String, at + 1),
            b'\\' => at += 2,
            _ if is_line_end(byte) => return (Kind::Unclosed, at),
            _ => at += 1,
        }
    }
    (Kind::Unclosed, bytes.len())
}

/// Returns the position after a block string: after its closing quotes, or the end of the document
/// if they are missing.
fn end_of_block_string(bytes: &[u8], mut at: usize) -> (Kind, usize) {
    while at < bytes.len() {
        if bytes[at..].starts_with(b"\\\"\"\"") {
            at += 4;
        } else if bytes[at..].starts_with(b"\"\"\"") {
            return (Kind::BlockString, at + 3);
        } else {
            at += 1;
        }
    }
    (Kind::Unclosed, bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_split_into_tokens() {
        let document =
            "{ a(b: [-1-0 Xe-0 1e-2,\"\\\"#\" \"\"\"\n \\\"\"\" \"\"\"]) ...on # \"\n\"x\n}";
        let tokens = Tokens::of(document);
        let texts = tokens.map(|token| (token.kind, &document[token.range])).collect::<Vec<_>>();
        let mark = |text: &'static str| (Kind::Punctuator(text.as_bytes()[0]), text);
        let word = |text: &'static str| (Kind::Word, text);
        let expected = [
            mark("{"),
            word("a"),
            mark("("),
            word("b"),
            mark(":"),
            mark("["),
            word("-1"),
            word("-0"),
            word("Xe"),
            word("-0"),
            word("1e-2"),
            (Kind::String, "\"\\\"#\""),
            (Kind::BlockString, "\"\"\"\n \\\"\"\" \"\"\""),
            mark("]"),
            mark(")"),
            word("...on"),
            (Kind::Unclosed, "\"x"),
            mark("}"),
        ];
        assert_eq!(texts, expected);
        for unclosed in ["\"a\\\"", "\"\"\"a\\\"\"\"", "\"\\"] {
            let tokens = Tokens::of(unclosed).collect::<Vec<_>>();
            assert_eq!(tokens, [Token { kind: Kind::Unclosed, range: 0..unclosed.len() }]);
        }
    }
}
