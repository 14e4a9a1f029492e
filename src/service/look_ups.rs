//! The look-ups of tokens that are not in memory. A network has a few of them under way at the same
//! time, so made-up tokens do not keep the connections from everybody else.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many look-ups of a network are under way at the same time. The others wait.
const PER_NETWORK: usize = 16;

/// The look-ups under way, by network. Clones share them. A network without any takes no memory.
#[derive(Clone, Default)]
pub(super) struct LookUps(Arc<Mutex<HashMap<Option<IpAddr>, Arc<Semaphore>>>>);

/// A look-up that is under way or waits for its turn. The next one begins when this is dropped.
pub(super) struct LookUp {
    all: LookUps,
    network: Option<IpAddr>,
    /// `None` once it has ended.
    turns: Option<Arc<Semaphore>>,
    turn: Option<OwnedSemaphorePermit>,
}

impl LookUps {
    /// Waits until a look-up for a client of this network may begin.
    pub(super) async fn begin(&self, network: Option<IpAddr>) -> LookUp {
        let new = || Arc::new(Semaphore::new(PER_NETWORK));
        let turns = Arc::clone(self.lock().entry(network).or_insert_with(new));
        let (all, own) = (self.clone(), Some(Arc::clone(&turns)));
        let mut look_up = LookUp { all, network, turns: own, turn: None };
        // Never closed.
        look_up.turn = turns.acquire_owned().await.ok();
        look_up
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        drop((self.turn.take(), self.turns.take()));
        let mut all = self.all.lock();
        // Others of the network have a copy besides that of the map.
        if all.get(&self.network).is_some_and(|turns| Arc::strong_count(turns) == 1) {
            all.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    #[tokio::test]
    async fn a_network_waits_for_its_own_look_ups_only_and_leaves_nothing() {
        let look_ups = LookUps::default();
        let network = |last| Some(IpAddr::from([192, 0, 2, last]));
        let mut begun = join_all((0..PER_NETWORK).map(|_| look_ups.begin(network(1)))).await;
        let mut waiting = Box::pin(look_ups.begin(network(1)));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(look_ups.begin(network(2)).now_or_never().is_some());
        drop(begun.pop());
        let last = waiting.await;
        let given_up = look_ups.begin(network(1)).now_or_never();
        assert!(given_up.is_none());
        drop((begun, last));
        assert!(look_ups.lock().is_empty());
    }
}
