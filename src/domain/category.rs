//! Categories that tickets are sorted into.

use super::{account::Locale, clock::Timestamp, ids::CategoryId};

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

impl Category {
    /// The name in a language.
    pub fn name(&self, locale: Locale) -> &str {
        match locale {
            Locale::En => &self.name_en,
            Locale::Ru => &self.name_ru,
        }
    }
}
