//! The text of a document, rewritten so that the parser accepts and understands what the GraphQL
//! specification of September 2025 allows. What follows a rewritten token stays on its line.

use std::{borrow::Cow, collections::HashSet};

use async_graphql::{Pos, ServerError};

use super::tokens::{Kind, Token, Tokens};

/// What a description may stand before, outside of brackets.
const DEFINITIONS: [&str; 4] = ["query", "mutation", "subscription", "fragment"];
const ABOVE_UNICODE: &str =
    "An escape in a string is above 10FFFF, the largest value of a Unicode character.";
const LONE_SURROGATE: &str = "An escape in a string is one half of a surrogate pair. Send both \
                              halves, or the value of the character: for example \\u{1F600}.";

/// Returns the text to parse. It is copied only if something must be rewritten:
///
/// - A block string with `\"""`, which the parser does not unescape, or with a line of spaces,
///   which it may not shorten, becomes a string.
/// - A character that a string names by `\u{…}` or by a surrogate pair is written itself.
/// - A description of an operation, fragment or variable becomes white space.
/// - `-0` becomes ` 0`.
///
/// # Errors
/// An escape names no character, or an input object names a field twice. The parser would use the
/// last of them.
pub fn rewrite(document: &str) -> Result<Cow<'_, str>, ServerError> {
    let mut rewriter = Rewriter { document, text: String::new(), copied: 0, open: Vec::new() };
    let mut tokens = Tokens::of(document).peekable();
    let mut before = None;
    while let Some(token) = tokens.next() {
        rewriter.visit(before.as_ref(), &token, tokens.peek())?;
        before = Some(token);
    }
    Ok(rewriter.finish())
}

/// An open bracket.
enum Open<'d> {
    SelectionSet,
    Parenthesis,
    List,
    /// An input object, and the fields that it has named.
    Object(HashSet<&'d str>),
}

struct Rewriter<'d> {
    document: &'d str,
    /// The rewritten text of the document's beginning.
    text: String,
    /// How much of the document was rewritten, in bytes.
    copied: usize,
    open: Vec<Open<'d>>,
}

impl<'d> Rewriter<'d> {
    fn visit(
        &mut self,
        before: Option<&Token>,
        token: &Token,
        after: Option<&Token>,
    ) -> Result<(), ServerError> {
        match token.kind {
            Kind::Punctuator(byte) => self.visit_punctuator(byte),
            Kind::Word if self.text_of(token) == "-0" => self.replace(token, " 0"),
            Kind::Word if is_punctuator(after, b":") => self.add_name(token)?,
            Kind::String => {
                match self.rewrite_string(token)? {
                    Some(_) if self.is_description(before, after) => self.blank(token),
                    Some(Cow::Owned(text)) => self.replace(token, &text),
                    // The parser reports malformed escapes.
                    None | Some(Cow::Borrowed(_)) => {}
                }
            }
            Kind::BlockString if self.is_description(before, after) => self.blank(token),
            Kind::BlockString => self.rewrite_block_string(token),
            Kind::Word | Kind::Unclosed => {}
        }
        Ok(())
    }

    fn visit_punctuator(&mut self, byte: u8) {
        match byte {
            b'(' => self.open.push(Open::Parenthesis),
            b'[' => self.open.push(Open::List),
            b'{' => self.open.push(match self.open.last() {
                None | Some(Open::SelectionSet) => Open::SelectionSet,
                Some(_) => Open::Object(HashSet::new()),
            }),
            b')' | b']' | b'}' => {
                self.open.pop();
            }
            _ => {}
        }
    }

    /// Adds the name of a field to the input object that it is in, if it is in one.
    fn add_name(&mut self, token: &Token) -> Result<(), ServerError> {
        let name = self.text_of(token);
        let Some(Open::Object(names)) = self.open.last_mut() else { return Ok(()) };
        if names.insert(name) {
            return Ok(());
        }
        let message = format!("An input object names the field `{name}` twice.");
        Err(self.error(message, token.range.start))
    }

    /// Whether a string between two tokens is a description. Strings before a variable are also
    /// the values of defaults and arguments.
    fn is_description(&self, before: Option<&Token>, after: Option<&Token>) -> bool {
        match self.open.as_slice() {
            [] => {
                after.is_some_and(|after| DEFINITIONS.contains(&self.text_of(after)))
                    && (before.is_none() || is_punctuator(before, b"}"))
            }
            [Open::Parenthesis] => is_punctuator(after, b"$") && !is_punctuator(before, b"=:"),
            _ => false,
        }
    }

