//! The order in which replays read the database.

use tokio::sync::{Mutex, Semaphore};

use super::keyed::Keyed;
use crate::domain::ids::AccountId;

/// The number of replays that may read the database at once. Many clients that reconnect at the
/// same time must leave connections for everything else.
const MAX_DATABASE_REPLAYS: usize = 8;

/// The replays that read the database: one of each account, and [`MAX_DATABASE_REPLAYS`] in all.
pub(super) struct ReplayTurns {
    accounts: Keyed<AccountId, Mutex<()>>,
    all: Semaphore,
}

impl ReplayTurns {
    pub(super) fn new() -> Self {
        Self { accounts: Keyed::default(), all: Semaphore::new(MAX_DATABASE_REPLAYS) }
    }

    /// Reads as soon as a replay of this account may.
    pub(super) async fn run<T>(&self, account: AccountId, read: impl Future<Output = T>) -> T {
        let own = self.accounts.get(account);
        // First: the others of the account don't stand in the way of everybody else.
        let _own = own.lock().await;
        // The semaphore is never closed, so a permit always comes.
        let _permit = self.all.acquire().await.ok();
        read.await
    }
}
