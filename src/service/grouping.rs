//! Grouping: what arrives on a node while a group is under way becomes the next group, which is
//! written in one statement.
//!
//! Callers who are answered together tend to call again together. After a large group, the next one
//! waits a moment for them: otherwise the first of them would make a group alone, with the others
//! behind it.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{Notify, oneshot},
    time,
};

use super::ServiceError;
use crate::db::DbError;

/// The largest number of calls in a group.
const MAX_GROUP: usize = 64;

/// The size from which on a group is large: its callers are waited for.
const LARGE_GROUP: usize = 4;
/// How long they are waited for at most.
const MAX_WAIT: Duration = Duration::from_millis(1);

/// A call that can be processed together with others.
pub(super) trait Call: Send + 'static {
    /// What the call returns.
    type Answer: Send + 'static;
}

/// A call that waits for its answer.
pub(super) struct Waiting<C: Call> {
    /// The call.
    pub(super) call: C,
    answer: oneshot::Sender<Result<C::Answer, ServiceError>>,
}

impl<C: Call> Waiting<C> {
    pub(super) fn answer(self, answer: Result<C::Answer, ServiceError>) {
        // A caller who has hung up does not wait for the answer.
        let _ = self.answer.send(answer);
    }
}

/// The calls of one kind that wait on this node.
pub(super) struct Grouping<C: Call> {
    queue: Mutex<Queue<C>>,
    /// Wakes the task that waits for callers.
    complete: Notify,
    max_wait: Duration,
}

struct Queue<C: Call> {
    waiting: VecDeque<Waiting<C>>,
    /// Whether a task processes groups.
    running: bool,
    /// How many calls the task waits for.
    expected: usize,
}

impl<C: Call> Default for Grouping<C> {
    fn default() -> Self {
        let queue = Queue { waiting: VecDeque::new(), running: false, expected: usize::MAX };
        Self { queue: Mutex::new(queue), complete: Notify::new(), max_wait: MAX_WAIT }
    }
}

impl<C: Call> Grouping<C> {
    /// Adds a call. Returns whether the caller must start the task that processes groups.
    fn push(&self, call: Waiting<C>) -> bool {
        let mut queue = self.lock();
        queue.waiting.push_back(call);
        if queue.waiting.len() >= queue.expected {
            self.complete.notify_one();
        }
        !std::mem::replace(&mut queue.running, true)
    }

    /// Waits for the callers of the last group, which had `size` calls, if it was large.
    async fn gather(&self, size: usize) {
        if size < LARGE_GROUP {
            return;
        }
        {
            let mut queue = self.lock();
            let expected = (queue.waiting.len() + size).min(MAX_GROUP);
            if queue.waiting.len() >= expected {
                return;
            }
            queue.expected = expected;
        }
        let _ = time::timeout(self.max_wait, self.complete.notified()).await;
        self.lock().expected = usize::MAX;
    }

    /// Returns the next group, or `None` if nobody waits: then the task must end. Calls whose
    /// callers have hung up are left out.
    fn next(&self) -> Option<Vec<Waiting<C>>> {
        let mut queue = self.lock();
        queue.waiting.retain(|call| !call.answer.is_closed());
        let size = queue.waiting.len().min(MAX_GROUP);
        let group = queue.waiting.drain(..size).collect::<Vec<_>>();
        queue.running = !group.is_empty();
        (!group.is_empty()).then_some(group)
    }

    fn lock(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a call processed in the next group. A caller who hangs up before its group begins has done
/// nothing. Once begun, a group runs to its end. `process` answers each call of a group.
///
/// # Errors
/// Returns the error that the call was answered with.
pub(super) async fn submit<C, F>(
    grouping: &Arc<Grouping<C>>,
    call: C,
    process: impl Fn(Vec<Waiting<C>>) -> F + Send + 'static,
) -> Result<C::Answer, ServiceError>
where
    C: Call,
    F: Future<Output = ()> + Send,
{
    let (answer, answered) = oneshot::channel();
    if grouping.push(Waiting { call, answer }) {
        let grouping = Arc::clone(grouping);
        tokio::spawn(async move {
            while let Some(group) = grouping.next() {
                let size = group.len();
                // A panic ends one group only.
                let _ = AssertUnwindSafe(process(group)).catch_unwind().await;
                grouping.gather(size).await;
            }
        });
    }
    let panicked = || DbError::Value("processing a group of writes panicked".into());
    answered.await.unwrap_or_else(|_| Err(panicked().into()))
}

/// Returns the error for the other calls of a group that an error has ended.
pub(super) fn repeated(error: &DbError) -> ServiceError {
    DbError::Unavailable(error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Call for Nothing {
        type Answer = ();
    }

    #[tokio::test]
    async fn the_callers_of_a_large_group_make_the_next_one_together() {
        let patient = Grouping { max_wait: Duration::from_mins(1), ..Grouping::default() };
        let (grouping, sizes) = (Arc::new(patient), Arc::new(Mutex::new(Vec::new())));
        let callers = (0..8).map(|nth| {
            let (grouping, sizes) = (Arc::clone(&grouping), Arc::clone(&sizes));
            tokio::spawn(async move {
                for _ in 0..2 {
                    let sizes = Arc::clone(&sizes);
                    let process = move |group: Vec<Waiting<Nothing>>| {
                        sizes.lock().unwrap().push(group.len());
                        for waiting in group {
                            waiting.answer(Ok(()));
                        }
                        async {}
                    };
                    submit(&grouping, Nothing, process).await.unwrap();
                    // They do not come back in the same moment.
                    for _ in 0..nth {
                        tokio::task::yield_now().await;
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        assert_eq!(*sizes.lock().unwrap(), [8, 8]);
    }
}
