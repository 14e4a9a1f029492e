//! Where a node's subscriptions are: events come in from the tailer, in the order
//! of the feed, and go to the buffers of those whom they may concern.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::sync::watch;

use crate::{
    db::{
        DbError,
        feed::{Epoch, ReplayScope},
    },
    domain::{
        cursor::Cursor,
        event::{AccountSubject, Event, FeedEvent, SessionEffect, Subject, TicketSubject},
        ids::{AccountId, CategoryId, TicketId},
    },
    metrics::Metrics,
};

/// The events kept in memory for replays. An event holds ids only, some 250
/// bytes, so this is 3 MB at the most.
const RING: usize = 10_000;
/// A buffer that nobody empties is dropped at this many events: its
/// subscription goes back to replay, and nothing is skipped.
const BUFFER_CAPACITY: usize = 64;

/// What a buffer is registered under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// One ticket.
    Ticket(TicketId),
    /// The tickets that an account opened or takes part in, and those that it ceases to
    /// take part in.
    Of(AccountId),
    /// All tickets.
    AllTickets,
    /// The tickets of a category: an event that moves one is of both.
    Category(CategoryId),
    /// The tickets of which an event does not tell their category.
    AnyCategory,
    /// An account's sessions and rights.
    Account(AccountId),
}

/// What waits for a subscription: one reader.
#[derive(Default)]
pub(super) struct SubscriberBuffer {
    queue: Mutex<Queue>,
    /// Whether there is a signal. It is asked for each event, so without the lock; it is set
    /// before any later event can be taken.
    signalled: AtomicBool,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Arc<FeedEvent>>,
    overflowed: bool,
    signals: VecDeque<ControlSignal>,
    /// Who waits for something to be put in.
    reader: Option<Waker>,
}

/// What a subscription has to know before any further event: never dropped, and
/// rare.
pub(super) enum ControlSignal {
    /// Something happened to the subscriber's account: a session ended, a role changed.
    Account(Arc<FeedEvent>),
    /// The feed was rewound to this position.
    RewoundTo(i64),
}

/// What a subscription finds in its buffer.
pub(super) enum Buffered {
    /// The next event.
    Event(Arc<FeedEvent>),
    /// Too many came to be kept: the log has them.
    Overflowed,
    /// A signal, which goes before.
    ControlSignal,
}

impl SubscriberBuffer {
    /// Whether there is any signal.
    pub(super) fn has_signal(&self) -> bool {
        self.signalled.load(Ordering::Acquire)
    }

    /// Takes out the first signal.
    pub(super) fn take_signal(&self) -> Option<ControlSignal> {
        let mut queue = self.queue();
        let signal = queue.signals.pop_front();
        self.signalled.store(!queue.signals.is_empty(), Ordering::Release);
        signal
    }

