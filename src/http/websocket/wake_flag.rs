//! Parts of one task that are polled only after they were woken themselves: most of what a
//! socket waits for is rare, and to look at all of it for each event costs more than the
//! event does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// The flags of one task.
#[derive(Default)]
pub struct WakeFlags(Arc<AtomicWaker>);

impl WakeFlags {
    /// Has the task woken by each flag that rings from now on. To be called in each pass,
    /// before any flag is asked.
    pub fn register(&self, cx: &Context<'_>) {
        self.0.register(cx.waker());
    }

    /// A flag for a part that has not been polled yet: it has set.
    pub fn new_flag(&self) -> WakeFlag {
        let flag = Arc::new(Flag { set: AtomicBool::new(true), task: Arc::clone(&self.0) });
        WakeFlag { waker: Arc::clone(&flag).into(), flag }
    }
}

/// The flag of one part.
pub struct WakeFlag {
    flag: Arc<Flag>,
    waker: Waker,
}

struct Flag {
    set: AtomicBool,
    task: Arc<AtomicWaker>,
}

impl WakeFlag {
    /// Whether it has set since this was asked last: the part has to be polled.
    pub fn take(&self) -> bool {
        self.flag.set.load(Ordering::Relaxed) && self.flag.set.swap(false, Ordering::AcqRel)
    }

    /// Has the part polled in the next pass, which this does not bring about.
    pub fn set(&self) {
        self.flag.set.store(true, Ordering::Release);
    }

    /// What to poll the part with: it rings the flag and wakes the task.
    pub fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set.store(true, Ordering::Release);
        self.task.wake();
    }
}
