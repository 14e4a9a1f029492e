//! The order in which callers' requests are executed. Each caller executes a few at the same time,
//! and its further ones wait: one caller leaves cores, connections and memory to the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::slots::Party;

/// The requests that are executed, by party. Clones share them. A party without requests takes no
/// memory.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<Party, Arc<Semaphore>>>>);

/// The right to execute a request. The next request of the party is executed when this is dropped.
pub struct Turn {
    /// Given back only after this is dropped.
    _permit: OwnedSemaphorePermit,
    _leaving: Leaving,
}

/// Removes the party when its last turn has ended.
struct Leaving {
    turns: Turns,
    party: Party,
}

impl Turns {
    /// Waits until the party executes fewer than `max` requests, in the order of the calls.
    pub async fn take(&self, party: Party, max: usize) -> Turn {
        // Dropped after the semaphore, also if this future is dropped while it waits.
        let leaving = Leaving { turns: self.clone(), party };
        let semaphore =
            self.lock().entry(party).or_insert_with(|| Arc::new(Semaphore::new(max))).clone();
        let permit = semaphore.acquire_owned().await.expect("no semaphore of turns is closed");
        Turn { _permit: permit, _leaving: leaving }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Party, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut parties = self.turns.lock();
        // Those who have a turn or wait for one hold their party's semaphore.
        if parties.get(&self.party).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            parties.remove(&self.party);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_party_waits_for_its_own_turns_only_and_leaves_nothing() {
        let turns = Turns::default();
        let (one, other) = (Party::Network(None), Party::Everybody);
        let first = turns.take(one, 1).await;
        let mut second = Box::pin(turns.take(one, 1));
        assert!(second.as_mut().now_or_never().is_none());
        let third = Box::pin(turns.take(one, 1));
        drop(turns.take(other, 1).await);
        drop(third);
        drop(first);
        let second = second.await;
        assert_eq!(turns.lock().len(), 1);
        drop(second);
        assert!(turns.lock().is_empty());
    }
}
