//! The resources that one request may use: bytes, statements, connections and time.
//!
//! Every request has a budget: one for a query or a mutation, and one for each message of a
//! subscription. Code below the transports finds it with [`RequestBudget::current`], so it is not
//! passed through every function. Work outside of a request, such as a background task, has none.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    task_local, time,
};

task_local! {
    static CURRENT: Option<RequestBudget>;
}

/// How often the limit of a response may be loaded from the database as text. Texts may be loaded
/// that the request did not select.
const LOADED_PER_RESPONSE: usize = 2;

/// The limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// The largest size of a response, in bytes.
    pub response_bytes: usize,
    /// The largest number of statements that a request sends to the database.
    pub statements: usize,
    /// The largest number of database connections that a request uses at a time.
    pub connections: usize,
    /// How long a request may run.
    pub time: Duration,
    /// Under how many names a selection set may select one field.
    pub aliases: usize,
}

/// The largest size of a message of a stream, in bytes. A client may have many streams, each with
/// several messages that it has not read. Two texts of the maximum length fit into it.
const MESSAGE_BYTES: usize = 1 << 20;

impl RequestLimits {
    /// Returns the limits of one message of a stream.
    #[must_use]
    pub fn of_message(self) -> Self {
        Self { response_bytes: self.response_bytes.min(MESSAGE_BYTES), ..self }
    }
}

/// The limit that a request has exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// The response would be too large.
    #[error("the response is larger than {limit} bytes")]
    Response {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The request sends too many statements to the database.
    #[error("the request needs more than {limit} statements")]
    Statements {
        /// The limit.
        limit: usize,
    },
    /// The request takes too long.
    #[error("the request takes longer than {} seconds", limit.as_secs())]
    Time {
        /// The limit.
        limit: Duration,
    },
}

/// The budget of one request. Clones share it.
#[derive(Clone)]
pub struct RequestBudget(Arc<State>);

struct State {
    limits: RequestLimits,
    response_bytes: AtomicUsize,
    loaded_bytes: AtomicUsize,
    statements: AtomicUsize,
    connections: Arc<Semaphore>,
    exceeded: watch::Sender<Option<Exceeded>>,
    abandoned: AtomicBool,
}

impl RequestBudget {
    /// Creates the budget of a request.
    pub fn new(limits: RequestLimits) -> Self {
        Self(Arc::new(State {
            limits,
            response_bytes: AtomicUsize::new(0),
            loaded_bytes: AtomicUsize::new(0),
            statements: AtomicUsize::new(0),
            connections: Arc::new(Semaphore::new(limits.connections)),
            exceeded: watch::Sender::new(None),
            abandoned: AtomicBool::new(false),
        }))
    }

    /// Creates the budget of work that has no limits, but is cancelled when it is dropped.
    pub fn unlimited() -> Self {
        Self::new(RequestLimits {
            response_bytes: usize::MAX,
            statements: usize::MAX,
            connections: Semaphore::MAX_PERMITS,
            time: Duration::MAX,
            aliases: usize::MAX,
        })
    }

    /// Returns the budget of the request that the caller works for, or `None` outside of a request.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }

