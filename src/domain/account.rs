//! Accounts: the people who can sign in.

use std::fmt;

use super::{
    clock::Timestamp,
    ids::AccountId,
    text::{SingleLine, TextError},
};

/// The role of an account. [`policy`](super::policy) decides what each role may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Opens tickets and sees only the tickets that they opened or take part in.
    Customer,
    /// A member of the support staff. Sees all tickets.
    Agent,
    /// An agent who may also manage accounts, categories and service tokens.
    Admin,
}

impl Role {
    /// Returns whether the role is agent or admin.
    pub fn is_staff(self) -> bool {
        matches!(self, Self::Agent | Self::Admin)
    }
}

/// A supported language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Locale {
    /// English.
    En,
    /// Russian.
    Ru,
}

/// An account without its secrets.
#[derive(Clone, Debug)]
pub struct Account {
    /// The account's id.
    pub id: AccountId,
    /// The address for mails and for signing in.
    pub email: EmailAddress,
    /// The name shown to others.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The language of the person's mails.
    pub locale: Locale,
    /// When the account was disabled, or `None` if it is active.
    pub disabled_at: Option<Timestamp>,
    /// When the account was created.
    pub created_at: Timestamp,
    /// How many times all of the account's sessions had been ended when this was read.
    pub session_generation: i32,
}

impl Account {
    /// Returns whether the account is an agent's or admin's who can sign in.
    pub fn is_active_staff(&self) -> bool {
        self.role.is_staff() && self.disabled_at.is_none()
    }
}

/// How often accounts had changed in what others see of them. Reading the same number again means
/// that none has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountChangeCount(pub i64);

/// An e-mail address in lower case, at most 254 characters long (RFC 5321). Addresses that
/// differ only in case are equal, so they belong to the same account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Parses an address and converts it to lower case.
    ///
    /// # Errors
    /// The text is empty, is longer than 254 characters, contains control characters or spaces,
    /// or does not have the form `local@domain`.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        const FORM: TextError = TextError::Malformed("an e-mail address like name@example.com");
        let line = SingleLine::<254>::parse(&text.to_lowercase())?;
        let (local, domain) = line.as_str().rsplit_once('@').ok_or(FORM)?;
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.ends_with('.')
                && !part.contains(|c: char| {
                    c.is_whitespace() || matches!(c, '@' | '<' | '>' | ',' | ';' | '"')
                })
        };
        if plain(local) && plain(domain) { Ok(Self(line.into_string())) } else { Err(FORM) }
    }

    /// Returns the address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// An address is personal data and must not appear in logs.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_trimmed_and_converted_to_lower_case() {
        assert_eq!(EmailAddress::parse(" Anna@Example.COM ").unwrap().as_str(), "anna@example.com");
    }

    #[test]
    fn a_malformed_address_is_rejected() {
        for text in
            ["", "a", "a@", "@b", "a b@c", "a@b@c", "a@b\r\nBcc: c@d", "<a@b>", "a@.b", "a@b."]
        {
            assert!(EmailAddress::parse(text).is_err(), "{text:?}");
        }
        assert!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(250))).is_err());
    }
}