    /// Takes out what is first, but for a signal, which stays.
    pub(super) fn poll_take(&self, cx: &Context<'_>) -> Poll<Buffered> {
        let mut queue = self.queue();
        if !queue.signals.is_empty() {
            return Poll::Ready(Buffered::ControlSignal);
        }
        if std::mem::take(&mut queue.overflowed) {
            return Poll::Ready(Buffered::Overflowed);
        }
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Buffered::Event(event));
        }
        queue.wait(cx);
        Poll::Pending
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    /// Resolves when something is in it.
    pub(super) async fn filled(&self) {
        poll_fn(|cx| {
            let mut queue = self.queue();
            if !queue.is_empty() {
                return Poll::Ready(());
            }
            queue.wait(cx);
            Poll::Pending
        })
        .await;
    }

    /// Puts an event in; gives whether that was one too many.
    fn put(&self, event: &Arc<FeedEvent>) -> bool {
        let mut queue = self.queue();
        let mut overflows = false;
        if let Subject::Account(_) = event.event.subject {
            queue.signals.push_back(ControlSignal::Account(Arc::clone(event)));
            self.signalled.store(true, Ordering::Release);
        } else if queue.events.len() >= BUFFER_CAPACITY {
            queue.events = VecDeque::new();
            overflows = !std::mem::replace(&mut queue.overflowed, true);
        } else if !queue.overflowed {
            queue.events.push_back(Arc::clone(event));
        }
        wake(queue);
        overflows
    }

    fn rewind(&self, pos: i64) {
        let mut queue = self.queue();
        queue.events = VecDeque::new();
        queue.signals.push_back(ControlSignal::RewoundTo(pos));
        self.signalled.store(true, Ordering::Release);
        wake(queue);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.signals.is_empty() && !self.overflowed
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// Wakes who waits for a queue, which is free again by then.
fn wake(mut queue: MutexGuard<'_, Queue>) {
    let reader = queue.reader.take();
    drop(queue);
    if let Some(reader) = reader {
        reader.wake();
    }
}

pub(super) struct Hub {
    state: RwLock<State>,
    /// The head again, for those who wait for it to move.
    moved: watch::Sender<i64>,
    /// Hears of what ends streams before any stream does.
    on_event: Heed,
    metrics: Metrics,
}

/// What heeds the events that end streams.
pub(super) type Heed = Box<dyn Fn(&Event) + Send + Sync>;

struct State {
    head: i64,
    epochs: Vec<Epoch>,
    ring: VecDeque<Arc<FeedEvent>>,
    topics: HashMap<Topic, Vec<Arc<SubscriberBuffer>>>,
}

/// Whether a cursor can be continued from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// It can.
    Unbroken,
    /// Its part of the history was rewound since.
    Broken,
}

impl Hub {
    pub(super) fn new(head: i64, epochs: Vec<Epoch>, on_event: Heed, metrics: Metrics) -> Self {
        let state = State { head, epochs, ring: VecDeque::new(), topics: HashMap::new() };
        Self { state: RwLock::new(state), moved: watch::Sender::new(head), on_event, metrics }
    }

    /// The last position that was published, in the present epoch.
    pub(super) fn cursor(&self) -> Cursor {
        self.read().cursor()
    }

    /// Tells of each move of the head.
    pub(super) fn moves(&self) -> watch::Receiver<i64> {
        self.moved.subscribe()
    }

    /// Whether an epoch's tag has been seen.
    pub(super) fn knows_epoch(&self, tag: i32) -> bool {
        self.read().epochs.iter().any(|epoch| epoch.tag == tag)
    }

    /// Takes over the epochs as the database has them. A new one that starts
    /// before the head means that the feed was rewound: whoever has seen more is told.
    pub(super) fn set_epochs(&self, epochs: Vec<Epoch>) {
        let mut state = self.write();
        let new = epochs.iter().filter(|epoch| !state.epochs.contains(epoch));
        let rewound_to = new.map(|epoch| epoch.start_pos).min().filter(|&start| start < state.head);
        state.epochs = epochs;
        if let Some(start) = rewound_to {
            state.head = start;
            state.ring.clear();
            state.topics.values().flatten().for_each(|buffer| buffer.rewind(start));
        }
    }

