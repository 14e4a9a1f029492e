//! Service tokens: what machines sign in with, and what they may do.

use super::{
    clock::Timestamp,
    ids::{AccountId, ServiceTokenId},
};

/// Something that a machine may do. It may do nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Make and update customers' accounts.
    ProvisionCustomers,
    /// Hand signed-in customers over.
    CreateHandoffs,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::ProvisionCustomers, Self::CreateHandoffs];
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Has [`Scope::ProvisionCustomers`].
    pub provision_customers: bool,
    /// Has [`Scope::CreateHandoffs`].
    pub create_handoffs: bool,
}

impl Scopes {
    /// Whether a scope is among them.
    pub fn has(self, scope: Scope) -> bool {
        match scope {
            Scope::ProvisionCustomers => self.provision_customers,
            Scope::CreateHandoffs => self.create_handoffs,
        }
    }

    /// The scopes in it.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |&scope| self.has(scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        let mut set = Self::default();
        for scope in scopes {
            match scope {
                Scope::ProvisionCustomers => set.provision_customers = true,
                Scope::CreateHandoffs => set.create_handoffs = true,
            }
        }
        set
    }
}

/// A service token. What is sent is not kept.
#[derive(Clone, Debug)]
pub struct ServiceToken {
    /// Its id.
    pub id: ServiceTokenId,
    /// What its owners call it.
    pub name: String,
    /// What may be done with it.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it; none: the operator at the command line.
    pub created_by: Option<AccountId>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<Timestamp>,
}
