//! Trying a transaction again that must not wait for the ticket that another one has locked.
//!
//! The version before locks a ticket before the bucket of its author, and a key before both, so
//! while nodes of both versions run, waiting could be a deadlock.

use super::ServiceError;
use crate::db::DbError;

/// How often a transaction is tried.
const MOST: u32 = 5;

/// Counts how often a transaction was tried.
#[derive(Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// Whether the next try is the last one, which must wait for locks.
    pub(super) fn is_last(&self) -> bool {
        self.0 + 1 >= MOST
    }

    /// Returns whether to try a transaction again that ended like this.
    pub(super) fn go_on<T>(&mut self, ended: &Result<T, ServiceError>) -> bool {
        let is_locked = matches!(ended, Err(ServiceError::Database(DbError::Locked)));
        let go_on = is_locked && !self.is_last();
        self.0 += 1;
        go_on
    }
}
