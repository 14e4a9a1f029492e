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
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Shared},
    stream::{self, FuturesOrdered},
};

use super::{
    super::{Api, response},
    direct::{self, Operation, Output},
};
use crate::{
    domain::{
        account::{Locale, Role},
        actor::Actor,
        cursor::Cursor,
        ids::AccountId,
        session::Origin,
    },
    events::{Item, StreamEnd, Subscription, detached},
    graphql::{self, Given, Handover, RequestContext},
    service::ServiceError,
};

/// So many responses are kept for those who come later.
const KEPT: usize = 128;
/// So many messages of a replay are executed at a time, for one subscriber.
const AHEAD: usize = 8;
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
    asked: Arc<Asked>,
    latest: Mutex<VecDeque<Latest>>,
}

/// What is executed for each message.
struct Asked {
    query: Arc<str>,
    operation_name: Option<String>,
    document: ExecutableDocument,
    /// Those of the first subscriber: a message does not depend on them.
    variables: Variables,
}

struct Latest {
    cursor: Cursor,
    is_event: bool,
    since: Instant,
    response: Response,
}

/// A response that is there or being made. Whoever waits for it drives it: a subscriber
/// that is not polled, because its client takes nothing, holds up nobody else.
type Response = Shared<BoxFuture<'static, Result<Arc<str>, Unshared>>>;

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
        let asked = Asked {
            query: Arc::clone(&key.query),
            operation_name: key.operation_name.clone(),
            document: document.clone(),
            variables,
        };
        let plan = Arc::new(Plan {
            plans: self.clone(),
            key: key.clone(),
            asked: Arc::new(asked),
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
pub async fn start(
    api: Api,
    actor: Actor,
    origin: Origin,
    request: Request,
    plan: Arc<Plan>,
) -> Operation {
    let handover = Handover::default();
    let request = request.data(handover.clone());
    let mut checked =
        direct::execute(&api, actor, origin.clone(), request, Some(OperationType::Subscription));
    let first = checked.next().await;
    let Some(subscription) = handover.take() else { return stream::iter(first).boxed() };
    let reader = Arc::new(SharedReader { api, actor, origin, plan });
    let shared = SharedStream { subscription: Box::new(subscription), reader, ahead: None };
    stream::unfold(Some(shared), async |shared| Some(shared?.next().await)).boxed()
}

/// A subscription whose responses are shared.
struct SharedStream {
    subscription: Box<Subscription>,
    reader: Arc<SharedReader>,
    /// What is being executed, in order: several at a time while the subscription replays,
    /// and none while it is live.
    ahead: Option<Box<FuturesOrdered<BoxFuture<'static, Executed>>>>,
}

/// On whose behalf, and by which plan, messages are executed.
struct SharedReader {
    api: Api,
    actor: Actor,
    origin: Origin,
    plan: Arc<Plan>,
}

/// What came of an item; `None` where it is no message.
type Executed = Option<Output>;

impl SharedStream {
    /// The next output, and the stream if it goes on.
    async fn next(mut self) -> (Output, Option<Self>) {
        loop {
            let executed = match &mut self.ahead {
                Some(ahead) => {
                    while ahead.len() < AHEAD
                        && let Some(item) = self.subscription.next_replayed()
                    {
                        ahead.push_back(Arc::clone(&self.reader).respond(Ok(item)).boxed());
                    }
                    let executed = ahead.next().await;
                    if ahead.is_empty() {
                        self.ahead = None;
                    }
                    executed.flatten()
                }
                None => self.read_on().await,
            };
            match executed {
                None => {}
                Some(next @ Output::Next { .. }) => return (next, Some(self)),
                Some(end) => return (end, None),
            }
        }
    }

    /// Waits for the next item. Where others follow at once, all are executed ahead.
    async fn read_on(&mut self) -> Executed {
        let item = match self.subscription.next().await {
            Ok(None) => return Some(Output::Complete),
            Ok(Some(item)) => Ok(item),
            Err(error) => Err(ServiceError::from(error)),
        };
        let Some(following) = self.subscription.next_replayed() else {
            return Arc::clone(&self.reader).respond(item).await;
        };
        let both = [item, Ok(following)];
        let ahead = both.map(|item| Arc::clone(&self.reader).respond(item).boxed());
        self.ahead = Some(Box::new(ahead.into_iter().collect()));
        None
    }
}

impl SharedReader {
    async fn respond(self: Arc<Self>, item: Result<Item, ServiceError>) -> Executed {
        if let Ok(Item::Ended(end)) = item {
            return Some(Output::Ended(end));
        }
        let cursor = item.as_ref().ok().and_then(Item::cursor);
        let payload = match (&item, cursor) {
            (Ok(shared), Some(cursor)) => {
                let is_event = matches!(shared, Item::Event(_));
                let response = self.plan.response(cursor, is_event, || self.execute(item).boxed());
                let payload = response.clone().await;
                if payload.is_err() {
                    self.plan.forget(&response);
                }
                payload
            }
            // Boxed: most subscribers never execute anything, and are kept small.
            _ => self.execute(item).boxed().await,
        };
        match payload {
            Ok(payload) | Err(Unshared::Errors(payload)) => Some(Output::Next { payload, cursor }),
            Err(Unshared::Nothing) => None,
            Err(Unshared::Failed) => Some(Output::Ended(StreamEnd::Failed)),
        }
    }

    /// Executes an item. What this gives refers to no plan, which may keep it.
    fn execute(
        &self,
        item: Result<Item, ServiceError>,
    ) -> impl Future<Output = Result<Arc<str>, Unshared>> + Send + 'static {
        let asked = Arc::clone(&self.plan.asked);
        let (api, actor, origin) = (self.api.clone(), self.actor, self.origin.clone());
        async move {
            let context = RequestContext::new(actor, origin, &api.desk, &api.log);
            let mut request = Request::new(asked.query.to_string());
            request.operation_name.clone_from(&asked.operation_name);
            request.variables = asked.variables.clone();
            request.set_parsed_query(asked.document.clone());
            let request = request.data(context).data(Given::new(item));
            let executing = async move { direct::execute_message(&api, request).await };
            let Some(executed) = detached(executing).await else {
                return Err(Unshared::Failed);
            };
            match executed {
                None => Err(Unshared::Nothing),
                // Skipped if the stream went on: its caller resumes, and gets it then.
                Some(response) if response::is_internal(&response) => Err(Unshared::Failed),
                Some(response) if response::is_out_of_sight(&response) => Err(Unshared::Nothing),
                Some(response) if response.errors.is_empty() => Ok(direct::encode(&response)),
                Some(response) => Err(Unshared::Errors(direct::encode(&response))),
            }
        }
    }
}

/// What those who come later don't get.
#[derive(Clone)]
enum Unshared {
    /// An item that is no message, or none for its reader any more.
    Nothing,
    /// A response with errors.
    Errors(Arc<str>),
    /// The server failed.
    Failed,
}

impl Plan {
    /// The response to a message: a fresh one that there is, or what `make` gives.
    fn response(
        &self,
        cursor: Cursor,
        is_event: bool,
        make: impl FnOnce() -> BoxFuture<'static, Result<Arc<str>, Unshared>>,
    ) -> Response {
        let mut latest = lock(&self.latest);
        let fits = |kept: &&Latest| kept.cursor == cursor && kept.is_event == is_event;
        if let Some(kept) = latest.iter().rev().find(fits)
            && kept.since.elapsed() < FRESH_FOR
        {
            return kept.response.clone();
        }
        if latest.len() == KEPT {
            latest.pop_front();
        }
        let response = make().shared();
        latest.push_back(Latest {
            cursor,
            is_event,
            since: Instant::now(),
            response: response.clone(),
        });
        response
    }

    /// Whoever comes later does not get this response.
    fn forget(&self, response: &Response) {
        lock(&self.latest).retain(|kept| !kept.response.ptr_eq(response));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
