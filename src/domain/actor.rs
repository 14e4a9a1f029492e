//! The actor on whose behalf an operation runs.

use super::{
    account::{Locale, Role},
    ids::{AccountId, ServiceTokenId, SessionId},
    service_token::Scopes,
};

/// The person or machine on whose behalf an operation runs. It is the first parameter of every
/// service function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A caller who has not signed in.
    Anonymous,
    /// A signed-in person.
    Account(Identity),
    /// A program that uses a service token.
    Machine(Machine),
    /// Ticketwire itself, or the operator at the command line.
    System,
}

/// A signed-in person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The person's account.
    pub id: AccountId,
    /// The role of the account.
    pub role: Role,
    /// The language of the account.
    pub locale: Locale,
    /// The session that the request belongs to.
    pub session: SessionId,
    /// Whether the session can only configure a second factor. See
    /// [`Session::confined`](super::session::Session::confined).
    pub confined: bool,
}

/// A program that uses a service token, such as the control panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The service token.
    pub token: ServiceTokenId,
    /// The scopes of the token.
    pub scopes: Scopes,
}

impl Actor {
    /// Returns the signed-in person, if the actor is one.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Account(identity) => Some(identity),
            Self::Anonymous | Self::Machine(_) | Self::System => None,
        }
    }

    /// Returns the id of the signed-in person's account, if any.
    pub fn account_id(&self) -> Option<AccountId> {
        self.identity().map(|identity| identity.id)
    }

    /// Returns the id of the service token in use, if any.
    pub fn service_token(&self) -> Option<ServiceTokenId> {
        match self {
            Self::Machine(machine) => Some(machine.token),
            Self::Anonymous | Self::Account(_) | Self::System => None,
        }
    }

    /// Returns whether the actor is an agent or admin.
    pub fn is_staff(&self) -> bool {
        self.identity().is_some_and(|identity| identity.role.is_staff())
    }
}
