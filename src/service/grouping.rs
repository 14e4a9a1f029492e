//! Grouping: what arrives on a node while a group is under way becomes the next group, which is
//! written in one statement.
//!
//! Callers who are answered together tend to call again together. After a large group, the next one
//! waits a moment for them: otherwise the first of them would make a group alone, with the others
//! behind it.
//!
//! Groups are written in turn. A turn ends before its calls are answered: who is answered may call again
//! at once, and is waited for as one of those who were answered. If many call, two groups overlap: while
//! one is written, the other is collected and prepared. Calls of one subject are never in both.

use std::{
    collections::{HashSet, VecDeque},
    future, mem,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::{self, Notify, OwnedMutexGuard, oneshot},
    time::{self, Instant},
};

use super::ServiceError;
use crate::{
    db::DbError,
    domain::{ids::TicketId, poll_again::poll_again},
};

/// The largest number of calls in a group.
const MAX_GROUP: usize = 64;

/// The size from which on a group is large: its callers are waited for.
const LARGE_GROUP: usize = 4;
/// How long they are waited for at most.
const MAX_WAIT: Duration = Duration::from_millis(1);

/// The number of calls from which on two groups overlap. Fewer are cheaper in one statement.
const OVERLAP_FROM: usize = 24;

/// A call that can be processed together with others.
pub(super) trait Call: Send + 'static {
    /// What the call returns.
    type Answer: Send + 'static;

    /// What the call changes, if groups of such calls may overlap.
    fn subject(&self) -> Option<TicketId> {
        None
    }
}

/// A call that waits for its answer.
pub(super) struct Waiting<C: Call> {
    /// The call.
    pub(super) call: C,
    answer: oneshot::Sender<Result<C::Answer, ServiceError>>,
}

impl<C: Call> Waiting<C> {
    /// Whether the caller has hung up: nobody expects the call to be made any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    pub(super) fn answer(self, answer: Result<C::Answer, ServiceError>) {
        // A caller who has hung up does not wait for the answer.
        let _ = self.answer.send(answer);
    }
}

/// The calls of one kind that wait on this node.
pub(super) struct Grouping<C: Call> {
    queue: Mutex<Queue<C>>,
    /// Wakes the task that collects groups.
    woken: Notify,
    /// Held by the group whose turn it is.
    turn: Arc<sync::Mutex<()>>,
    overlaps: bool,
    max_wait: Duration,
}

struct Queue<C: Call> {
    waiting: VecDeque<Waiting<C>>,
    /// Whether a task collects groups.
    running: bool,
    /// The group whose turn it is.
    current: Option<Current>,
    /// Whether a group is prepared whose turn it is not yet. No other is collected meanwhile.
    preparing: bool,
    /// How many groups whose turn has ended are not finished.
    unfinished: usize,
    /// How many calls the next group waits for, if it is nobody's turn.
    expected: usize,
    /// How many calls wake the task.
    wake_at: usize,
}

/// What others must know of a group.
struct Current {
    size: usize,
    subjects: HashSet<TicketId>,
}

impl<C: Call> Default for Grouping<C> {
    fn default() -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            running: false,
            current: None,
            preparing: false,
            unfinished: 0,
            expected: 0,
            wake_at: usize::MAX,
        };
        Self {
            queue: Mutex::new(queue),
            woken: Notify::new(),
            turn: Arc::default(),
            overlaps: false,
            max_wait: MAX_WAIT,
        }
    }
}

impl<C: Call> Grouping<C> {
    /// Creates a grouping of which two groups overlap if many call.
    pub(super) fn overlapping() -> Self {
        Self { overlaps: true, ..Self::default() }
    }

    /// Adds a call. Returns whether the caller must start the task that collects groups.
    fn push(&self, call: Waiting<C>) -> bool {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(call);
        if queue.waiting.len() >= queue.wake_at {
            self.woken.notify_one();
        }
        !mem::replace(&mut queue.running, true)
    }

    /// Waits for the next group. Returns `None` if nobody calls: then the task must end. Calls whose
    /// callers have hung up are left out.
    async fn next(&self) -> Option<Vec<Waiting<C>>> {
        let mut until = None;
        loop {
            let idle = {
                let mut queue = self.queue.lock();
                queue.waiting.retain(|call| !call.is_given_up());
                if let Some(group) = queue.take(self.overlaps) {
                    return Some(group);
                }
                let idle = queue.current.is_none() && !queue.preparing;
                if idle && queue.expected == 0 && queue.unfinished == 0 {
                    queue.running = false;
                    return None;
                }
                idle && queue.expected > 0
            };
            if !idle {
                self.woken.notified().await;
                continue;
            }
            let until = *until.get_or_insert_with(|| Instant::now() + self.max_wait);
            if time::timeout_at(until, self.woken.notified()).await.is_err() {
                self.queue.lock().expected = 0;
            }
        }
    }
}

