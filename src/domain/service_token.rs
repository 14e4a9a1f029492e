//! Service tokens: credentials for machines, limited by scopes.

use super::{
    clock::Timestamp,
    ids::{AccountId, ServiceTokenId},
};

/// A permission of a service token. A token grants nothing beyond its scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Create and update customers' accounts.
    ProvisionCustomers,
    /// Create handoff links for customers.
    CreateHandoffs,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 2] = [Self::ProvisionCustomers, Self::CreateHandoffs];
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Whether the set contains [`Scope::ProvisionCustomers`].
    pub provision_customers: bool,
    /// Whether the set contains [`Scope::CreateHandoffs`].
    pub create_handoffs: bool,
}

impl Scopes {
    /// Returns whether the set contains a scope.
    pub fn has(self, scope: Scope) -> bool {
        match scope {
            Scope::ProvisionCustomers => self.provision_customers,
            Scope::CreateHandoffs => self.create_handoffs,
        }
    }

    /// Iterates over the scopes in the set.
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

/// A service token. Only a hash of its secret is stored.
#[derive(Clone, Debug)]
pub struct ServiceToken {
    /// The token's id.
    pub id: ServiceTokenId,
    /// The name that tells people what the token is for.
    pub name: String,
    /// The scopes of the token.
    pub scopes: Scopes,
    /// When the token was created.
    pub created_at: Timestamp,
    /// The admin who created the token, or `None` for the operator at the command line.
    pub created_by: Option<AccountId>,
    /// When the token was last used, accurate to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When the token expires, or `None` if it does not.
    pub expires_at: Option<Timestamp>,
    /// When the token was revoked, or `None` if it was not.
    pub revoked_at: Option<Timestamp>,
}