    /// Publishes the events that follow the head.
    ///
    /// # Errors
    /// A position is missing: the feed is dense, so something is badly wrong, and
    /// going on would lose an event silently.
    pub(super) fn publish(&self, events: Vec<FeedEvent>) -> Result<(), DbError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut state = self.write();
        for event in events {
            let pos = event.cursor.pos;
            if pos != state.head + 1 {
                return Err(DbError::Value(format!("the feed goes from {} to {pos}", state.head)));
            }
            if event.event.account().is_some_and(ends_streams) {
                (self.on_event)(&event.event);
            }
            let event = Arc::new(event);
            for topic in topics_of(&event.event) {
                for buffer in state.topics.get(&topic).into_iter().flatten() {
                    if buffer.put(&event) {
                        self.metrics.overflowed();
                    }
                }
            }
            if state.ring.len() == RING {
                state.ring.pop_front();
            }
            state.ring.push_back(event);
            state.head = pos;
            self.metrics.published(1);
        }
        self.moved.send_replace(state.head);
        Ok(())
    }

    /// Registers a buffer. It gets every event after the cursor that this gives.
    pub(super) fn register(&self, topics: &[Topic], buffer: &Arc<SubscriberBuffer>) -> Cursor {
        let mut state = self.write();
        for topic in topics {
            state.topics.entry(*topic).or_default().push(Arc::clone(buffer));
        }
        state.cursor()
    }

    /// Takes a buffer out again.
    pub(super) fn unregister(&self, topics: &[Topic], buffer: &Arc<SubscriberBuffer>) {
        let mut state = self.write();
        for topic in topics {
            if let Some(buffers) = state.topics.get_mut(topic) {
                buffers.retain(|other| !Arc::ptr_eq(other, buffer));
                if buffers.is_empty() {
                    state.topics.remove(topic);
                }
            }
        }
    }

    /// Whether the history that a cursor belongs to reaches to the present.
    pub(super) fn continuity(&self, cursor: Cursor) -> Continuity {
        let state = self.read();
        let Some(index) = state.epochs.iter().position(|epoch| epoch.tag == cursor.epoch) else {
            return Continuity::Broken;
        };
        match state.epochs.get(index + 1) {
            Some(next) if cursor.pos > next.start_pos => Continuity::Broken,
            _ => Continuity::Unbroken,
        }
    }

    /// The first `limit` events in scope with `after` < position ≤ `until`, from
    /// memory; `None` where memory doesn't reach back so far.
    pub(super) fn replay(
        &self,
        scope: ReplayScope,
        after: i64,
        until: i64,
        limit: usize,
    ) -> Option<Vec<Arc<FeedEvent>>> {
        let state = self.read();
        let oldest = state.ring.front()?.cursor.pos;
        if after + 1 < oldest || until > state.head {
            return None;
        }
        let start = state.ring.partition_point(|event| event.cursor.pos <= after);
        let events = state.ring.range(start..).take_while(|event| event.cursor.pos <= until);
        Some(events.filter(|event| in_scope(event, scope)).take(limit).cloned().collect())
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epochs.last().map_or(0, |epoch| epoch.tag), pos: self.head }
    }
}

fn topics_of(event: &Event) -> impl Iterator<Item = Topic> {
    let (fixed, customers) = match &event.subject {
        Subject::Ticket(ticket) => {
            let (before, after) = category_topics(ticket);
            let fixed = [
                Some(Topic::Ticket(ticket.id)),
                Some(Topic::Of(ticket.reporter)),
                Some(Topic::AllTickets),
                Some(after),
                (before != after).then_some(before),
                ticket.event.removed_participant().map(Topic::Of),
            ];
            (fixed, ticket.participants.as_slice())
        }
        // Most events about accounts, such as a sign-in, end no stream and wake nobody.
        Subject::Account(account) => {
            let topic = ends_streams(account).then_some(Topic::Account(account.id));
            ([topic, None, None, None, None, None], [].as_slice())
        }
    };
    fixed.into_iter().flatten().chain(customers.iter().copied().map(Topic::Of))
}

/// The topics of a ticket's category before and after an event.
fn category_topics(ticket: &TicketSubject) -> (Topic, Topic) {
    let before = ticket.state.and_then(|after| after.before(&ticket.event));
    match (before, ticket.state) {
        (Some(before), Some(after)) => {
            (Topic::Category(before.category), Topic::Category(after.category))
        }
        _ => (Topic::AnyCategory, Topic::AnyCategory),
    }
}

fn ends_streams(account: &AccountSubject) -> bool {
    account.event.session_effect() != SessionEffect::Unchanged
}

fn in_scope(event: &FeedEvent, scope: ReplayScope) -> bool {
    let Some(ticket) = event.event.ticket() else { return false };
    match scope {
        ReplayScope::AllTickets => true,
        ReplayScope::Ticket { id, .. } => id == ticket.id,
        ReplayScope::Of(account) => {
            topics_of(&event.event).any(|topic| topic == Topic::Of(account))
        }
    }
}