impl<C: Call> Queue<C> {
    /// Ends the turn of the current group.
    fn end_turn(&mut self) {
        let size = self.current.take().map_or(0, |current| current.size);
        self.expected = if size >= LARGE_GROUP { self.waiting.len() + size } else { 0 };
    }

    /// Takes the next group if it is complete.
    fn take(&mut self, overlaps: bool) -> Option<Vec<Waiting<C>>> {
        if self.preparing {
            self.wake_at = usize::MAX;
            return None;
        }
        let waiting = self.waiting.len();
        let Some(current) = &self.current else {
            self.wake_at = self.expected.min(MAX_GROUP);
            if waiting == 0 || waiting < self.wake_at {
                return None;
            }
            self.expected = 0;
            let half = overlaps && waiting >= OVERLAP_FROM;
            return self.take_some(if half { waiting.div_ceil(2) } else { waiting }, None);
        };
        let size = current.size;
        self.wake_at = current.wake_at(overlaps);
        if waiting < self.wake_at {
            return None;
        }
        let current = self.current.take();
        let group = self.take_some((size + waiting).div_ceil(2), current.as_ref());
        self.current = current;
        if group.is_none() {
            self.wake_at = usize::MAX;
        }
        group
    }

    /// Takes calls that don't have the subjects of another group, and with them all that have theirs.
    fn take_some(&mut self, size: usize, other: Option<&Current>) -> Option<Vec<Waiting<C>>> {
        let (mut group, mut left) = (Vec::new(), VecDeque::new());
        let mut subjects = HashSet::new();
        for waiting in self.waiting.drain(..) {
            let subject = waiting.call.subject();
            let is_free =
                !subject.is_some_and(|it| other.is_some_and(|o| o.subjects.contains(&it)));
            let belongs = group.len() < size || subject.is_some_and(|it| subjects.contains(&it));
            if is_free && belongs && group.len() < MAX_GROUP {
                subjects.extend(subject);
                group.push(waiting);
            } else {
                left.push_back(waiting);
            }
        }
        self.waiting = left;
        self.preparing = !group.is_empty();
        self.preparing.then_some(group)
    }
}

impl Current {
    /// Returns how many calls are enough for a group beside this one: about as many as it has, so that
    /// neither waits for long.
    fn wake_at(&self, overlaps: bool) -> usize {
        let size = self.size;
        let enough = (size - size / 8).max(OVERLAP_FROM.saturating_sub(size));
        if overlaps { enough } else { usize::MAX }
    }
}

/// The turn of a group. It ends with [`Turn::end`], or when this is dropped.
pub(super) struct Turn<C: Call> {
    grouping: Arc<Grouping<C>>,
    state: State,
}

enum State {
    /// The group is prepared.
    Waiting(Current),
    Held(OwnedMutexGuard<()>),
    Ended,
}

impl<C: Call> Turn<C> {
    fn new(grouping: &Arc<Grouping<C>>, group: &[Waiting<C>]) -> Self {
        let subjects = group.iter().filter_map(|waiting| waiting.call.subject()).collect();
        let state = State::Waiting(Current { size: group.len(), subjects });
        Self { grouping: Arc::clone(grouping), state }
    }

    /// Waits until the turns before have ended. Returns at once if it was called before.
    pub(super) async fn wait(&mut self) {
        if !matches!(self.state, State::Waiting(_)) {
            return;
        }
        let held = Arc::clone(&self.grouping.turn).lock_owned().await;
        let State::Waiting(group) = mem::replace(&mut self.state, State::Held(held)) else {
            return;
        };
        let mut queue = self.grouping.queue.lock();
        queue.preparing = false;
        queue.wake_at = group.wake_at(self.grouping.overlaps);
        queue.current = Some(group);
        if queue.waiting.len() >= queue.wake_at {
            self.grouping.woken.notify_one();
        }
    }

