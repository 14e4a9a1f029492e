//! Accounts: the people who can sign in.

use super::{clock::Timestamp, erasure::erased_address, ids::AccountId};

pub use super::email::EmailAddress;

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

    /// Returns whether the account was erased.
    pub fn is_erased(&self) -> bool {
        self.email == erased_address(self.id)
    }
}

/// How often accounts had changed in what others see of them. Reading the same number again means
/// that none has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountChangeCount(pub i64);
