//! Accounts: who may sign in, and as what.

use std::fmt;

use super::{
    clock::Timestamp,
    ids::AccountId,
    text::{SingleLine, TextError},
};

/// What an account may do; each includes nothing of the others by itself, see
/// [`policy`](super::policy).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Opens tickets and sees only their own.
    Customer,
    /// Support staff: works the whole queue.
    Agent,
    /// An agent who may also configure the installation.
    Admin,
}

impl Role {
    /// Agents and admins.
    pub fn is_staff(self) -> bool {
        matches!(self, Self::Agent | Self::Admin)
    }
}

/// A language that people are addressed in.
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
    /// Its id.
    pub id: AccountId,
    /// Where mail reaches it, and what it signs in with.
    pub email: EmailAddress,
    /// The name that others see.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The language that it is addressed in.
    pub locale: Locale,
    /// Since when it can't sign in, if it can't.
    pub disabled_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// How often all its sessions were ended, when this was read.
    pub session_generation: i32,
}

/// An e-mail address in lower case, at most 254 characters (RFC 5321): compared
/// as a whole, so that one mailbox is one account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Accepts an address; letters are put in lower case.
    ///
    /// # Errors
    /// Empty, longer than 254 characters, with control characters or spaces, or
    /// not of the form `local@domain`.
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

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// An address is personal: it stays out of logs.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded_to_lower_case() {
        assert_eq!(EmailAddress::parse(" Anna@Example.COM ").unwrap().as_str(), "anna@example.com");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "a", "a@", "@b", "a b@c", "a@b@c", "a@b\r\nBcc: c@d", "<a@b>", "a@.b", "a@b."]
        {
            assert!(EmailAddress::parse(text).is_err(), "{text:?}");
        }
        assert!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(250))).is_err());
    }
}