    /// Ends the turn, after waiting for it. A group that waits for the next one goes on before this
    /// returns.
    pub(super) async fn end(&mut self) {
        self.wait().await;
        let State::Held(held) = mem::replace(&mut self.state, State::Ended) else { return };
        let another = {
            let mut queue = self.grouping.queue.lock();
            queue.end_turn();
            queue.unfinished += 1;
            queue.preparing
        };
        drop(held);
        if another {
            let mut has_begun = false;
            future::poll_fn(|context| {
                if mem::replace(&mut has_begun, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }
}

impl<C: Call> Drop for Turn<C> {
    fn drop(&mut self) {
        let mut queue = self.grouping.queue.lock();
        match self.state {
            State::Waiting(_) => queue.preparing = false,
            State::Held(_) => queue.end_turn(),
            State::Ended => queue.unfinished -= 1,
        }
    }
}

/// Has a call processed in the next group. A caller who hangs up before its group is collected has done
/// nothing. From then on the group runs to its end. Calls that it leaves to transactions of their own can
/// still be given up. `process` may prepare the group, waits for its turn, ends it once nothing more is
/// done together, and answers each call.
///
/// # Errors
/// Returns the error that the call was answered with.
pub(super) async fn submit<C, F>(
    grouping: &Arc<Grouping<C>>,
    call: C,
    process: impl Fn(Vec<Waiting<C>>, Turn<C>) -> F + Send + 'static,
) -> Result<C::Answer, ServiceError>
where
    C: Call,
    F: Future<Output = ()> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    if grouping.push(Waiting { call, answer }) {
        tokio::spawn(poll_again(collect(Arc::clone(grouping), process)));
    }
    answered.await.unwrap_or_else(|_| Err(DbError::Panicked.into()))
}

/// Collects groups and processes them until nobody calls. Processes them in this task: to wake another
/// one for each group would take a part of the time that a single call needs.
async fn collect<C, F>(
    grouping: Arc<Grouping<C>>,
    process: impl Fn(Vec<Waiting<C>>, Turn<C>) -> F + Send + 'static,
) where
    C: Call,
    F: Future<Output = ()> + Send + 'static,
{
    let mut groups = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            // A panic ends one group only.
            Some(_) = groups.next() => {}
            group = grouping.next() => {
                let Some(group) = group else { return };
                let turn = Turn::new(&grouping, &group);
                groups.push(AssertUnwindSafe(process(group, turn)).catch_unwind());
            }
        }
    }
}

/// Logs why a group was not written. Its calls are made one by one. That a client sends a call again
/// while it is under way is not a fault.
pub(super) fn log_failure(error: &DbError) {
    if error.is_key_claimed() {
        tracing::debug!(%error, "writing a group failed; making its calls one by one");
    } else {
        tracing::warn!(%error, "writing a group failed; making its calls one by one");
    }
}

/// Returns the error for the other calls of a group that an error has ended.
pub(super) fn repeated(error: &DbError) -> ServiceError {
    DbError::Unavailable(error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use tokio::{sync::watch, task};
    use uuid::Uuid;

    use super::*;

    struct Nothing;

    impl Call for Nothing {
        type Answer = ();
    }

    #[tokio::test]
    async fn the_callers_of_a_large_group_make_the_next_one_together() {
        let patient = Grouping { max_wait: Duration::from_hours(1), ..Grouping::default() };
        let (grouping, sizes) = (Arc::new(patient), Arc::new(Mutex::new(Vec::new())));
        let callers = (0..8).map(|nth| {
            let (grouping, sizes) = (Arc::clone(&grouping), Arc::clone(&sizes));
            tokio::spawn(async move {
                for _ in 0..3 {
                    let sizes = Arc::clone(&sizes);
                    let process = move |group: Vec<Waiting<Nothing>>, mut turn: Turn<_>| {
                        sizes.lock().push(group.len());
                        async move {
                            turn.wait().await;
                            turn.end().await;
                            for waiting in group {
                                waiting.answer(Ok(()));
                                // Some come back before the others are answered.
                                task::yield_now().await;
                            }
                        }
                    };
                    submit(&grouping, Nothing, process).await.unwrap();
                    // They do not come back in the same moment.
                    for _ in 0..nth {
                        task::yield_now().await;
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            time::timeout(Duration::from_mins(1), caller).await.unwrap().unwrap();
        }
        assert_eq!(*sizes.lock(), [8, 8, 8]);
    }

    struct Of(TicketId);

    impl Call for Of {
        type Answer = ();

        fn subject(&self) -> Option<TicketId> {
            Some(self.0)
        }
    }

    #[tokio::test]
    async fn if_many_call_a_group_of_other_subjects_is_prepared_while_one_is_written() {
        let (grouping, (prepared, mut groups)) =
            (Arc::new(Grouping::overlapping()), watch::channel(0));
        let open = Arc::new(Mutex::new(HashSet::new()));
        let process = move |group: Vec<Waiting<Of>>, mut turn: Turn<Of>| {
            let (prepared, open) = (prepared.clone(), Arc::clone(&open));
            async move {
                let subjects = group.iter().map(|waiting| waiting.call.0).collect::<HashSet<_>>();
                assert!(open.lock().is_disjoint(&subjects));
                open.lock().extend(&subjects);
                prepared.send_modify(|groups| *groups += 1);
                turn.wait().await;
                prepared.subscribe().wait_for(|&groups| groups > 1).await.unwrap();
                open.lock().retain(|subject| !subjects.contains(subject));
                for waiting in group {
                    waiting.answer(Ok(()));
                }
            }
        };
        let call = |n: usize| {
            let (grouping, process) = (Arc::clone(&grouping), process.clone());
            let subject = TicketId(Uuid::from_u128(n as u128));
            tokio::spawn(async move { submit(&grouping, Of(subject), process).await })
        };
        let first = call(1);
        groups.wait_for(|&groups| groups == 1).await.unwrap();
        // The last one changes what the first one does.
        let callers = [first].into_iter().chain((2..OVERLAP_FROM).chain([1]).map(call));
        for caller in callers.collect::<Vec<_>>() {
            time::timeout(Duration::from_mins(1), caller).await.unwrap().unwrap().unwrap();
        }
    }
}
