//! Responses that are executed once and given to many: the subscribers of a busy
//! stream mostly ask for the same.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use async_graphql::{
    Request, Variables,
    parser::types::{ExecutableDocument, OperationType},
};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::OnceCell;

use super::{
    Api,
    execution::{self, Operation, Output},
    response,
};
use crate::{
    domain::{
        account::{Locale, Role},
        actor::Actor,
        cursor::Cursor,
        ids::AccountId,
        session::Origin,
    },
    events::{Item, StreamEnd, Subscription},
    graphql::{self, Given, Handover, RequestContext},
    service::ServiceError,
};

/// So many responses are kept for those who come later.
const KEPT: usize = 128;
/// A response shows its ticket as it was when it was executed: nobody gets an older one.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The plans of this node that somebody subscribes by.
#[derive(Clone, Default)]
pub struct Plans(Arc<Mutex<HashMap<PlanKey, Weak<Plan>>>>);

/// What has to be the same for two subscribers to get the same bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PlanKey {
    query: Arc<str>,
    operation_name: Option<String>,
    reader: Reader,
}

/// Who may see the same: staff of one role; a customer shares with themself only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reader {
    Staff(Role, Locale),
    Customer(AccountId, Locale),
}

/// A document that somebody subscribes by, and its latest responses.
pub struct Plan {
    plans: Plans,
    key: PlanKey,
    document: ExecutableDocument,
    /// Those of the first subscriber: a message does not depend on them.
    variables: Variables,
    latest: Mutex<VecDeque<Latest>>,
}

struct Latest {
    cursor: Cursor,
    is_event: bool,
    since: Instant,
    payload: Arc<OnceCell<Arc<str>>>,
}

impl Plans {
    /// The plan of a request that the guard has admitted; `None` where its responses are
    /// not shared.
    pub fn of(&self, request: &mut Request, actor: &Actor) -> Option<Arc<Plan>> {
        let identity = actor.identity()?;
        let reader = if identity.role.is_staff() {
            Reader::Staff(identity.role, identity.locale)
        } else {
            Reader::Customer(identity.id, identity.locale)
        };
        let name = request.operation_name.clone();
        let key = PlanKey { query: request.query.as_str().into(), operation_name: name, reader };
        if let Some(plan) = lock(&self.0).get(&key).and_then(Weak::upgrade) {
            return Some(plan);
        }
        let variables = request.variables.clone();
        let document = request.parsed_query().ok()?;
        let mut operations = document.operations.iter();
        let wanted = key.operation_name.as_deref();
        let (_, operation) = match wanted {
            Some(wanted) => operations.find(|(name, _)| name.is_some_and(|name| name == wanted)),
            None => operations.next(),
        }?;
        if !graphql::is_shareable(document, &operation.node) {
            return None;
        }
        let plan = Arc::new(Plan {
            plans: self.clone(),
            key: key.clone(),
            document: document.clone(),
            variables,
            latest: Mutex::default(),
        });
        lock(&self.0).insert(key, Arc::downgrade(&plan));
        Some(plan)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        let mut plans = lock(&self.plans.0);
        // Another may have taken its place.
        if plans.get(&self.key).is_some_and(|plan| plan.strong_count() == 0) {
            plans.remove(&self.key);
        }
    }
}

/// Starts a subscription whose responses are shared. It is checked and made as any
/// other, and then taken out of its execution.
pub fn start(
    api: &Api,
    actor: Actor,
    origin: Origin,
    request: Request,
    plan: Arc<Plan>,
) -> Operation {
    let handover = Handover::default();
    let request = request.data(handover.clone());
    let mut checked =
        execution::execute(api, actor, origin.clone(), request, Some(OperationType::Subscription));
    let api = api.clone();
    let outputs = async move {
        let first = checked.next().await;
        let shared = handover.take().map(|subscription| {
            let shared = SharedStream { api, actor, origin, plan, subscription };
            stream::unfold(Some(shared), async |shared| Some(shared?.next().await))
        });
        match shared {
            Some(shared) => shared.boxed(),
            None => stream::iter(first).boxed(),
        }
    };
    outputs.flatten_stream().boxed()
}

/// A subscription whose responses are shared.
struct SharedStream {
    api: Api,
    actor: Actor,
    origin: Origin,
    plan: Arc<Plan>,
    subscription: Subscription,
}

impl SharedStream {
    /// The next output, and the stream if it goes on.
    async fn next(mut self) -> (Output, Option<Self>) {
        loop {
            let item = match self.subscription.next().await {
                Ok(None) => return (Output::Complete, None),
                Ok(Some(Item::Ended(end))) => return (Output::Ended(end), None),
                Ok(Some(item)) => Ok(item),
                Err(error) => Err(ServiceError::from(error)),
            };
            let cursor = item.as_ref().ok().and_then(Item::cursor);
            let payload = match (&item, cursor) {
                (Ok(shared), Some(cursor)) => {
                    let is_event = matches!(shared, Item::Event(_));
                    let cell = self.plan.cell(cursor, is_event);
                    match cell.get() {
                        Some(payload) => Ok(Arc::clone(payload)),
                        // Boxed: most subscribers never execute anything, and are kept small.
                        None => {
                            Box::pin(cell.get_or_try_init(|| self.execute(item))).await.cloned()
                        }
                    }
                }
                _ => Box::pin(self.execute(item)).await,
            };
            match payload {
                Ok(payload) => return (Output::Next { payload, cursor }, Some(self)),
                Err(Unshared::Nothing) => {}
                Err(Unshared::Errors(payload)) => {
                    return (Output::Next { payload, cursor }, Some(self));
                }
                Err(Unshared::Failed) => return (Output::Ended(StreamEnd::Failed), None),
            }
        }
    }

    async fn execute(&self, item: Result<Item, ServiceError>) -> Result<Arc<str>, Unshared> {
        let plan = &self.plan;
        let context =
            RequestContext::new(self.actor, self.origin.clone(), &self.api.desk, &self.api.log);
        let mut request = Request::new(plan.key.query.to_string());
        request.operation_name.clone_from(&plan.key.operation_name);
        request.variables = plan.variables.clone();
        request.set_parsed_query(plan.document.clone());
        let request = request.data(context).data(Given::new(item));
        match execution::execute_one(&self.api, request).await {
            None => Err(Unshared::Nothing),
            // Skipped if the stream went on: its caller resumes, and gets it then.
            Some(response) if response::is_internal(&response) => Err(Unshared::Failed),
            Some(response) if response.errors.is_empty() => Ok(execution::encode(&response)),
            Some(response) => Err(Unshared::Errors(execution::encode(&response))),
        }
    }
}

/// What others don't get.
enum Unshared {
    /// An item that is no message.
    Nothing,
    /// A response with errors.
    Errors(Arc<str>),
    /// The server failed.
    Failed,
}

impl Plan {
    /// Where the response to a message is, or will be.
    fn cell(&self, cursor: Cursor, is_event: bool) -> Arc<OnceCell<Arc<str>>> {
        let mut latest = lock(&self.latest);
        let fits = |kept: &&Latest| kept.cursor == cursor && kept.is_event == is_event;
        if let Some(kept) = latest.iter().rev().find(fits)
            && kept.since.elapsed() < FRESH_FOR
        {
            return Arc::clone(&kept.payload);
        }
        if latest.len() == KEPT {
            latest.pop_front();
        }
        let payload = Arc::default();
        latest.push_back(Latest {
            cursor,
            is_event,
            since: Instant::now(),
            payload: Arc::clone(&payload),
        });
        payload
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