    /// Returns a string whose characters are named in ways that the parser understands, or `None`
    /// if an escape is malformed.
    fn rewrite_string(&self, token: &Token) -> Result<Option<Cow<'d, str>>, ServerError> {
        let string = self.text_of(token);
        let (mut text, mut copied, mut at) = (String::new(), 0, 0);
        while let Some(found) = string[at..].find('\\') {
            let start = at + found;
            let escape = &string[start..];
            if !escape.starts_with("\\u") {
                let names = [b'"', b'\\', b'/', b'b', b'f', b'n', b'r', b't'];
                if !escape.as_bytes().get(1).is_some_and(|name| names.contains(name)) {
                    return Ok(None);
                }
                at = start + 2;
                continue;
            }
            let decoded = decode(escape);
            let decoded =
                decoded.map_err(|message| self.error(message, token.range.start + start))?;
            let Some((character, length)) = decoded else { return Ok(None) };
            at = start + length;
            if length > 6 || escape.starts_with("\\u{") {
                text.push_str(&string[copied..start]);
                push_escaped(&mut text, character);
                copied = at;
            }
        }
        text.push_str(&string[copied..]);
        Ok(Some(if copied == 0 { Cow::Borrowed(string) } else { Cow::Owned(text) }))
    }

    fn rewrite_block_string(&mut self, token: &Token) {
        let document = self.document;
        let string = &document[token.range.clone()];
        let raw = &string[3..string.len() - 3];
        if !raw.contains("\\\"\"\"") && !has_line_of_spaces(raw) {
            return;
        }
        let mut text = "\"".to_owned();
        block_string_value(raw).chars().for_each(|c| push_escaped(&mut text, c));
        text.push('"');
        let rest = string.find(['\n', '\r']).map_or("", |at| &string[at..]);
        text.extend(rest.chars().map(blank));
        self.replace(token, &text);
    }

    fn blank(&mut self, token: &Token) {
        let text = self.text_of(token).chars().map(blank).collect::<String>();
        self.replace(token, &text);
    }

    fn replace(&mut self, token: &Token, text: &str) {
        self.text.push_str(&self.document[self.copied..token.range.start]);
        self.text.push_str(text);
        self.copied = token.range.end;
    }

    fn finish(mut self) -> Cow<'d, str> {
        if self.copied == 0 {
            return Cow::Borrowed(self.document);
        }
        self.text.push_str(&self.document[self.copied..]);
        Cow::Owned(self.text)
    }

    /// Returns the text of a token that is not a punctuator.
    fn text_of(&self, token: &Token) -> &'d str {
        self.document.get(token.range.clone()).unwrap_or_default()
    }

    fn error(&self, message: impl Into<String>, at: usize) -> ServerError {
        let before = &self.document[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit(['\n', '\r']).next().unwrap_or_default().chars().count() + 1;
        ServerError::new(message, Some(Pos { line, column }))
    }
}

fn is_punctuator(token: Option<&Token>, any_of: &[u8]) -> bool {
    token
        .is_some_and(|token| matches!(token.kind, Kind::Punctuator(byte) if any_of.contains(&byte)))
}

fn blank(character: char) -> char {
    if matches!(character, '\n' | '\r') { character } else { ' ' }
}

/// Appends a character to the content of a string.
fn push_escaped(text: &mut String, character: char) {
    match character {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        _ => text.push(character),
    }
}

/// Returns the character that a text begins with by a Unicode escape or a pair of them, and their
/// length in bytes; `None` if the escape is malformed.
fn decode(text: &str) -> Result<Option<(char, usize)>, &'static str> {
    let Some((value, length)) = code_point(text) else { return Ok(None) };
    let is_braced = |text: &str| text.starts_with("\\u{");
    let rest = &text[length..];
    let second = if is_braced(text) || is_braced(rest) { None } else { code_point(rest) };
    let (value, length) = match (value, second) {
        (0xD800..0xDC00, Some((low @ 0xDC00..0xE000, more))) => {
            (0x1_0000 + ((value - 0xD800) << 10) + (low - 0xDC00), length + more)
        }
        _ => (value, length),
    };
    let not_unicode = if value > 0x10_FFFF { ABOVE_UNICODE } else { LONE_SURROGATE };
    char::from_u32(value).map(|character| Some((character, length))).ok_or(not_unicode)
}

