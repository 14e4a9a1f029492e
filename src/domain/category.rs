//! Categories of tickets.

use super::{
    account::Locale,
    clock::Timestamp,
    ids::CategoryId,
    text::{SingleLine, TextError},
};

/// The maximum number of categories, including retired ones.
pub const MAX_CATEGORIES: usize = 100;

/// A category.
#[derive(Clone, Debug)]
pub struct Category {
    /// The category's id.
    pub id: CategoryId,
    /// The name for scripts and links. It never changes.
    pub slug: String,
    /// The name in English.
    pub name_en: String,
    /// The name in Russian.
    pub name_ru: String,
    /// When the category was retired, or `None` if it accepts new tickets.
    pub retired_at: Option<Timestamp>,
}

/// The name of a category for scripts and links: words of lowercase Latin letters and digits, joined by
/// hyphens, at most 64 characters long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug(String);

impl Slug {
    /// Parses a slug.
    ///
    /// # Errors
    /// The text is empty, is longer than 64 characters, or does not have this form.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let line = SingleLine::<64>::parse(text)?;
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
        };
        if line.as_str().split('-').all(is_word) {
            Ok(Self(line.into_string()))
        } else {
            Err(TextError::Malformed(
                "words of lowercase Latin letters and digits, joined by hyphens, like technical-support",
            ))
        }
    }

    /// Returns the slug as a string.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Category {
    /// Returns the name in a language.
    pub fn name(&self, locale: Locale) -> &str {
        match locale {
            Locale::En => &self.name_en,
            Locale::Ru => &self.name_ru,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_consists_of_words_joined_by_hyphens() {
        for text in ["a", "technical-support", "24-7", &"x".repeat(64)] {
            assert_eq!(Slug::parse(text).unwrap().into_string(), text);
        }
        for text in ["", "-a", "a-", "a--b", "A", "a b", "a_b", "продажи", &"x".repeat(65)] {
            assert!(Slug::parse(text).is_err(), "{text}");
        }
    }
}