    /// Runs work on behalf of the request. Meanwhile [`current`](Self::current) returns this
    /// budget.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(Some(self.clone()), work).await
    }

    /// Runs work of the request that is not counted.
    pub async fn uncounted<F: Future>(work: F) -> F::Output {
        CURRENT.scope(None, work).await
    }

    /// Runs a request until it completes, exceeds a limit or its time is up.
    ///
    /// # Errors
    /// The limit that was exceeded. The work was dropped then.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Exceeded> {
        let mut exceeded = self.0.exceeded.subscribe();
        let mut work = pin!(self.scope(work));
        // Dropped before the work, so that the work's connections find out why they are dropped.
        let mut abandon = self.abandon_on_drop();
        let limit = self.0.limits.time;
        let completed = tokio::select! {
            biased;
            _ = exceeded.wait_for(Option::is_some) => None,
            output = &mut work => Some(output),
            () = time::sleep(limit) => {
                self.exceed(Exceeded::Time { limit });
                None
            }
        };
        let output = completed.ok_or(Exceeded::Time { limit });
        if output.is_ok() {
            abandon.budget = None;
        }
        self.check()?;
        output
    }

    /// Returns a guard that marks the request as abandoned when it is dropped.
    pub fn abandon_on_drop(&self) -> AbandonOnDrop {
        AbandonOnDrop { budget: Some(self.clone()) }
    }

    /// Whether the request ended before its work did. A statement may be under way then.
    pub fn is_abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::Acquire)
    }

    /// Fails if a limit was exceeded.
    ///
    /// # Errors
    /// The limit.
    pub fn check(&self) -> Result<(), Exceeded> {
        self.0.exceeded.borrow().map_or(Ok(()), Err)
    }

    /// Counts bytes of the response.
    ///
    /// # Errors
    /// A limit was exceeded, now or before.
    pub fn add_response_bytes(&self, bytes: usize) -> Result<(), Exceeded> {
        let limit = self.0.limits.response_bytes;
        self.count(&self.0.response_bytes, bytes, limit, Exceeded::Response { limit })
    }

    /// Counts bytes of text that are about to be loaded from the database.
    ///
    /// # Errors
    /// A limit was exceeded, now or before.
    pub fn add_loaded_bytes(&self, bytes: usize) -> Result<(), Exceeded> {
        let limit = self.0.limits.response_bytes;
        let loaded = limit.saturating_mul(LOADED_PER_RESPONSE);
        self.count(&self.0.loaded_bytes, bytes, loaded, Exceeded::Response { limit })
    }

    /// Counts a statement.
    ///
    /// # Errors
    /// A limit was exceeded, now or before.
    pub fn add_statement(&self) -> Result<(), Exceeded> {
        let limit = self.0.limits.statements;
        self.count(&self.0.statements, 1, limit, Exceeded::Statements { limit })
    }

    /// Returns the permits for database connections.
    pub fn connections(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.connections)
    }

    /// Starts again from zero, for the next message of a subscription.
    pub fn renew(&self) {
        let State { response_bytes, loaded_bytes, statements, exceeded, .. } = &*self.0;
        for counter in [response_bytes, loaded_bytes, statements] {
            counter.store(0, Ordering::Relaxed);
        }
        exceeded.send_replace(None);
    }

    fn count(
        &self,
        counter: &AtomicUsize,
        amount: usize,
        limit: usize,
        exceeded: Exceeded,
    ) -> Result<(), Exceeded> {
        let before = counter.fetch_add(amount, Ordering::Relaxed);
        if before.saturating_add(amount) > limit {
            self.exceed(exceeded);
        }
        self.check()
    }

    /// Records the first limit that is exceeded.
    fn exceed(&self, by: Exceeded) {
        self.0.exceeded.send_if_modified(|exceeded| {
            let is_first = exceeded.is_none();
            exceeded.get_or_insert(by);
            is_first
        });
    }
}

/// Marks a request as abandoned when it is dropped.
pub struct AbandonOnDrop {
    budget: Option<RequestBudget>,
}

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        if let Some(RequestBudget(state)) = &self.budget {
            state.abandoned.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> RequestBudget {
        RequestBudget::new(RequestLimits {
            response_bytes: 100,
            statements: 2,
            connections: 1,
            time: Duration::from_mins(1),
            aliases: 1,
        })
    }

    #[tokio::test]
    async fn work_ends_at_the_first_limit_that_it_exceeds() {
        let budget = budget();
        let ended = budget
            .run(async {
                let current = RequestBudget::current().unwrap();
                assert_eq!(current.add_loaded_bytes(200), Ok(()));
                assert_eq!(current.add_response_bytes(100), Ok(()));
                assert_eq!(current.add_response_bytes(1), Err(Exceeded::Response { limit: 100 }));
                assert_eq!(current.add_statement(), Err(Exceeded::Response { limit: 100 }));
                std::future::pending::<()>().await;
            })
            .await;
        assert_eq!(ended, Err(Exceeded::Response { limit: 100 }));
        assert!(budget.is_abandoned());
        budget.renew();
        assert_eq!(budget.check(), Ok(()));
    }

    #[tokio::test]
    async fn work_ends_when_its_time_is_up() {
        let limits = RequestLimits { time: Duration::ZERO, ..budget().0.limits };
        let ended = RequestBudget::new(limits).run(std::future::pending::<()>()).await;
        assert_eq!(ended, Err(Exceeded::Time { limit: Duration::ZERO }));
    }

    #[tokio::test]
    async fn work_that_completes_is_not_abandoned() {
        let budget = budget();
        assert_eq!(budget.run(async { 1 }).await, Ok(1));
        assert!(!budget.is_abandoned());
        assert!(RequestBudget::current().is_none());
    }
}