/// Returns the value and the length of the Unicode escape that a text begins with, or `None` if it
/// does not begin with one.
fn code_point(text: &str) -> Option<(u32, usize)> {
    let digits = text.strip_prefix("\\u")?;
    let (digits, length) = match digits.strip_prefix('{') {
        Some(digits) => digits.split_once('}').map(|(digits, _)| (digits, digits.len() + 4))?,
        None => (digits.get(..4)?, 6),
    };
    let mut values = digits.chars().map(|digit| digit.to_digit(16));
    let first = values.next()??;
    let value = values
        .try_fold(first, |value, digit| Some(value.saturating_mul(16).saturating_add(digit?)))?;
    Some((value, length))
}

/// Returns the lines of a block string.
fn lines(raw: &str) -> impl Iterator<Item = &str> {
    raw.split("\r\n").flat_map(|lines| lines.split(['\n', '\r']))
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t'))
}

/// Whether a line that is neither the first nor the last has nothing but spaces.
fn has_line_of_spaces(raw: &str) -> bool {
    let mut lines = lines(raw).skip(1).peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_some() && !line.is_empty() && is_blank(line) {
            return true;
        }
    }
    false
}

/// Returns the value of a block string (GraphQL specification, `BlockStringValue`).
fn block_string_value(raw: &str) -> String {
    let raw = raw.replace("\\\"\"\"", "\"\"\"");
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let common = lines(&raw).skip(1).filter(|line| !is_blank(line)).map(indent).min().unwrap_or(0);
    let lines = lines(&raw).enumerate().map(|(index, line)| match index {
        0 => line,
        _ => line.get(common..).unwrap_or_default(),
    });
    let lines = lines.collect::<Vec<_>>();
    let first = lines.iter().position(|line| !is_blank(line)).unwrap_or(lines.len());
    let end = lines.iter().rposition(|line| !is_blank(line)).map_or(first, |last| last + 1);
    lines[first..end].join("\n")
}

#[cfg(test)]
mod tests {
    use async_graphql::{
        Value,
        parser::{parse_query, types::Selection},
    };

    use super::*;

