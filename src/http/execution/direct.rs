//! The execution of an operation for one caller.

use std::{
    panic,
    pin::pin,
    sync::{Arc, OnceLock},
};

use async_graphql::{
    Request, Response as GraphqlResponse, ServerResult, Value, parser::types::OperationType,
};
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

use super::{
    super::{
        api::Api,
        budgets::{LimitReached, REFUSAL_DELAY, delay_refusal},
        observe::RequestId,
        response,
        turns::Turn,
    },
    introspection, operation,
    output::{Operation, Output},
    requested,
};
use crate::{
    domain::{
        actor::Actor,
        budget::RequestBudget,
        request::{self, RequestRecord},
        session::ClientOrigin,
    },
    events::{StreamEnd, run_to_completion},
    graphql::{
        MutationProgress, RequestContext, RootFields, StreamProgress, StreamTurns, check_nulls,
        check_variables, code, complete_root, exceeded_response, panicked_error,
        requested_operation, with_document,
    },
};

/// Executes a query or a mutation, whose document the [guard](super::super::guard) has validated,
/// within the budget of a request. A query ends when the future is dropped, since its client is
/// gone. A mutation that has begun completes.
pub async fn execute_once(
    api: &Api,
    actor: Actor,
    origin: ClientOrigin,
    mut request: Request,
    operation: Option<OperationType>,
) -> GraphqlResponse {
    let record = request::continued();
    let trace = operation::record(&record, &mut request, operation);
    let introspects = match prepare(api, &mut request).await {
        Ok(introspects) => introspects,
        Err(refused) => {
            operation::record_errors(Some(&record), &refused);
            return refused;
        }
    };
    if operation == Some(OperationType::Mutation) {
        request = request.data(MutationProgress::default());
    }
    let budget = RequestBudget::new(api.limits);
    let context = RequestContext::new(actor, origin, &api.services, &api.log, budget.clone());
    let schema = api.schemas.executing.clone();
    let root = RootFields::of(&mut request);
    // Boxed: the future is large, and every layer above would copy it.
    let executed = async move {
        let executing = schema.execute(request.data(context));
        let mut response = budget.run(executing).await.unwrap_or_else(exceeded_response);
        complete_root(&mut response, &root);
        if introspects {
            introspection::complete(&mut response.data);
        }
        operation::record_errors(RequestRecord::current().as_deref(), &response);
        if response::is_rate_limited(&response) {
            // Its turn lasts longer: repeating it takes little time from others.
            time::sleep(REFUSAL_DELAY).await;
        }
        response
    };
    let span = record.span();
    let executed = record.scope(executed.instrument(trace)).boxed();
    if operation != Some(OperationType::Mutation) {
        return executed.await;
    }
    // A stopping server waits for it, even if its client is gone.
    let completed = api.mutations.spawn(executed.in_current_span().instrument(span));
    match completed.await {
        Ok(response) => response,
        Err(error) => panic::resume_unwind(error.into_panic()),
    }
}

/// Validates a request, and makes its document the one that is [executed](requested). Returns whether it
/// asks for the schema.
///
/// # Errors
/// The response to a document or to variables that are not valid.
async fn prepare(api: &Api, request: &mut Request) -> Result<bool, GraphqlResponse> {
    let refused = |error| GraphqlResponse::from_errors(vec![error]);
    validate(api, request).await?;
    check_values(api, request).map_err(refused)?;
    requested::reduce(request);
    introspection::prepare(api.schemas.shape, request).map_err(refused)
}

/// Checks the values of the variables of a request whose document is valid.
fn check_values(api: &Api, request: &mut Request) -> ServerResult<()> {
    let types = &api.schemas.types;
    with_document(request, |document, name, variables| {
        let Some(operation) = requested_operation(document, name) else { return Ok(()) };
        check_variables(types, operation, variables)?;
        check_nulls(types, document, operation, variables)
    })?
}

/// Validates the document of a request, unless it is known to be valid. Whether it is does not depend
/// on the values of variables.
async fn validate(api: &Api, request: &mut Request) -> Result<(), GraphqlResponse> {
    let known = api.documents.get(&request.query);
    if known.as_ref().is_some_and(|document| document.is_valid()) {
        return Ok(());
    }
    let mut alone = Request::new(&request.query);
    alone.operation_name.clone_from(&request.operation_name);
    if let Ok(parsed) = request.parsed_query() {
        alone.set_parsed_query(parsed.clone());
    }
    let validated = Box::pin(api.schemas.validating.execute(alone)).await;
    if !validated.errors.is_empty() {
        return Err(validated);
    }
    if let Some(document) = known {
        document.set_valid();
    }
    Ok(())
}

