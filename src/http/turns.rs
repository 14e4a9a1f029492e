//! The order in which callers' requests are executed. Each caller executes a few at the same time,
//! and its further ones wait: one caller leaves cores, connections and memory to the others.

use std::{
    collections::HashMap,
    future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::slots::Party;

/// How long after several parties had requests each of them leaves the other cores to the others.
const SHARED_TIME: Duration = Duration::from_secs(1);

/// The requests that are executed, by party. Clones share them. A party without requests takes no
/// memory.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<Parties>>);

#[derive(Default)]
struct Parties {
    parties: HashMap<Party, Arc<OneParty>>,
    /// Until when the cores are shared, if they ever were.
    shared_until: Option<Instant>,
}

/// The requests of one party.
struct OneParty {
    turns: Arc<Semaphore>,
    /// Whether a core works on one of them, while cores are shared.
    is_busy: AtomicBool,
    /// The requests that wait for that.
    waiting: Mutex<Vec<Waker>>,
}

/// What a party's requests have for themselves while several parties have requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A core.
    Core,
    /// A core, and the database for one request.
    Request,
}

/// The right to execute a request. The next request of the party is executed when this is dropped.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    share: Share,
    party: Arc<OneParty>,
    /// The last field: the party is removed after everything else is dropped.
    leaving: Leaving,
}

/// Removes the party when its last turn has ended.
struct Leaving {
    turns: Turns,
    party: Party,
}

impl Turns {
    /// Waits until the party executes fewer than `max` requests, in the order of the calls.
    pub async fn take(&self, party: Party, max: usize, share: Share) -> Turn {
        // Dropped after the semaphore, also if this future is dropped while it waits.
        let leaving = Leaving { turns: self.clone(), party };
        let party = self.enter(party, max);
        let permit = Arc::clone(&party.turns).acquire_owned().await;
        let permit = permit.expect("no semaphore of turns is closed");
        Turn { _permit: permit, share, party, leaving }
    }

    /// Returns a turn if the party executes fewer than `max` requests and none waits.
    pub fn try_take(&self, party: Party, max: usize, share: Share) -> Option<Turn> {
        let leaving = Leaving { turns: self.clone(), party };
        let party = self.enter(party, max);
        let permit = Arc::clone(&party.turns).try_acquire_owned().ok()?;
        Some(Turn { _permit: permit, share, party, leaving })
    }

    fn enter(&self, party: Party, max: usize) -> Arc<OneParty> {
        let Parties { parties, shared_until } = &mut *self.0.lock();
        let entered = Arc::clone(parties.entry(party).or_insert_with(|| {
            let turns = Arc::new(Semaphore::new(max));
            Arc::new(OneParty { turns, is_busy: AtomicBool::default(), waiting: Mutex::default() })
        }));
        if parties.len() > 1 {
            *shared_until = Some(Instant::now() + SHARED_TIME);
        }
        entered
    }

    fn are_shared(&self) -> bool {
        self.0.lock().shared_until.is_some_and(|until| Instant::now() < until)
    }
}

impl Turn {
    /// Runs the request. If several parties have requests when it begins, only one core at a time
    /// works on those of one party. With [`Share::Request`] they run one after the other, so that a
    /// request that holds a connection is never suspended for another one.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        if !self.leaving.turns.are_shared() {
            return work.await;
        }
        match self.share {
            Share::Request => {
                let _busy = future::poll_fn(|task| match self.party.occupy(task) {
                    Some(busy) => Poll::Ready(busy),
                    None => Poll::Pending,
                })
                .await;
                work.await
            }
            Share::Core => {
                let run = future::poll_fn(|task| match self.party.occupy(task) {
                    Some(_busy) => work.as_mut().poll(task),
                    None => Poll::Pending,
                });
                run.await
            }
        }
    }
}

impl OneParty {
    /// Occupies the party's core, or has the task woken when it is free.
    fn occupy(&self, task: &Context<'_>) -> Option<Busy<'_>> {
        if self.is_busy.swap(true, Ordering::AcqRel) {
            self.waiting.lock().push(task.waker().clone());
            // It may have become free before the task was registered.
            if self.is_busy.swap(true, Ordering::AcqRel) {
                return None;
            }
        }
        Some(Busy(self))
    }
}

/// The core that works on a party's request, until this is dropped.
struct Busy<'p>(&'p OneParty);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
        // All of them: a request that was waiting may have been dropped.
        std::mem::take(&mut *self.0.waiting.lock()).into_iter().for_each(Waker::wake);
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let parties = &mut self.turns.0.lock().parties;
        // Those who have a turn or wait for one hold their party.
        if parties.get(&self.party).is_some_and(|party| Arc::strong_count(party) == 1) {
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
        let first = turns.take(one, 1, Share::Core).await;
        let mut second = Box::pin(turns.take(one, 1, Share::Core));
        assert!(second.as_mut().now_or_never().is_none());
        let third = Box::pin(turns.take(one, 1, Share::Core));
        drop(turns.take(other, 1, Share::Core).await);
        drop(third);
        drop(first);
        let second = second.await;
        assert_eq!(turns.0.lock().parties.len(), 1);
        drop(second);
        assert!(turns.0.lock().parties.is_empty());
    }

    #[tokio::test]
    async fn while_parties_share_the_cores_each_works_on_one_request() {
        let turns = Turns::default();
        let (one, other) = (Party::Network(None), Party::Everybody);
        let (first, second) =
            (turns.take(one, 2, Share::Core).await, turns.take(one, 2, Share::Core).await);
        let (mut task, seen) = (Context::from_waker(Waker::noop()), AtomicBool::new(false));
        let nested = |shared: bool| {
            let mut outer = Box::pin(first.run(async {
                // What another core finds that works on the party's second request meanwhile.
                let mut inner = pin!(second.run(async { seen.store(true, Ordering::Relaxed) }));
                let polled = inner.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert_eq!(polled.is_pending(), shared);
            }));
            assert!(outer.as_mut().poll(&mut task).is_ready());
        };
        let mut nested = nested;
        nested(false);
        assert!(seen.swap(false, Ordering::Relaxed));
        let third = turns.take(other, 1, Share::Core).await;
        nested(true);
        assert!(!seen.load(Ordering::Relaxed));
        // The core is free again.
        second.run(async {}).await;
        third.run(async {}).await;
    }

    #[tokio::test]
    async fn a_party_with_one_request_at_a_time_waits_for_it() {
        let turns = Turns::default();
        let (one, other) = (Party::Network(None), Party::Everybody);
        let first = turns.take(one, 2, Share::Request).await;
        let second = turns.take(one, 2, Share::Request).await;
        let _others = turns.take(other, 1, Share::Request).await;
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        let mut begun = Box::pin(first.run(finished));
        assert!(begun.as_mut().now_or_never().is_none());
        let mut waiting = Box::pin(second.run(async {}));
        assert!(waiting.as_mut().now_or_never().is_none());
        finish.send(()).unwrap();
        begun.await.unwrap();
        waiting.await;
    }
}