    /// Returns the value of the first argument of the first field.
    fn value(document: &str) -> Value {
        let text = rewrite(document).unwrap();
        let parsed = parse_query(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let (_, operation) = parsed.operations.iter().next().unwrap();
        let Selection::Field(field) = &operation.node.selection_set.node.items[0].node else {
            panic!("not a field: {text}");
        };
        field.node.arguments[0].1.node.clone().into_const().unwrap()
    }

    fn string(literal: &str) -> String {
        match value(&format!("{{ a(b: {literal}) }}")) {
            Value::String(text) => text,
            other => panic!("{literal}: {other}"),
        }
    }

    fn refused(document: &str) -> (String, usize, usize) {
        let error = rewrite(document).unwrap_err();
        (error.message, error.locations[0].line, error.locations[0].column)
    }

    #[test]
    fn an_ordinary_document_is_not_copied() {
        for document in [
            "",
            "{ a(b: \"\\u00e9 \\\\u{1} \\\"\", c: \"\"\"x\n\n  y\n  \"\"\", d: -1, e: -0.5, f: {g: {g: 1}}) }",
            "query($a: String = \"x\" $b: [I] = [{c: 1}, {c: 2}]) { a: b(a: $a) a: b(a: $a) }",
            "query Q @d(a: \"x\") { a } # \"\"\" \\\"\"\" -0",
            "{ a(b: \"\\u{zz}\", c: \"\\u12\", d: \"\\u{}\", e: \"\\q\" }",
            "\"no definition\" { a }",
        ] {
            assert!(matches!(rewrite(document), Ok(Cow::Borrowed(_))), "{document}");
        }
    }

    #[test]
    fn a_block_string_has_the_value_of_the_specification() {
        for (literal, expected) in [
            (r#""""a \""" b""""#, r#"a """ b"#),
            (r#""""\"""""""#, r#"""""#),
            (r#""""\\"""\n""""#, r#"\"""\n"#),
            (
                "\"\"\"\n\n    a\\\"\"\"\n      \"b\"\\\n  \t \n    я\r\n\r    c\n  \n\"\"\"",
                "a\"\"\"\n  \"b\"\\\n\nя\n\nc",
            ),
            ("\"\"\"  first \\\"\"\"\n    second\"\"\"", "  first \"\"\"\nsecond"),
            ("\"\"\"\n    a\n  \n    b\n\"\"\"", "a\n\nb"),
            ("\"\"\"\n  a\n    \n  b\n\"\"\"", "a\n  \nb"),
            ("\"\"\"\n \n\t\n \"\"\"", ""),
        ] {
            assert_eq!(string(literal), expected, "{literal}");
        }
    }

    #[test]
    fn an_escape_names_any_unicode_character() {
        for (literal, expected) in [
            (r#""\u{1F600}""#, "\u{1F600}"),
            (r#""<\uD83D\uDE00>""#, "<\u{1F600}>"),
            (r#""\ud83d\ude00\u00e9\u{E9}\n\u{000000000041}""#, "\u{1F600}éé\nA"),
            (r#""\u{22}\u{5c}\u{A}\u{d}\u{10FFFF}\u{0}""#, "\"\\\n\r\u{10FFFF}\0"),
            (r#""\\u{1F600} \u{D7FF}""#, "\\u{1F600} \u{D7FF}"),
        ] {
            assert_eq!(string(literal), expected, "{literal}");
        }
        for (escape, message) in [
            (r"\uD83D", LONE_SURROGATE),
            (r"\uDE00\uD83D", LONE_SURROGATE),
            (r"\uD83D\u0041", LONE_SURROGATE),
            (r"\uD83D\u{DE00}", LONE_SURROGATE),
            (r"\u{D83D}\uDE00", LONE_SURROGATE),
            (r"\u{110000}", ABOVE_UNICODE),
            (r"\u{100000000000041}", ABOVE_UNICODE),
        ] {
            let document = format!("{{\n a(b: \"я{escape}\") }}");
            assert_eq!(refused(&document), (message.to_owned(), 2, 9), "{escape}");
        }
    }

    #[test]
    fn a_description_is_ignored_where_it_may_stand() {
        let document = "\"a\" query A(\"\"\"b\nc\"\"\" $a: String = \"d\" \"e\" $b: [Int!] \"f\" $c: \
                        Int @g(h: \"i\") \"j\" $k: Int) { l(m: $a) } \"\"\"n\"\"\" fragment O on P { q }";
        let text = rewrite(document).unwrap();
        let expected = "    query A(    \n     $a: String = \"d\"     $b: [Int!]     $c: \
                        Int @g(h: \"i\")     $k: Int) { l(m: $a) }         fragment O on P { q }";
        assert_eq!(text, expected);
        for invalid in [
            "\"a\" { b }",
            "\"a\" \"b\" query { c }",
            "{ a(\"b\" c: 1) }",
            "query \"a\" query { b }",
            "\"\\q\" query { b }",
            "query($a: Int \"b\") { c }",
            "query($a: String = \"b\" \"c\") { d }",
        ] {
            assert!(parse_query(rewrite(invalid).unwrap()).is_err(), "{invalid}");
        }
        assert_eq!(refused("\"\\uD83D\" query { a }").0, LONE_SURROGATE);
    }

    #[test]
    fn minus_zero_is_zero() {
        let document = "{ a(b: [-0, -0-0 1-0, -1, -0.5, 1e-0, 10]) }";
        let text = rewrite(document).unwrap();
        assert_eq!(text, "{ a(b: [ 0,  0 0 1 0, -1, -0.5, 1e-0, 10]) }");
        assert_eq!(value("{ a(b: -0) }"), Value::from(0));
    }

    #[test]
    fn an_input_object_may_not_name_a_field_twice() {
        let message = "An input object names the field `c` twice.".to_owned();
        for (document, line, column) in [
            ("{ a(b: {c: 1, c: 1}) }", 1, 15),
            ("{ a(b: {c: {c: [{d: 1}]}\r\n  c: 2}) }", 2, 3),
            ("query($a: I = {b: [{c: \"}\" c: 1}]}) { a }", 1, 28),
            ("{ a { b @d(e: [{c: $c}, {c: RED c: 1}]) } }", 1, 33),
        ] {
            assert_eq!(refused(document), (message.clone(), line, column), "{document}");
        }
    }

    #[test]
    fn what_follows_a_rewritten_token_stays_on_its_line() {
        let document = "{\n a(b: \"\"\"\n \\\"\"\"\r\n \n\"\"\") {\n ! } }";
        let error: ServerError = parse_query(rewrite(document).unwrap()).unwrap_err().into();
        assert_eq!((error.locations[0].line, error.locations[0].column), (6, 2));
    }
}
