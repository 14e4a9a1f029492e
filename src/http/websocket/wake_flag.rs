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

/// The bells of one task.
#[derive(Default)]
pub struct Doorbells(Arc<AtomicWaker>);

impl Doorbells {
    /// Has the task woken by each bell that rings from now on. To be called in each pass,
    /// before any bell is asked.
    pub fn attend(&self, cx: &Context<'_>) {
        self.0.register(cx.waker());
    }

    /// A bell for a part that has not been polled yet: it has rung.
    pub fn hang(&self) -> Doorbell {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Arc::clone(&self.0) });
        Doorbell { waker: Arc::clone(&bell).into(), bell }
    }
}

/// The bell of one part.
pub struct Doorbell {
    bell: Arc<Bell>,
    waker: Waker,
}

struct Bell {
    rung: AtomicBool,
    task: Arc<AtomicWaker>,
}

impl Doorbell {
    /// Whether it has rung since this was asked last: the part has to be polled.
    pub fn has_rung(&self) -> bool {
        self.bell.rung.load(Ordering::Relaxed) && self.bell.rung.swap(false, Ordering::AcqRel)
    }

    /// Has the part polled in the next pass, which this does not bring about.
    pub fn ring(&self) {
        self.bell.rung.store(true, Ordering::Release);
    }

    /// What to poll the part with: it rings the bell and wakes the task.
    pub fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}
