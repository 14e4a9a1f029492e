//! Wakers for the parts of one task, so that a part is polled only if it was woken itself. Most
//! of what a socket waits for is rare: to poll all of it for each event would cost more than
//! the event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// The waker of a task, for the flags of its parts.
#[derive(Default)]
pub struct TaskWaker(Arc<AtomicWaker>);

impl TaskWaker {
    /// Registers the task to be woken. To be called each time the task is polled, before its
    /// flags are tested.
    pub fn register(&self, cx: &Context<'_>) {
        self.0.register(cx.waker());
    }

    /// Creates the flag of a part. It is set, since the part has not been polled yet.
    pub fn new_flag(&self) -> WakeFlag {
        let state =
            Arc::new(FlagState { is_set: AtomicBool::new(true), task: Arc::clone(&self.0) });
        WakeFlag { waker: Arc::clone(&state).into(), state }
    }
}

/// The flag of one part of a task: set when the part is woken.
pub struct WakeFlag {
    state: Arc<FlagState>,
    waker: Waker,
}

struct FlagState {
    is_set: AtomicBool,
    task: Arc<AtomicWaker>,
}

impl WakeFlag {
    /// Clears the flag. Returns whether it was set: then the part must be polled.
    pub fn test_and_clear(&self) -> bool {
        let is_set = &self.state.is_set;
        is_set.load(Ordering::Relaxed) && is_set.swap(false, Ordering::AcqRel)
    }

    /// Sets the flag without waking the task: the part is polled the next time the task is.
    pub fn set(&self) {
        self.state.is_set.store(true, Ordering::Release);
    }

    /// Returns the context to poll the part with. Its waker sets the flag and wakes the task.
    pub fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }
}

impl Wake for FlagState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake();
    }
}
