//! Who is asking.

use super::{
    account::{Locale, Role},
    ids::{AccountId, SessionId},
};

/// The one on whose behalf something is done. Every service function takes it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody has signed in.
    Anonymous,
    /// A person with an account.
    Account(Identity),
    /// Ticketwire itself or its operator at the command line.
    System,
}

/// A signed-in person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Their account.
    pub id: AccountId,
    /// What they may do.
    pub role: Role,
    /// The language that they read.
    pub locale: Locale,
    /// The session that they act through.
    pub session: SessionId,
    /// The session can do nothing but configure a second factor, see
    /// [`Session`](super::session::Session).
    pub confined: bool,
}

impl Actor {
    /// The signed-in person, if there is one.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Account(identity) => Some(identity),
            Self::Anonymous | Self::System => None,
        }
    }

    /// The account's id, if there is one.
    pub fn account_id(&self) -> Option<AccountId> {
        self.identity().map(|identity| identity.id)
    }

    /// Whether a member of staff is asking.
    pub fn is_staff(&self) -> bool {
        self.identity().is_some_and(|identity| identity.role.is_staff())
    }
}
