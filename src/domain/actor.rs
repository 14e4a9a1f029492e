//! Who is asking.

use super::{
    account::{Locale, Role},
    ids::{AccountId, ServiceTokenId, SessionId},
    service_token::Scopes,
};

/// The one on whose behalf something is done. Every service function takes it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody has signed in.
    Anonymous,
    /// A person with an account.
    Account(Identity),
    /// A machine with a service token.
    Machine(Machine),
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

/// A machine, like the control panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The token that it acts with.
    pub token: ServiceTokenId,
    /// What it may do.
    pub scopes: Scopes,
}

impl Actor {
    /// The signed-in person, if there is one.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Account(identity) => Some(identity),
            Self::Anonymous | Self::Machine(_) | Self::System => None,
        }
    }

    /// The account's id, if there is one.
    pub fn account_id(&self) -> Option<AccountId> {
        self.identity().map(|identity| identity.id)
    }

    /// The service token that is acted with, if one is.
    pub fn service_token(&self) -> Option<ServiceTokenId> {
        match self {
            Self::Machine(machine) => Some(machine.token),
            Self::Anonymous | Self::Account(_) | Self::System => None,
        }
    }

    /// Whether a member of staff is asking.
    pub fn is_staff(&self) -> bool {
        self.identity().is_some_and(|identity| identity.role.is_staff())
    }
}
