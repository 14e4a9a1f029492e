//! Halves of characters in JSON. Its grammar allows them, but they are no characters: they come from
//! texts that were cut in the middle of an emoji.

/// What to do about them, as the end of a sentence that names the text.
pub const HALF_CHARACTER: &str = "contains half of a character: a text was cut in the middle of an \
    emoji, for example. Send whole characters.";

/// Replaces the halves of surrogate pairs that stand alone. Returns `None` if there are none.
pub fn whole_characters(text: &str) -> Option<String> {
    let (mut whole, mut rest, mut found) = (String::with_capacity(text.len()), text, false);
    while let Some(start) = rest.find('\\') {
        let escape = &rest[start..];
        let first = unit(escape);
        let second = escape.get(6..).and_then(unit);
        let is_half = first.is_some_and(|unit| matches!(unit, 0xD800..=0xDFFF));
        let is_pair = first.is_some_and(|unit| unit < 0xDC00)
            && second.is_some_and(|unit| matches!(unit, 0xDC00..=0xDFFF));
        let length = match first {
            Some(_) if is_half && is_pair => 12,
            Some(_) => 6,
            // The backslash and the character that it escapes.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        whole.push_str(&rest[..start]);
        if is_half && !is_pair {
            found = true;
            whole.push('\u{FFFD}');
        } else {
            whole.push_str(&escape[..length]);
        }
        rest = &escape[length..];
    }
    whole.push_str(rest);
    found.then_some(whole)
}

/// Returns the UTF-16 code unit that an escape stands for.
fn unit(escape: &str) -> Option<u32> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u32::from_str_radix(digits, 16).ok()
}
