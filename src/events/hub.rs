//! The streams of this node. The tailer publishes events in the order of the feed, and the hub
//! distributes each to the buffers of the streams that it may concern.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{
    buffer::SubscriberBuffer,
    ring::{self, Ring},
    topic::{Topic, ends_streams, topics_of},
};
use crate::{
    db::{
        DbError,
        feed::{Epoch, ReplayScope},
    },
    domain::{
        cursor::Cursor,
        event::{Event, FeedEvent},
    },
    metrics::Metrics,
};

/// Called with each event that may end streams.
pub(super) type EventCallback = Box<dyn Fn(&Event) + Send + Sync>;

/// The position to which the feed was rewound if no stream can continue.
const NOTHING_IN_COMMON: i64 = -1;

/// The latest events, and the buffers of this node's streams by topic.
pub(super) struct Hub {
    state: RwLock<State>,
    /// The position of the last published event, for tasks that wait for new ones.
    head: watch::Sender<i64>,
    /// Called before any stream receives the event.
    on_event: EventCallback,
    metrics: Metrics,
}

struct State {
    /// The position of the last published event.
    head: i64,
    /// The epochs of the feed, oldest first.
    epochs: Vec<Epoch>,
    ring: Ring,
    topics: HashMap<Topic, Vec<Arc<SubscriberBuffer>>>,
}

impl Hub {
    pub(super) fn new(
        head: i64,
        epochs: Vec<Epoch>,
        on_event: EventCallback,
        metrics: Metrics,
    ) -> Self {
        let state = State { head, epochs, ring: Ring::default(), topics: HashMap::new() };
        Self { state: RwLock::new(state), head: watch::Sender::new(head), on_event, metrics }
    }

    /// Returns the cursor of the last published event, in the current epoch.
    pub(super) fn cursor(&self) -> Cursor {
        self.state.read().cursor()
    }

    /// Watches the position of the last published event.
    pub(super) fn watch_head(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    /// Returns the epochs of the feed, oldest first.
    pub(super) fn epochs(&self) -> Vec<Epoch> {
        self.state.read().epochs.clone()
    }

    /// Returns whether the hub has an epoch with this tag.
    pub(super) fn knows_epoch(&self, tag: i32) -> bool {
        self.state.read().epochs.iter().any(|epoch| epoch.tag == tag)
    }

    /// Replaces the epochs by those in the database, whose feed ends at `end`. If a new one starts
    /// before the head, the feed was rewound: the hub moves its head back and signals all streams.
    /// If the new history is too long to be published again, the hub continues at its end and has
    /// all streams resync.
    pub(super) fn set_epochs(&self, epochs: Vec<Epoch>, end: i64) {
        let mut state = self.state.write();
        let new = epochs.iter().filter(|epoch| !state.epochs.contains(epoch));
        let rewound_to = new.map(|epoch| epoch.start_pos).min().filter(|&start| start < state.head);
        state.epochs = epochs;
        if let Some(start) = rewound_to {
            let is_long = usize::try_from(end - start).is_ok_and(|long| long > ring::CAPACITY);
            let (head, rewound_to) =
                if is_long { (end, NOTHING_IN_COMMON) } else { (start, start) };
            state.head = head;
            state.ring.clear();
            state.topics.values().flatten().for_each(|buffer| buffer.rewind(rewound_to));
        }
    }

    /// Publishes the events that follow the head.
    ///
    /// # Errors
    /// A position is missing. The feed has no gaps, so an event would be lost silently.
    pub(super) fn publish(&self, events: Vec<FeedEvent>) -> Result<(), DbError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut state = self.state.write();
        for event in events {
            let (head, pos) = (state.head, event.cursor.pos);
            if pos != head + 1 {
                return Err(DbError::Value(format!("in the feed, {pos} follows position {head}")));
            }
            self.distribute(&mut state, Arc::new(event));
        }
        self.head.send_replace(state.head);
        Ok(())
    }

    fn distribute(&self, state: &mut State, event: Arc<FeedEvent>) {
        if event.event.account().is_some_and(ends_streams) {
            (self.on_event)(&event.event);
        }
        for topic in topics_of(&event.event) {
            for buffer in state.topics.get(&topic).into_iter().flatten() {
                if buffer.push(&event) {
                    self.metrics.overflowed();
                }
            }
        }
        state.head = event.cursor.pos;
        state.ring.push(event);
        self.metrics.published(1);
    }

    /// Registers a buffer under topics. It receives every event after the returned cursor.
    pub(super) fn register(&self, topics: &[Topic], buffer: &Arc<SubscriberBuffer>) -> Cursor {
        let mut state = self.state.write();
        for topic in topics {
            state.topics.entry(*topic).or_default().push(Arc::clone(buffer));
        }
        state.cursor()
    }

    /// Removes a buffer from the topics under which it is registered.
    pub(super) fn unregister(&self, topics: &[Topic], buffer: &Arc<SubscriberBuffer>) {
        let mut state = self.state.write();
        for topic in topics {
            if let Some(buffers) = state.topics.get_mut(topic) {
                buffers.retain(|other| !Arc::ptr_eq(other, buffer));
                if buffers.is_empty() {
                    state.topics.remove(topic);
                }
            }
        }
    }

    /// Returns events from memory. See [`Ring::following`].
    pub(super) fn following(&self, after: i64, limit: usize) -> Vec<Arc<FeedEvent>> {
        self.state.read().ring.following(after, limit)
    }

    /// Replays events from memory. See [`Ring::replay`].
    pub(super) fn replay(
        &self,
        scope: ReplayScope,
        after: i64,
        until: i64,
        limit: usize,
    ) -> Option<Vec<Arc<FeedEvent>>> {
        self.state.read().ring.replay(scope, after, until, limit)
    }
}

impl State {
    fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epochs.last().map_or(0, |epoch| epoch.tag), pos: self.head }
    }
}
