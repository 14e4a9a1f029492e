//! Categories that tickets are sorted into.

use super::{
    account::Locale,
    clock::Timestamp,
    ids::CategoryId,
    text::{SingleLine, TextError},
};

/// There are so many categories at most, retired ones included.
pub const MAX_CATEGORIES: usize = 100;

/// A category.
#[derive(Clone, Debug)]
pub struct Category {
    /// Its id.
    pub id: CategoryId,
    /// A stable name for scripts and links.
    pub slug: String,
    /// The name in English.
    pub name_en: String,
    /// The name in Russian.
    pub name_ru: String,
    /// Since when it takes no new tickets, if it doesn't.
    pub retired_at: Option<Timestamp>,
}

/// A category's stable name: words of small Latin letters and digits, joined by hyphens, 64
/// characters at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug(String);

impl Slug {
    /// Accepts a stable name.
    ///
    /// # Errors
    /// Empty, longer than 64 characters, or not of this form.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let line = SingleLine::<64>::parse(text)?;
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
        };
        if line.as_str().split('-').all(is_word) {
            Ok(Self(line.into_string()))
        } else {
            Err(TextError::Malformed(
                "words of small Latin letters and digits, joined by hyphens, like technical-support",
            ))
        }
    }

    /// The name, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Category {
    /// The name in a language.
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
    fn a_slug_is_words_joined_by_hyphens() {
        for text in ["a", "technical-support", "24-7", &"x".repeat(64)] {
            assert_eq!(Slug::parse(text).unwrap().into_string(), text);
        }
        for text in ["", "-a", "a-", "a--b", "A", "a b", "a_b", "продажи", &"x".repeat(65)] {
            assert!(Slug::parse(text).is_err(), "{text}");
        }
    }
}
