//! Grouping: what arrives on a node while a group is under way becomes the next group, which is
//! written in one statement.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::ServiceError;
use crate::db::DbError;

/// The largest number of calls in a group.
const MAX_GROUP: usize = 64;

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
pub(super) struct Grouping<C: Call>(Mutex<Queue<C>>);

struct Queue<C: Call> {
    waiting: VecDeque<Waiting<C>>,
    /// Whether a task processes groups.
    running: bool,
}

impl<C: Call> Default for Grouping<C> {
    fn default() -> Self {
        Self(Mutex::new(Queue { waiting: VecDeque::new(), running: false }))
    }
}

impl<C: Call> Grouping<C> {
    /// Adds a call. Returns whether the caller must start the task that processes groups.
    fn push(&self, call: Waiting<C>) -> bool {
        let mut queue = self.lock();
        queue.waiting.push_back(call);
        !std::mem::replace(&mut queue.running, true)
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
                // A panic ends one group only.
                let _ = AssertUnwindSafe(process(group)).catch_unwind().await;
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
