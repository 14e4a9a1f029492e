//! The values of strings (GraphQL specification, §2.9.4).

const UNKNOWN_ESCAPE: &str = "An escape in a string is unknown. Known are \\\", \\\\, \\/, \\b, \\f, \
                              \\n, \\r, \\t, and \\u with the value of a character: \\u00E9 or \
                              \\u{1F600}.";
const ABOVE_UNICODE: &str =
    "An escape in a string is above 10FFFF, the largest value of a Unicode character.";
const LONE_SURROGATE: &str = "An escape in a string is one half of a surrogate pair. Send both \
                              halves, or the value of the character: for example \\u{1F600}.";

/// Returns the value of a string, which is given without its quotes.
///
/// # Errors
/// An escape names no character. Returns its place, in bytes, and what is wrong with it.
pub fn string_value(content: &str) -> Result<String, (usize, &'static str)> {
    let (mut value, mut rest) = (String::with_capacity(content.len()), content);
    while let Some(found) = rest.find('\\') {
        let (plain, escape) = rest.split_at(found);
        let place = content.len() - escape.len();
        let (character, length) = decode(escape).map_err(|message| (place, message))?;
        value.push_str(plain);
        value.push(character);
        rest = &escape[length..];
    }
    value.push_str(rest);
    Ok(value)
}

/// Returns the character that a text begins with as an escape, and the length of the escape in
/// bytes.
fn decode(text: &str) -> Result<(char, usize), &'static str> {
    let character = match text.as_bytes().get(1) {
        Some(b'u') => return decode_unicode(text),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
        _ => return Err(UNKNOWN_ESCAPE),
    };
    Ok((character, 2))
}

/// Returns the character that a text begins with by a Unicode escape or a pair of them, and their
/// length in bytes.
fn decode_unicode(text: &str) -> Result<(char, usize), &'static str> {
    let (value, length) = code_point(text).ok_or(UNKNOWN_ESCAPE)?;
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
    char::from_u32(value).map(|character| (character, length)).ok_or(not_unicode)
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

/// Returns the value of a block string, which is given without its quotes.
pub fn block_string_value(content: &str) -> String {
    let raw = content.replace("\\\"\"\"", "\"\"\"");
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

/// Returns the lines of a block string.
fn lines(raw: &str) -> impl Iterator<Item = &str> {
    raw.split("\r\n").flat_map(|lines| lines.split(['\n', '\r']))
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_string_has_the_value_of_the_specification() {
        for (content, expected) in [
            (r#"a \""" b"#, r#"a """ b"#),
            (r#"\""""#, r#"""""#),
            (r#"\\"""\n"#, r#"\"""\n"#),
            (
                "\n\n    a\\\"\"\"\n      \"b\"\\\n  \t \n    я\r\n\r    c\n  \n",
                "a\"\"\"\n  \"b\"\\\n\nя\n\nc",
            ),
            ("  first \\\"\"\"\n    second", "  first \"\"\"\nsecond"),
            ("\n    a\n  \n    b\n", "a\n\nb"),
            ("\n  a\n    \n  b\n", "a\n  \nb"),
            ("\n \n\t\n ", ""),
            ("", ""),
        ] {
            assert_eq!(block_string_value(content), expected, "{content}");
        }
    }

    #[test]
    fn an_escape_names_any_unicode_character() {
        for (content, expected) in [
            ("plain я", "plain я"),
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"\u{1F600}", "\u{1F600}"),
            (r"<\uD83D\uDE00>", "<\u{1F600}>"),
            (r"\ud83d\ude00\u00e9\u{E9}\n\u{000000000041}", "\u{1F600}éé\nA"),
            (r"\u{22}\u{5c}\u{A}\u{d}\u{10FFFF}\u{0}", "\"\\\n\r\u{10FFFF}\0"),
            (r"\\u{1F600} \u{D7FF}", "\\u{1F600} \u{D7FF}"),
        ] {
            assert_eq!(string_value(content).as_deref(), Ok(expected), "{content}");
        }
    }

    #[test]
    fn an_escape_of_no_character_is_refused_with_its_place() {
        for (escape, message) in [
            (r"\uD83D", LONE_SURROGATE),
            (r"\uDE00\uD83D", LONE_SURROGATE),
            (r"\uD83D\u0041", LONE_SURROGATE),
            (r"\uD83D\u{DE00}", LONE_SURROGATE),
            (r"\u{D83D}\uDE00", LONE_SURROGATE),
            (r"\u{110000}", ABOVE_UNICODE),
            (r"\u{100000000000041}", ABOVE_UNICODE),
            (r"\u{}", UNKNOWN_ESCAPE),
            (r"\u{g}", UNKNOWN_ESCAPE),
            (r"\u{41", UNKNOWN_ESCAPE),
            (r"\u{ 41}", UNKNOWN_ESCAPE),
            (r"\u004", UNKNOWN_ESCAPE),
            (r"\u00é9", UNKNOWN_ESCAPE),
            (r"\u+041", UNKNOWN_ESCAPE),
            (r"\U0041", UNKNOWN_ESCAPE),
            (r"\x41", UNKNOWN_ESCAPE),
            (r"\й", UNKNOWN_ESCAPE),
            ("\\\n", UNKNOWN_ESCAPE),
        ] {
            assert_eq!(string_value(&format!("я\\n{escape}")), Err((4, message)), "{escape}");
        }
    }
}
