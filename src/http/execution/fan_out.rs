//! A subscription whose messages are executed once for a group of subscribers.

use std::sync::Arc;

use async_graphql::{Request, parser::types::OperationType};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{self, BoxFuture},
    stream::{self, FuturesOrdered},
};

use super::{
    super::{api::Api, response, turns::Turn},
    direct,
    group::FanOutGroup,
    output::{Operation, Output},
    response_cache::{Execution, SharedResponse, Unshareable, WantedTurn},
};
use crate::{
    domain::{actor::Actor, budget::RequestBudget, request, session::ClientOrigin},
    events::{Item, StreamEnd, Subscription, run_to_completion},
    graphql::{InjectedItem, RequestContext, SubscriptionSlot, code},
    service::ServiceError,
};

/// How many messages of a replay are executed at a time, for one subscriber, while they are small.
const MAX_AHEAD: usize = 8;
/// How many are after a message of more bytes than this: those that are executed wait in memory until
/// the client has read the ones before.
const SMALL_MESSAGE: usize = 16_384;
const MIN_AHEAD: usize = 2;
const PANICKED: Unshareable = Unshareable::Failed(code::INTERNAL);

/// Starts a subscription, and joins it to a group. It is validated and authorised by a normal
/// execution, which then leaves the subscription in a slot instead of reading it.
pub async fn start(
    api: Api,
    actor: Actor,
    origin: ClientOrigin,
    request: Request,
    group: Arc<FanOutGroup>,
) -> Operation {
    let slot = SubscriptionSlot::default();
    let request = request.data(slot.clone());
    let mut execution =
        direct::execute(&api, actor, origin.clone(), request, Some(OperationType::Subscription));
    let first = execution.next().await;
    // If the slot is empty, the first output says why the subscription did not start.
    let Some(subscription) = slot.take() else { return stream::iter(first).boxed() };
    let group = api.fan_out.join(group);
    let executor = Arc::new(MessageExecutor { api, actor, origin, group });
    let subscription = Box::new(subscription);
    let stream = FanOutStream { subscription, executor, ahead: None, max_ahead: MIN_AHEAD };
    stream::unfold(Some(stream), async |stream| Some(stream?.next().await)).boxed()
}

/// The outputs of one subscriber.
struct FanOutStream {
    subscription: Box<Subscription>,
    executor: Arc<MessageExecutor>,
    /// The executions under way, in the order of their messages. Several during a replay;
    /// `None` while the stream is live.
    ahead: Option<Box<FuturesOrdered<BoxFuture<'static, Option<Output>>>>>,
    /// How many there may be, which follows the sizes of the messages.
    max_ahead: usize,
}

impl FanOutStream {
    /// Returns the next output, and the stream unless that output ends it.
    async fn next(mut self) -> (Output, Option<Self>) {
        loop {
            let output = match &mut self.ahead {
                Some(ahead) => {
                    while ahead.len() < self.max_ahead
                        && let Some(item) = self.subscription.next_replayed()
                    {
                        ahead.push_back(Arc::clone(&self.executor).output(Ok(item)).boxed());
                    }
                    let output = ahead.next().await;
                    if ahead.is_empty() {
                        self.ahead = None;
                    }
                    output.flatten()
                }
                None => self.next_live().await,
            };
            match output {
                None => {}
                Some(next) => {
                    let Output::Next { payload, .. } = &next else { return (next, None) };
                    let is_small = payload.len() <= SMALL_MESSAGE;
                    let doubled = (self.max_ahead * 2).min(MAX_AHEAD);
                    self.max_ahead = if is_small { doubled } else { MIN_AHEAD };
                    return (next, Some(self));
                }
            }
        }
    }

    /// Waits for the next item. If more are replayed right after it, begins to execute ahead
    /// and returns `None`.
    async fn next_live(&mut self) -> Option<Output> {
        let item = match self.subscription.next().await {
            Ok(None) => return Some(Output::Complete),
            Ok(Some(item)) => Ok(item),
            Err(error) => Err(ServiceError::from(error)),
        };
        let Some(following) = self.subscription.next_replayed() else {
            return Arc::clone(&self.executor).output(item).await;
        };
        let both = [item, Ok(following)];
        let ahead = both.map(|item| Arc::clone(&self.executor).output(item).boxed());
        self.ahead = Some(Box::new(ahead.into_iter().collect()));
        None
    }
}

/// Executes messages on behalf of one subscriber, if no other of the group has done so.
struct MessageExecutor {
    api: Api,
    actor: Actor,
    origin: ClientOrigin,
    group: Arc<FanOutGroup>,
}

