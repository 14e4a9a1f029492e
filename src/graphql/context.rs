//! The data of a request that resolvers work with.

use std::sync::Arc;

use async_graphql::{Context, parser::types::OperationType};
use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;

use super::{error::Failure, loader::Loaders};
use crate::{
    domain::{
        account::Locale,
        actor::{Actor, Identity},
        budget::RequestBudget,
        cursor::{Cursor, StartCursor},
        session::ClientOrigin,
    },
    events::{EventLog, StreamEnd},
    service::{ServiceError, Services},
};

/// The caller of a request, its origin, its loaders and its budget.
pub struct RequestContext {
    services: Services,
    log: Arc<EventLog>,
    actor: Actor,
    origin: ClientOrigin,
    /// Up to where this node had published events, and notifications were stored, before the request
    /// read anything.
    start: StartCursor,
    loaders: Loaders,
    budget: RequestBudget,
}

impl RequestContext {
    /// Creates the context of a request that is about to be executed.
    pub fn new(
        actor: Actor,
        origin: ClientOrigin,
        services: &Services,
        log: &Arc<EventLog>,
        budget: RequestBudget,
    ) -> Self {
        let start = log.start();
        let loaders = Loaders::new(actor, services, start.feed, budget.clone());
        let (services, log) = (services.clone(), Arc::clone(log));
        Self { services, log, actor, origin, start, loaders, budget }
    }

    pub(super) fn budget(&self) -> &RequestBudget {
        &self.budget
    }
}

/// The cursor at which a live stream resumes, in preference to its `after`: the last one
/// that a reconnecting client received. A transport that knows it puts it into the request's
/// data.
pub struct ResumeAt(pub String);

/// The turns of a live stream's caller. A transport has them end.
pub trait StreamTurns: Send + Sync {
    /// Waits for a turn, and starts the stream in it.
    fn start<'a>(&'a self, starting: BoxFuture<'a, ()>) -> BoxFuture<'a, ()>;
    /// Waits until the next message may be executed.
    fn message(&self) -> BoxFuture<'_, ()>;
}

/// What a live stream reports to its transport in addition to its messages. A transport that
/// needs it puts one into the request's data.
#[derive(Clone, Default)]
pub struct StreamProgress {
    state: Arc<Mutex<(Option<Cursor>, Option<StreamEnd>)>>,
    turns: Option<Arc<dyn StreamTurns>>,
}

impl StreamProgress {
    /// Creates one whose stream starts, and executes each message, in one of these turns.
    pub fn with_turns(turns: Arc<dyn StreamTurns>) -> Self {
        Self { state: Arc::default(), turns: Some(turns) }
    }

    /// Starts the stream in a turn and within a budget.
    ///
    /// # Errors
    /// The budget was exceeded, or what `starting` returns.
    pub(super) async fn start<T: Send, E: Into<Failure> + Send, F>(
        &self,
        budget: &RequestBudget,
        starting: impl FnOnce() -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, E>> + Send,
    {
        let Some(turns) = &self.turns else {
            return Box::pin(starting()).await.map_err(Into::into);
        };
        let mut started = None;
        // Called in the turn, and boxed: a caller's streams that wait for theirs take little memory.
        turns.start(async { started = Some(budget.run(Box::pin(starting())).await) }.boxed()).await;
        let started = started.expect("a turn ends with its work");
        started?.map_err(Into::into)
    }

    /// Waits until the next message may be executed.
    pub(super) async fn wait_for_turn(&self) {
        if let Some(turns) = &self.turns {
            turns.message().await;
        }
    }

    /// The cursor at which the stream resumes after its latest message; `None` before the
    /// first one.
    pub fn position(&self) -> Option<Cursor> {
        self.state.lock().0
    }

    /// Why the stream broke off; `None` while it runs and after it has completed.
    pub fn end(&self) -> Option<StreamEnd> {
        self.state.lock().1
    }

    pub(super) fn set_position(&self, cursor: Cursor) {
        self.state.lock().0 = Some(cursor);
    }

    pub(super) fn set_end(&self, end: StreamEnd) {
        self.state.lock().1 = Some(end);
    }
}

/// Access to the data that resolvers need. The transports provide it, so without it there is an
/// internal error.
pub(super) trait ContextExt {
    fn services(&self) -> Result<&Services, Failure>;
    fn log(&self) -> Result<&EventLog, Failure>;
    fn actor(&self) -> Result<&Actor, Failure>;
    fn origin(&self) -> Result<&ClientOrigin, Failure>;
    fn loaders(&self) -> Result<&Loaders, Failure>;
    fn budget(&self) -> Result<&RequestBudget, Failure>;
    fn start(&self) -> Result<StartCursor, Failure>;
    fn cursor(&self) -> Result<Cursor, Failure>;
    /// Whether the operation is a query, all of which shows one state.
    fn is_query(&self) -> bool;

    /// The position after which a live stream starts: [`ResumeAt`] if the transport set it,
    /// otherwise the argument.
    ///
    /// # Errors
    /// A malformed cursor.
    fn resume_after(&self, after: Option<&str>) -> Result<Option<StartCursor>, Failure>;

    /// The signed-in person.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a session; `FORBIDDEN` for a machine.
    fn identity(&self) -> Result<&Identity, Failure> {
        match self.actor()? {
            Actor::Account(identity) => Ok(identity),
            Actor::Machine(_) => Err(ServiceError::Forbidden.into()),
            Actor::Anonymous | Actor::System => Err(ServiceError::Unauthenticated.into()),
        }
    }

    /// The requested language, or else that of the caller's account, or else English.
    fn locale(&self, requested: Option<Locale>) -> Result<Locale, Failure> {
        let own = self.actor()?.identity().map_or(Locale::En, |identity| identity.locale);
        Ok(requested.unwrap_or(own))
    }
}

/// Returns the context of the request.
fn request<'c>(ctx: &Context<'c>) -> Result<&'c RequestContext, Failure> {
    ctx.data::<RequestContext>().map_err(Failure::missing_context)
}

impl ContextExt for Context<'_> {
    fn services(&self) -> Result<&Services, Failure> {
        request(self).map(|request| &request.services)
    }

    fn log(&self) -> Result<&EventLog, Failure> {
        request(self).map(|request| &*request.log)
    }

    fn actor(&self) -> Result<&Actor, Failure> {
        request(self).map(|request| &request.actor)
    }

    fn origin(&self) -> Result<&ClientOrigin, Failure> {
        request(self).map(|request| &request.origin)
    }

    fn loaders(&self) -> Result<&Loaders, Failure> {
        request(self).map(|request| &request.loaders)
    }

    fn budget(&self) -> Result<&RequestBudget, Failure> {
        request(self).map(|request| &request.budget)
    }

    fn start(&self) -> Result<StartCursor, Failure> {
        request(self).map(|request| request.start)
    }

    fn cursor(&self) -> Result<Cursor, Failure> {
        self.start().map(|start| start.feed)
    }

    fn is_query(&self) -> bool {
        self.query_env.operation.node.ty == OperationType::Query
    }

    fn resume_after(&self, after: Option<&str>) -> Result<Option<StartCursor>, Failure> {
        let last = self.data_opt::<ResumeAt>().map(|ResumeAt(cursor)| cursor.as_str());
        Ok(last.or(after).map(StartCursor::decode).transpose()?)
    }
}
