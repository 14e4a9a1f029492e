//! The addresses that are notified of new tickets, by category.

use std::collections::HashMap;

use crate::domain::{
    account::{EmailAddress, Locale},
    category::Category,
};

/// The addresses that are notified of new tickets, by the category's slug.
#[derive(Clone, Default)]
pub struct StaffAddresses {
    by_slug: HashMap<String, EmailAddress>,
    /// The address for all other categories.
    fallback: Option<EmailAddress>,
    /// The language of these mails; English if unset.
    locale: Option<Locale>,
}

impl StaffAddresses {
    /// Parses `sales=sales@example.com, *=desk@example.com`. `*` stands for all categories
    /// that are not listed.
    ///
    /// # Errors
    /// An entry is not `category=address`, or its address is invalid. The text names the entry.
    pub fn parse(text: &str, locale: Locale) -> Result<Self, String> {
        let mut addresses = Self { locale: Some(locale), ..Self::default() };
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (slug, address) = entry.split_once('=').ok_or_else(|| {
                format!(
                    "contains `{entry}`: write category=address, like `sales=sales@example.com`"
                )
            })?;
            let address = EmailAddress::parse(address)
                .map_err(|error| format!("contains `{entry}`: the address {error}"))?;
            match slug.trim() {
                "*" => addresses.fallback = Some(address),
                slug => drop(addresses.by_slug.insert(slug.to_owned(), address)),
            }
        }
        Ok(addresses)
    }

    /// The slugs of the listed categories.
    pub fn slugs(&self) -> impl Iterator<Item = &str> {
        self.by_slug.keys().map(String::as_str)
    }

    /// The address that is notified of a category's new tickets, and its language.
    pub(super) fn of(&self, category: &Category) -> Option<(&EmailAddress, Locale)> {
        let address = self.by_slug.get(&category.slug).or(self.fallback.as_ref())?;
        Some((address, self.locale.unwrap_or(Locale::En)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_entries_are_parsed_and_invalid_ones_are_rejected() {
        let parsed =
            StaffAddresses::parse("sales = S@example.com, *=desk@example.com,", Locale::En)
                .unwrap();
        assert_eq!(parsed.by_slug["sales"].as_str(), "s@example.com");
        assert_eq!(parsed.fallback.unwrap().as_str(), "desk@example.com");
        for text in ["sales", "sales=nobody", "sales=a@b\r\nBcc: c@d"] {
            assert!(StaffAddresses::parse(text, Locale::En).is_err(), "{text}");
        }
    }
}