/// Executes an operation of this type, whose document the [guard](super::super::guard) has
/// validated. It runs in a task of its own, one output ahead of its reader, so that a slow
/// client does not hold a database connection.
pub fn execute(
    api: &Api,
    actor: Actor,
    origin: ClientOrigin,
    request: Request,
    operation: Option<OperationType>,
) -> Operation {
    let live = operation == Some(OperationType::Subscription);
    let is_mutation = operation == Some(OperationType::Mutation);
    let limits = if live { api.limits.of_message() } else { api.limits };
    let (budget, limit) = (RequestBudget::new(limits), limits.response_bytes);
    let turn = Arc::<OnceLock<Turn>>::default();
    let message_turns = MessageTurns::new(api, actor, &origin);
    let progress = StreamProgress::with_turns(Arc::<MessageTurns>::clone(&message_turns));
    let (held, network) = (api.clone(), origin.network());
    let responses = if live {
        let context = RequestContext::new(actor, origin, &api.services, &api.log, budget.clone());
        let request = request.data(context).data(progress.clone());
        let subscribing = subscribe(api.clone(), request, Arc::clone(&message_turns));
        stream::once(subscribing).flatten().boxed()
    } else {
        let executing =
            execute_in_turn(api.clone(), actor, origin, request, operation, Arc::clone(&turn));
        stream::once(executing).boxed()
    };
    let outputs = outputs(responses, operation, progress.clone(), budget.clone(), limit);
    let outputs = with_end(outputs, progress);
    let (sender, receiver) = mpsc::channel(1);
    let task = run_to_completion(async move {
        let mut outputs = pin!(outputs);
        // Held until the reader has taken the response, which is in memory until then.
        let mut turn = Some(turn);
        // Dropped before the outputs: a look-up of theirs may be under way.
        let _abandon = budget.abandon_on_drop();
        while let Some(mut output) = outputs.next().await {
            let message_turn = message_turns.take();
            if let Output::Next { payload, memory, .. } = &mut output {
                // What it has cost, whatever is sent.
                let bytes = payload.len();
                if !live {
                    let unsent = held.budgets.unsent(&actor, network, bytes, is_mutation);
                    match delay_refusal(unsent).await {
                        Ok(taken) => *memory = taken,
                        Err(reached) => *payload = refused_response(reached),
                    }
                }
                match message_turn {
                    Some(turn) => held.budgets.hold_message(turn, &actor, bytes),
                    None if live => {}
                    None => held.budgets.hold_response(turn.clone(), &actor, bytes),
                }
            }
            // Strangers of one network don't wait for each other's sockets.
            if actor == Actor::Anonymous {
                turn = None;
            }
            if sender.send(output).await.is_err() {
                break;
            }
        }
    });
    // Polled as part of the stream: the task starts with it, and is aborted when it is dropped.
    let failed = move || {
        if live {
            Output::Interrupted(StreamEnd::Failed)
        } else {
            // Of no concern to the other operations of a socket.
            Output::Error(vec![panicked_error()])
        }
    };
    let panicked = stream::once(task)
        .filter_map(move |finished| future::ready(finished.is_none().then(failed)));
    Box::pin(stream::select(panicked, ReceiverStream::new(receiver)))
}

/// Returns the response that is sent instead of one for which there is no memory.
fn refused_response(reached: LimitReached) -> Arc<str> {
    request::record_error(code::RATE_LIMITED);
    let mut response = GraphqlResponse::from_errors(vec![reached.into()]);
    response::encode(&mut response, usize::MAX).into()
}

/// The turns in which a stream's messages are executed: one at a time for each of its fields.
struct MessageTurns {
    api: Api,
    actor: Actor,
    origin: ClientOrigin,
    taken: Mutex<Vec<Turn>>,
}

impl MessageTurns {
    fn new(api: &Api, actor: Actor, origin: &ClientOrigin) -> Arc<Self> {
        let (api, origin) = (api.clone(), origin.clone());
        Arc::new(Self { api, actor, origin, taken: Mutex::default() })
    }

    async fn wait(&self) -> Turn {
        self.api.budgets.message_turn(&self.actor, &self.origin).await
    }

    /// Takes out the turn of a message that was executed.
    fn take(&self) -> Option<Turn> {
        self.taken.lock().pop()
    }
}

