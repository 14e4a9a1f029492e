//! The rounds of look-ups of a request: a round ends when the request has nothing else to do.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tokio::task;

/// The rounds of a request's look-ups. All keys of one round, of whatever kind, are looked up
/// when the round ends.
#[derive(Clone, Default)]
pub(super) struct Rounds(Arc<Mutex<RoundState>>);

#[derive(Default)]
struct RoundState {
    /// The number of keys requested so far, in all rounds.
    keys: usize,
    open: Option<Round>,
}

/// A round that is open.
#[derive(Clone)]
pub(super) struct Round {
    pub(super) number: usize,
    /// Resolves when the round ends; polled by the fields that wait for it.
    pub(super) ended: Shared<BoxFuture<'static, ()>>,
}

impl Rounds {
    /// Counts a key and returns its round: the open one, or a new one.
    pub(super) fn join(&self) -> Round {
        let mut state = self.0.lock();
        state.keys += 1;
        let number = state.keys;
        state
            .open
            .get_or_insert_with(|| Round { number, ended: self.clone().end().boxed().shared() })
            .clone()
    }

    /// Ends the round when the request has nothing else to do.
    async fn end(self) {
        // A value may arrive while only some of the fields that wait for it have been polled.
        // The others add their keys later, and the round must wait for these.
        let mut keys = 0;
        while keys != self.0.lock().keys {
            keys = self.0.lock().keys;
            Idle::default().await;
        }
        self.0.lock().open = None;
    }
}

/// Resolves when everything else in the task has been polled and is waiting. Unlike
/// `yield_now`, which is ready at its second poll, it is not fooled by a second poll from
/// another waiter of the same look-up.
#[derive(Default)]
struct Idle(Option<Arc<IdleWaker>>);

struct IdleWaker {
    woken: AtomicBool,
    waker: Waker,
}

impl Wake for IdleWaker {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

impl Future for Idle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(waker) = &self.0 {
            let woken = waker.woken.load(Ordering::Acquire);
            return if woken { Poll::Ready(()) } else { Poll::Pending };
        }
        let waker =
            Arc::new(IdleWaker { woken: AtomicBool::new(false), waker: context.waker().clone() });
        self.0 = Some(Arc::clone(&waker));
        // The scheduler calls the waker after this task has returned.
        pin!(task::yield_now()).poll(&mut Context::from_waker(&Waker::from(waker)))
    }
}
