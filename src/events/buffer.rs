//! The buffer between the hub and one stream.
//!
//! The hub never waits for a stream. The buffer of a slow stream overflows: its events are dropped,
//! and the stream replays them from the log. So memory is bounded and no event is skipped.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::{Mutex, MutexGuard};

use crate::domain::event::{FeedEvent, Subject};

/// The number of events that a buffer holds. The next event makes it overflow.
const CAPACITY: usize = 64;

/// The events and control signals that wait for one stream.
#[derive(Default)]
pub(super) struct SubscriberBuffer {
    queue: Mutex<Queue>,
    /// Whether a signal waits. Checked before every event, so it can be read without the lock. It
    /// is set before any later event can be taken.
    has_signal: AtomicBool,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Arc<FeedEvent>>,
    overflowed: bool,
    signals: VecDeque<ControlSignal>,
    /// Wakes the stream that waits for the buffer to be filled.
    waker: Option<Waker>,
}

/// Something that a stream must process before any further event. Signals are rare and are never
/// dropped.
pub(super) enum ControlSignal {
    /// An event of the caller's account: a session ended, or the role changed.
    AccountEvent(Arc<FeedEvent>),
    /// The feed was rewound to this position.
    RewoundTo(i64),
}

/// What a stream finds in its buffer.
pub(super) enum Buffered {
    /// The next event.
    Event(Arc<FeedEvent>),
    /// The buffer overflowed: the events must be read from the log.
    Overflowed,
    /// A control signal, which [`SubscriberBuffer::take_signal`] takes out.
    Signal,
}

impl SubscriberBuffer {
    /// Returns whether a control signal waits.
    pub(super) fn has_signal(&self) -> bool {
        self.has_signal.load(Ordering::Acquire)
    }

    /// Takes out the oldest control signal.
    pub(super) fn take_signal(&self) -> Option<ControlSignal> {
        let mut queue = self.queue.lock();
        let signal = queue.signals.pop_front();
        self.has_signal.store(!queue.signals.is_empty(), Ordering::Release);
        signal
    }

    /// Takes out the next event, unless a control signal waits or the buffer has overflowed.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Buffered> {
        let mut queue = self.queue.lock();
        if !queue.signals.is_empty() {
            return Poll::Ready(Buffered::Signal);
        }
        if std::mem::take(&mut queue.overflowed) {
            return Poll::Ready(Buffered::Overflowed);
        }
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Buffered::Event(event));
        }
        queue.wake_later(cx);
        Poll::Pending
    }

    /// Returns whether nothing waits for the stream.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// Waits until something waits for the stream.
    pub(super) async fn filled(&self) {
        poll_fn(|cx| {
            let mut queue = self.queue.lock();
            if !queue.is_empty() {
                return Poll::Ready(());
            }
            queue.wake_later(cx);
            Poll::Pending
        })
        .await;
    }

    /// Adds an event. Returns whether it made the buffer overflow.
    pub(super) fn push(&self, event: &Arc<FeedEvent>) -> bool {
        let mut queue = self.queue.lock();
        let mut overflows = false;
        if let Subject::Account(_) = event.event.subject {
            queue.signals.push_back(ControlSignal::AccountEvent(Arc::clone(event)));
            self.has_signal.store(true, Ordering::Release);
        } else if queue.events.len() >= CAPACITY {
            queue.events = VecDeque::new();
            overflows = !std::mem::replace(&mut queue.overflowed, true);
        } else if !queue.overflowed {
            queue.events.push_back(Arc::clone(event));
        }
        wake(queue);
        overflows
    }

    /// Drops the events, and adds a signal that the feed was rewound to a position.
    pub(super) fn rewind(&self, pos: i64) {
        let mut queue = self.queue.lock();
        queue.events = VecDeque::new();
        queue.signals.push_back(ControlSignal::RewoundTo(pos));
        self.has_signal.store(true, Ordering::Release);
        wake(queue);
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.signals.is_empty() && !self.overflowed
    }

    fn wake_later(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// Unlocks a queue, and then wakes the stream that waits for it.
fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}