impl StreamTurns for MessageTurns {
    fn start<'a>(&'a self, starting: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        async move { self.wait().await.run(starting).await }.boxed()
    }

    fn message(&self) -> BoxFuture<'_, ()> {
        async move {
            let turn = self.wait().await;
            self.taken.lock().push(turn);
        }
        .boxed()
    }
}

/// Returns the responses of a subscription.
async fn subscribe(
    api: Api,
    mut request: Request,
    turns: Arc<MessageTurns>,
) -> BoxStream<'static, GraphqlResponse> {
    // Not kept until the stream starts: its fields start at the same time, each in a turn.
    let prepared = turns.wait().await.run(prepare(&api, &mut request)).await;
    match prepared {
        Ok(_) => api.schemas.executing.execute_stream(request).boxed(),
        Err(refused) => stream::iter([refused]).boxed(),
    }
}

/// Executes a query or a mutation when it is the caller's turn, which is put into `turn`.
async fn execute_in_turn(
    api: Api,
    actor: Actor,
    origin: ClientOrigin,
    request: Request,
    operation: Option<OperationType>,
    turn: Arc<OnceLock<Turn>>,
) -> GraphqlResponse {
    // Also held by a mutation that runs on when its operation was cancelled.
    let request = request.data(Arc::clone(&turn));
    let turn = match api.budgets.turn(&actor, &origin).await {
        Ok(taken) => turn.get_or_init(|| taken),
        Err(reached) => return GraphqlResponse::from_errors(vec![reached.into()]),
    };
    turn.run(execute_once(&api, actor, origin, request, operation)).await
}

/// Ends the outputs after the first one that is not a response. If all are responses,
/// appends why they ended.
fn with_end(
    outputs: impl Stream<Item = Output> + Send + 'static,
    progress: StreamProgress,
) -> impl Stream<Item = Output> + Send + 'static {
    let end =
        stream::once(async move { progress.end().map_or(Output::Complete, Output::Interrupted) });
    outputs.chain(end).scan(false, |ended, output| {
        let is_last = !matches!(output, Output::Next { .. });
        let had_ended = std::mem::replace(ended, is_last);
        future::ready((!had_ended).then_some(output))
    })
}

fn outputs(
    responses: impl Stream<Item = GraphqlResponse> + Send + 'static,
    operation: Option<OperationType>,
    progress: StreamProgress,
    budget: RequestBudget,
    limit: usize,
) -> impl Stream<Item = Output> + Send + 'static {
    let subscription = operation == Some(OperationType::Subscription);
    let mut first = true;
    responses.map(move |mut response| {
        let is_first = std::mem::take(&mut first);
        let exceeded = budget.check().err().filter(|_| subscription);
        if let Some(exceeded) = exceeded {
            response = exceeded_response(exceeded);
        }
        // Each message has a budget.
        budget.renew();
        // A subscription that could not start is a request error too. One with a position has
        // started: its message failed, and the stream continues.
        let failed = subscription
            && exceeded.is_none()
            && progress.position().is_none()
            && response.data == Value::Null
            && !response.errors.is_empty();
        let not_executed = is_first && (failed || response::is_request_error(&response));
        let id = RequestRecord::current().and_then(|record| record.id()).map(RequestId);
        response::complete_errors(&mut response.errors, id);
        if subscription {
            response::fill_empty_message(&mut response);
        }
        // If the stream continued after an internal error, the client would miss a message.
        // Ended here, it resumes and reads the message again.
        // No other error drops a message: its cursor would pass over an event that was not sent.
        if let Some(code) = response::failure(&response).filter(|_| subscription) {
            request::record_error(code);
            Output::Interrupted(StreamEnd::Failed)
        } else if not_executed {
            Output::Error(response.errors)
        } else {
            let payload = response::encode(&mut response, limit).into();
            if !subscription && response::is_too_large(&response) {
                request::record_error(code::RESPONSE_TOO_LARGE);
            }
            Output::Next { payload, cursor: progress.position(), memory: None }
        }
    })
}

/// Executes a subscription for one message that the request carries. Returns the response, with
/// its errors completed, or `None` if the message yields none.
pub async fn execute_message(
    api: &Api,
    request: Request,
    budget: &RequestBudget,
) -> Option<GraphqlResponse> {
    // The stream's document was validated when it began.
    let mut responses = api.schemas.executing.execute_stream(request);
    let executed = budget.run(responses.next()).await;
    let mut response = executed.unwrap_or_else(|exceeded| Some(exceeded_response(exceeded)))?;
    response::complete_errors(&mut response.errors, None);
    response::fill_empty_message(&mut response);
    Some(response)
}
