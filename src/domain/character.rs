//! Kinds of characters: those that end a line, those that cannot be seen, and those that change
//! the direction of others. The Unicode properties are ICU4X's.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{BidiClass, DefaultIgnorableCodePoint},
};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Left-to-right override. Some programs put it before the telephone numbers that they copy.
const LEFT_TO_RIGHT_OVERRIDE: char = '\u{202D}';
/// Right-to-left override.
const RIGHT_TO_LEFT_OVERRIDE: char = '\u{202E}';

/// Returns whether a character ends a line (Unicode Standard, 5.8). `\r\n` ends one line.
pub(super) fn ends_line(c: char) -> bool {
    matches!(c, '\n' | '\u{B}' | '\u{C}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns whether a character is a control character (category Cc) other than a tab or the end
/// of a line.
pub(super) fn is_control(c: char) -> bool {
    c.is_control() && c != '\t' && !ends_line(c)
}

/// Returns whether a text reads the same without a character: spaces of no width, soft hyphens,
/// byte order marks, and the embeddings and isolates that come with copied numbers and names.
///
/// Joiners, variation selectors and direction marks are not among them, because emoji and some
/// scripts need them.
pub(super) fn is_noise(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{180E}'
            | '\u{200B}'
            | '\u{202A}'..='\u{202C}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFC}'
            | '\u{FFFE}'
    )
}

/// Returns a text without its [noise](is_noise), and without tag characters other than those of
/// flags such as that of England: they would hide a second text in it.
pub(super) fn without_noise(text: impl Iterator<Item = char>) -> String {
    let mut in_flag = false;
    let kept = |&c: &char| {
        let is_tag = matches!(c, '\u{E0001}' | '\u{E0020}'..='\u{E007F}');
        in_flag = c == '\u{1F3F4}' || in_flag && is_tag;
        !is_noise(c) && (!is_tag || in_flag)
    };
    text.filter(kept).collect()
}

/// Returns whether a character marks a direction and has no width.
pub(super) fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}')
}

/// Returns whether a character can be seen where no other stands before it.
pub(super) fn is_visible(c: char) -> bool {
    let blank = matches!(
        c,
        '\u{FFF9}'..='\u{FFFC}' | '\u{2800}' | '\u{13430}'..='\u{1343F}' | '\u{1D159}'
    );
    let noncharacter = u32::from(c) & 0xFFFE == 0xFFFE || matches!(c, '\u{FDD0}'..='\u{FDEF}');
    let hidden = c.is_control() || noncharacter || is_ignorable(c);
    !(c.is_whitespace() || blank || hidden || is_combining_mark(c))
}

/// Returns whether a character is displayed as nothing by programs that do not know it.
pub(super) fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Returns whether a character is an override of the direction.
pub(super) fn is_override(c: char) -> bool {
    matches!(c, LEFT_TO_RIGHT_OVERRIDE | RIGHT_TO_LEFT_OVERRIDE)
}

/// Returns the override because of which a text reads otherwise than it is stored. An override
/// from left to right changes nothing in a text without letters of the other direction.
pub(super) fn misleading_override(text: &str) -> Option<char> {
    if text.contains(RIGHT_TO_LEFT_OVERRIDE) {
        return Some(RIGHT_TO_LEFT_OVERRIDE);
    }
    let misleads = text.contains(LEFT_TO_RIGHT_OVERRIDE) && text.chars().any(is_right_to_left);
    misleads.then_some(LEFT_TO_RIGHT_OVERRIDE)
}

fn is_right_to_left(c: char) -> bool {
    let class = CodePointMapData::<BidiClass>::new().get(c);
    matches!(class, BidiClass::RightToLeft | BidiClass::ArabicLetter | BidiClass::ArabicNumber)
}

/// Composes letters with the accents that follow them (NFC), so that texts that look equal are
/// equal. Leaves a text without such accents as it is, because NFC replaces some letters even
/// where nothing is to be composed.
pub(super) fn compose(text: String) -> String {
    let composes = |c: char| is_combining_mark(c) || matches!(c, '\u{1160}'..='\u{11FF}');
    if text.chars().any(composes) { text.nfc().collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_ignorable_blank_or_only_an_accent_is_visible() {
        for c in (0..=0x10_FFFF).filter_map(char::from_u32).filter(|&c| is_ignorable(c)) {
            assert!(!is_visible(c), "U+{:04X}", u32::from(c));
        }
        for c in "\u{2800}\u{3164}\u{FFA0}\u{301}\u{20DD}\u{FFFE}\u{A0}\u{FFFC}\u{7}".chars() {
            assert!(!is_visible(c), "U+{:04X}", u32::from(c));
        }
        for c in "aя.日👍ـ٠\u{600}\u{E000}".chars() {
            assert!(is_visible(c), "{c}");
        }
    }

    #[test]
    fn an_override_misleads_if_it_reverses_something() {
        assert_eq!(misleading_override("\u{202D}+7 495 000\u{202C}"), None);
        assert_eq!(misleading_override("\u{202D}שלום\u{202C}"), Some('\u{202D}'));
        assert_eq!(misleading_override("a\u{202E}b"), Some('\u{202E}'));
    }

    #[test]
    fn accents_are_composed_and_other_letters_are_kept() {
        assert_eq!(compose("Sine\u{301}ad и\u{306} \u{1100}\u{1161}".into()), "Sinéad й 가");
        assert_eq!(compose("\u{FB46}\u{F900}".into()), "\u{FB46}\u{F900}");
    }
}
