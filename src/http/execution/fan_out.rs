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
    graphql::{self, InjectedItem, RequestContext, SubscriptionSlot},
    service::ServiceError,
};

/// So many responses are recent for those who come later.
const MAX_RECENT: usize = 128;
/// So many messages of a replay are executed at a time, for one subscriber.
const AHEAD: usize = 8;
/// A response shows its ticket as it was when it was executed: nobody gets an older one.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The groups of this node that somebody subscribes by.
#[derive(Clone, Default)]
pub struct FanOutGroups(Arc<Mutex<HashMap<GroupKey, Weak<FanOutGroup>>>>);

/// What has to be the same for two subscribers to get the same bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
struct GroupKey {
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

/// A document that somebody subscribes by, and its recent responses.
pub struct FanOutGroup {
    groups: FanOutGroups,
    key: GroupKey,
    request: Arc<SharedRequest>,
    recent: Mutex<VecDeque<Recent>>,
}

/// What is executed for each message.
struct SharedRequest {
    query: Arc<str>,
    operation_name: Option<String>,
    document: ExecutableDocument,
    /// Those of the first subscriber: a message does not depend on them.
    variables: Variables,
}

struct Recent {
    cursor: Cursor,
    is_event: bool,
    since: Instant,
    response: SharedResponse,
}

/// A response that is there or being made. Whoever waits for it drives it: a subscriber
/// that is not polled, because its client takes nothing, holds up nobody else.
type SharedResponse = Shared<BoxFuture<'static, Result<Arc<str>, NotShared>>>;

impl FanOutGroups {
    /// The group of a request that the guard has admitted; `None` where its responses are
    /// not shared.
    pub fn of(&self, request: &mut Request, actor: &Actor) -> Option<Arc<FanOutGroup>> {
        let identity = actor.identity()?;
        let reader = if identity.role.is_staff() {
            Reader::Staff(identity.role, identity.locale)
        } else {
            Reader::Customer(identity.id, identity.locale)
        };
        let name = request.operation_name.clone();
        let key = GroupKey { query: request.query.as_str().into(), operation_name: name, reader };
        if let Some(group) = lock(&self.0).get(&key).and_then(Weak::upgrade) {
            return Some(group);
        }
        let variables = request.variables.clone();
        let document = request.parsed_query().ok()?;
        let mut operations = document.operations.iter();
        let requested = key.operation_name.as_deref();
        let (_, operation) = match requested {
            Some(requested) => {
                operations.find(|(name, _)| name.is_some_and(|name| name == requested))
            }
            None => operations.next(),
        }?;
        if !graphql::can_fan_out(document, &operation.node) {
            return None;
        }
        let request = SharedRequest {
            query: Arc::clone(&key.query),
            operation_name: key.operation_name.clone(),
            document: document.clone(),
            variables,
        };
        let group = Arc::new(FanOutGroup {
            groups: self.clone(),
            key: key.clone(),
            request: Arc::new(request),
            recent: Mutex::default(),
        });
        lock(&self.0).insert(key, Arc::downgrade(&group));
        Some(group)
    }
}

impl Drop for FanOutGroup {
    fn drop(&mut self) {
        let mut groups = lock(&self.groups.0);
        // Another may have taken its place.
        if groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            groups.remove(&self.key);
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
    group: Arc<FanOutGroup>,
) -> Operation {
    let slot = SubscriptionSlot::default();
    let request = request.data(slot.clone());
    let mut checked =
        direct::execute(&api, actor, origin.clone(), request, Some(OperationType::Subscription));
    let first = checked.next().await;
    let Some(subscription) = slot.take() else { return stream::iter(first).boxed() };
    let reader = Arc::new(FanOutReader { api, actor, origin, group });
    let shared = FanOutStream { subscription: Box::new(subscription), reader, ahead: None };
    stream::unfold(Some(shared), async |shared| Some(shared?.next().await)).boxed()
}

/// A subscription whose responses are shared.
struct FanOutStream {
    subscription: Box<Subscription>,
    reader: Arc<FanOutReader>,
    /// What is being executed, in order: several at a time while the subscription replays,
    /// and none while it is live.
    ahead: Option<Box<FuturesOrdered<BoxFuture<'static, Executed>>>>,
}

/// On whose behalf, and by which group, messages are executed.
struct FanOutReader {
    api: Api,
    actor: Actor,
    origin: Origin,
    group: Arc<FanOutGroup>,
}

/// What came of an item; `None` where it is no message.
type Executed = Option<Output>;

impl FanOutStream {
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
                None => self.next_live().await,
            };
            match executed {
                None => {}
                Some(next @ Output::Next { .. }) => return (next, Some(self)),
                Some(end) => return (end, None),
            }
        }
    }

    /// Waits for the next item. Where others follow at once, all are executed ahead.
    async fn next_live(&mut self) -> Executed {
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

impl FanOutReader {
    async fn respond(self: Arc<Self>, item: Result<Item, ServiceError>) -> Executed {
        if let Ok(Item::Ended(end)) = item {
            return Some(Output::Ended(end));
        }
        let cursor = item.as_ref().ok().and_then(Item::cursor);
        let payload = match (&item, cursor) {
            (Ok(shared), Some(cursor)) => {
                let is_event = matches!(shared, Item::Event(_));
                let response = self.group.response(cursor, is_event, || self.execute(item).boxed());
                let payload = response.clone().await;
                if payload.is_err() {
                    self.group.forget(&response);
                }
                payload
            }
            // Boxed: most subscribers never execute anything, and are recent small.
            _ => self.execute(item).boxed().await,
        };
        match payload {
            Ok(payload) | Err(NotShared::Errors(payload)) => Some(Output::Next { payload, cursor }),
            Err(NotShared::Nothing) => None,
            Err(NotShared::Failed) => Some(Output::Ended(StreamEnd::Failed)),
        }
    }

    /// Executes an item. What this gives refers to no group, which may keep it.
    fn execute(
        &self,
        item: Result<Item, ServiceError>,
    ) -> impl Future<Output = Result<Arc<str>, NotShared>> + Send + 'static {
        let shared = Arc::clone(&self.group.request);
        let (api, actor, origin) = (self.api.clone(), self.actor, self.origin.clone());
        async move {
            let context = RequestContext::new(actor, origin, &api.services, &api.log);
            let mut request = Request::new(shared.query.to_string());
            request.operation_name.clone_from(&shared.operation_name);
            request.variables = shared.variables.clone();
            request.set_parsed_query(shared.document.clone());
            let request = request.data(context).data(InjectedItem::new(item));
            let executing = async move { direct::execute_message(&api, request).await };
            let Some(executed) = detached(executing).await else {
                return Err(NotShared::Failed);
            };
            match executed {
                None => Err(NotShared::Nothing),
                // Skipped if the stream went on: its caller resumes, and gets it then.
                Some(response) if response::is_internal(&response) => Err(NotShared::Failed),
                Some(response) if response::is_out_of_sight(&response) => Err(NotShared::Nothing),
                Some(response) if response.errors.is_empty() => Ok(direct::encode(&response)),
                Some(response) => Err(NotShared::Errors(direct::encode(&response))),
            }
        }
    }
}

/// What those who come later don't get.
#[derive(Clone)]
enum NotShared {
    /// An item that is no message, or none for its reader any more.
    Nothing,
    /// A response with errors.
    Errors(Arc<str>),
    /// The server failed.
    Failed,
}

impl FanOutGroup {
    /// The response to a message: a fresh one that there is, or what `make` gives.
    fn response(
        &self,
        cursor: Cursor,
        is_event: bool,
        make: impl FnOnce() -> BoxFuture<'static, Result<Arc<str>, NotShared>>,
    ) -> SharedResponse {
        let mut recent = lock(&self.recent);
        let fits = |recent: &&Recent| recent.cursor == cursor && recent.is_event == is_event;
        if let Some(recent) = recent.iter().rev().find(fits)
            && recent.since.elapsed() < MAX_AGE
        {
            return recent.response.clone();
        }
        if recent.len() == MAX_RECENT {
            recent.pop_front();
        }
        let response = make().shared();
        recent.push_back(Recent {
            cursor,
            is_event,
            since: Instant::now(),
            response: response.clone(),
        });
        response
    }

    /// Whoever comes later does not get this response.
    fn forget(&self, response: &SharedResponse) {
        lock(&self.recent).retain(|recent| !recent.response.ptr_eq(response));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
