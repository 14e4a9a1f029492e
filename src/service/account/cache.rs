//! Accounts that are kept in memory.
//!
//! What others see of an account changes rarely. The number of such changes is read with every
//! ticket, so an account that was kept under the same number is no older than the ticket, on
//! whatever node an account has changed.

use std::sync::Arc;

use moka::sync::Cache;

use crate::domain::{
    account::{Account, AccountChangeCount},
    cursor::Cursor,
    ids::AccountId,
    ticket::Ticket,
};

/// How many accounts are kept at most: about 40 MiB.
const MAX_ACCOUNTS: u64 = 100_000;

/// A state of all accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountsState {
    changes: AccountChangeCount,
    /// The epoch of the feed: after a restore, the number may have the same values again.
    epoch: i32,
}

impl AccountsState {
    /// Returns the state that was read with a ticket, in a request that began at this position of
    /// the feed. `None` if the ticket was not read from the database.
    pub fn of(ticket: &Ticket, began: Cursor) -> Option<Self> {
        ticket.account_changes.map(|changes| Self { changes, epoch: began.epoch })
    }
}

/// Accounts, each with the state in which it was read. Clones share them.
#[derive(Clone)]
pub(in crate::service) struct AccountCache(Cache<AccountId, (AccountsState, Arc<Account>)>);

impl Default for AccountCache {
    fn default() -> Self {
        Self(Cache::new(MAX_ACCOUNTS))
    }
}

impl AccountCache {
    pub(super) fn get(&self, id: AccountId, state: AccountsState) -> Option<Arc<Account>> {
        let (kept_in, account) = self.0.get(&id)?;
        (kept_in == state).then_some(account)
    }

    pub(super) fn insert(&self, state: AccountsState, account: Arc<Account>) {
        self.0.insert(account.id, (state, account));
    }
}
