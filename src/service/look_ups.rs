//! The look-ups of tokens that are not in memory. Those of one network leave connections to those of
//! others, and to the live side: anyone can make up tokens.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use crate::db::DbError;

/// How long a look-up waits for its turn.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The look-ups under way, by network. Clones share them. A network without any takes no memory.
#[derive(Clone)]
pub(super) struct LookUps {
    per_network: usize,
    turns: Arc<Mutex<HashMap<Option<IpAddr>, Arc<Semaphore>>>>,
}

/// A look-up that is under way or waits for its turn. The next one begins when this is dropped.
pub(super) struct LookUp {
    all: LookUps,
    network: Option<IpAddr>,
    /// `None` once it has ended.
    turns: Option<Arc<Semaphore>>,
    turn: Option<OwnedSemaphorePermit>,
}

impl LookUps {
    /// Creates those that use this many connections. A network uses half of them.
    pub(super) fn new(connections: usize) -> Self {
        Self { per_network: (connections / 2).max(1), turns: Arc::default() }
    }

    /// Waits until a look-up for a client of this network may begin.
    ///
    /// # Errors
    /// The others of the network take too long.
    pub(super) async fn begin(&self, network: Option<IpAddr>) -> Result<LookUp, DbError> {
        let new = || Arc::new(Semaphore::new(self.per_network));
        let turns = Arc::clone(self.turns.lock().entry(network).or_insert_with(new));
        let (all, own) = (self.clone(), Some(Arc::clone(&turns)));
        let mut look_up = LookUp { all, network, turns: own, turn: None };
        let turn = time::timeout(TIMEOUT, turns.acquire_owned()).await;
        let late = |_| DbError::Unavailable("earlier look-ups of tokens take too long".to_owned());
        // Never closed.
        look_up.turn = turn.map_err(late)?.ok();
        Ok(look_up)
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        drop((self.turn.take(), self.turns.take()));
        let mut all = self.all.turns.lock();
        // Others of the network have a copy besides that of the map.
        if all.get(&self.network).is_some_and(|turns| Arc::strong_count(turns) == 1) {
            all.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_network_waits_for_its_own_look_ups_only_and_leaves_nothing() {
        let look_ups = LookUps::new(4);
        let network = |last| Some(IpAddr::from([192, 0, 2, last]));
        let first = look_ups.begin(network(1)).await.unwrap();
        let second = look_ups.begin(network(1)).await.unwrap();
        let mut waiting = Box::pin(look_ups.begin(network(1)));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(look_ups.begin(network(2)).now_or_never().is_some());
        drop(first);
        let third = waiting.await.unwrap();
        assert!(look_ups.begin(network(1)).now_or_never().is_none(), "it is given up");
        drop((second, third));
        assert!(look_ups.turns.lock().is_empty());
    }
}