impl MessageExecutor {
    /// Returns the output for an item, or `None` if the item yields no message.
    async fn output(self: Arc<Self>, item: Result<Item, ServiceError>) -> Option<Output> {
        if let Ok(Item::Ended(end)) = item {
            return Some(Output::Interrupted(end));
        }
        let cursor = item.as_ref().ok().and_then(Item::cursor);
        // Boxed, all but the usual: most subscribers never execute anything, and stay small.
        let payload = if let (Ok(shareable), Some(cursor)) = (&item, cursor) {
            let kind = std::mem::discriminant(shareable);
            let response = self.group.response(cursor, kind, || self.execute_shared(item));
            let payload = match response.wanted() {
                None => response.execution.clone().await,
                Some(wanted) => self.give_turn(Arc::clone(wanted), response.clone()).boxed().await,
            };
            if payload.is_err() {
                self.group.remove(cursor, kind, &response);
            }
            payload
        } else {
            let (api, actor, origin) = (self.api.clone(), self.actor, self.origin.clone());
            let turn = async move { Some(api.budgets.message_turn(&actor, &origin).await) };
            self.execute(item, turn).boxed().await
        };
        match payload {
            Ok(payload) | Err(Unshareable::Errors(payload)) => {
                Some(Output::Next { payload, cursor, memory: None })
            }
            Err(Unshareable::NoMessage) => None,
            Err(Unshareable::Failed(code)) => {
                request::record_error(code);
                Some(Output::Interrupted(StreamEnd::Failed))
            }
        }
    }

    /// Executes an item for all subscribers of the group: in the turn of this one, or if that is not
    /// free in the first turn that one of them gives.
    fn execute_shared(&self, item: Result<Item, ServiceError>) -> (Execution, Option<WantedTurn>) {
        if let Some(turn) = self.api.budgets.try_message_turn(&self.actor, &self.origin) {
            return (self.execute(item, future::ready(Some(turn))).boxed(), None);
        }
        let (wanted, given) = WantedTurn::new();
        (self.execute(item, given.map(Result::ok)).boxed(), Some(wanted))
    }

    /// Waits for a response, and gives its execution this subscriber's turn if that comes first.
    async fn give_turn(
        &self,
        wanted: Arc<WantedTurn>,
        response: SharedResponse,
    ) -> Result<Arc<str>, Unshareable> {
        let (api, actor, origin) = (self.api.clone(), self.actor, self.origin.clone());
        // In a task, so that a client that stops reading keeps no turn from other streams.
        let giving = run_to_completion(async move {
            wanted.give(api.budgets.message_turn(&actor, &origin).await);
        });
        let given = async {
            giving.await;
            response.execution.clone().await
        };
        tokio::select! {
            payload = response.execution.clone() => payload,
            payload = given => payload,
        }
    }

    /// Executes an item in a turn. The future must not refer to the group: the group caches it.
    fn execute(
        &self,
        item: Result<Item, ServiceError>,
        turn: impl Future<Output = Option<Turn>> + Send + 'static,
    ) -> impl Future<Output = Result<Arc<str>, Unshareable>> + Send + 'static {
        let shared = Arc::clone(self.group.request());
        let (api, actor, origin) = (self.api.clone(), self.actor, self.origin.clone());
        // In a task, so that a client that stops reading keeps no turn from other streams.
        let executing = async move {
            let turn = turn.await.ok_or(Unshareable::NoMessage)?;
            let limits = api.limits.of_message();
            let budget = RequestBudget::new(limits);
            let (services, log) = (&api.services, &api.log);
            let context = RequestContext::new(actor, origin, services, log, budget.clone());
            let request = shared.to_request().data(context).data(InjectedItem::new(item));
            let executed = turn.run(direct::execute_message(&api, request, &budget)).await;
            let Some(mut response) = executed else { return Err(Unshareable::NoMessage) };
            // If the stream continued, the client would miss the message. Ended here, it resumes and
            // reads the message again.
            if let Some(code) = response::failure(&response) {
                return Err(Unshareable::Failed(code));
            }
            let payload = response::encode(&mut response, limits.response_bytes);
            let payload = Arc::<str>::from(payload);
            api.budgets.hold_message(turn, &actor, payload.len());
            if response.errors.is_empty() { Ok(payload) } else { Err(Unshareable::Errors(payload)) }
        };
        async move { run_to_completion(executing).await.unwrap_or(Err(PANICKED)) }
    }
}
