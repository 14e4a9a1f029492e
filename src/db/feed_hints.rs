//! Events that this node has placed. They reach its tailer without being read from the database again, and
//! other nodes are notified of them.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::placing::{PlacedEvents, Placing};
use crate::domain::clock::Ambient;

/// How many batches wait at most. If the tailer falls behind further, it reads the feed.
const MAX_BATCHES: usize = 16;

/// What the tailer has to do next.
#[derive(Default)]
pub struct Waiting {
    /// Events that this node has placed. Two statements are not always answered in the order in which
    /// they committed.
    pub placed: Vec<PlacedEvents>,
    /// Whether the feed must be read, because other nodes may have placed events.
    pub read: bool,
}

/// Wakes the tailer and the announcer.
pub struct FeedHints {
    /// Tells what this node has placed from what others have.
    pub node: i64,
    waiting: Mutex<Waiting>,
    woken: Notify,
    unannounced: Notify,
}

impl FeedHints {
    /// Creates the hints of a node.
    pub fn new(ambient: &Ambient) -> Self {
        let node = i64::from_be_bytes(ambient.bytes());
        Self { node, waiting: Mutex::default(), woken: Notify::new(), unannounced: Notify::new() }
    }

    /// Returns what the next statement of this node says of the positions that it gives. Only for a
    /// statement that is a transaction of its own.
    pub fn placing(&self, ambient: &Ambient) -> Placing {
        Placing { mark: i64::from_be_bytes(ambient.bytes()) }
    }

    /// Passes on events that were placed and committed.
    pub fn placed(&self, events: PlacedEvents) {
        self.unannounced.notify_one();
        let mut waiting = self.waiting.lock();
        if events.waited {
            waiting.read = true;
        } else if waiting.placed.len() < MAX_BATCHES {
            waiting.placed.push(events);
        } else {
            *waiting = Waiting { placed: vec![], read: true };
        }
        drop(waiting);
        self.woken.notify_one();
    }

    /// The feed may have grown by events of other nodes.
    pub fn grown(&self) {
        self.waiting.lock().read = true;
        self.woken.notify_one();
    }

    /// A statement of this node may have placed events.
    pub fn in_doubt(&self) {
        self.unannounced.notify_one();
        self.grown();
    }

    /// What this node has placed is still unannounced.
    pub fn unannounced_again(&self) {
        self.unannounced.notify_one();
    }

    /// Waits until this node has, or may have, placed events since the last call.
    pub async fn unannounced(&self) {
        self.unannounced.notified().await;
    }

    /// Waits for a hint. Returns at once if there was one since the last call.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Takes what waits.
    pub fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting.lock())
    }
}
