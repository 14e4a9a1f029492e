//! The execution of an operation for one caller.

use std::{
    panic,
    pin::pin,
    sync::{Arc, OnceLock},
};

use async_graphql::{
    Request, Response as GraphqlResponse, ServerResult, Value, parser::types::OperationType,
};
// Its channel takes memory for what it holds; that of tokio takes 32 times as much.
use futures_channel::mpsc;
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use tokio::time;
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
    let (sender, receiver) = mpsc::channel(0);
    let sender = OutputSender(sender);
    let api = api.clone();
    // Boxed, since a stream that waits would have it twice: here, and in the task.
    let task = run_to_completion(Box::pin(async move {
        if live {
            // Made in its turn: the streams of a caller that wait for theirs take little memory.
            let turn = api.budgets.message_turn(&actor, &origin).await;
            Box::pin(send_messages(api, actor, origin, request, turn, sender)).await;
        } else {
            Box::pin(send_response(api, actor, origin, request, operation, sender)).await;
        }
    }));
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
    Box::pin(stream::select(panicked, receiver))
}

/// Sends outputs to the reader of an operation.
struct OutputSender(mpsc::Sender<Output>);

impl OutputSender {
    /// Sends an output when the one before has been read. Returns whether there still is a reader.
    async fn send(&mut self, output: Output) -> bool {
        let ready = future::poll_fn(|cx| self.0.poll_ready(cx)).await;
        ready.and_then(|()| self.0.start_send(output)).is_ok()
    }
}

/// Executes a subscription, whose document is validated in this turn, and sends its outputs.
async fn send_messages(
    api: Api,
    actor: Actor,
    origin: ClientOrigin,
    request: Request,
    turn: Turn,
    mut sender: OutputSender,
) {
    let limits = api.limits.of_message();
    let (budget, limit) = (RequestBudget::new(limits), limits.response_bytes);
    let turns = MessageTurns::new(&api, actor, &origin, turn);
    let progress = StreamProgress::with_turns(Arc::<MessageTurns>::clone(&turns));
    let context = RequestContext::new(actor, origin, &api.services, &api.log, budget.clone());
    let request = request.data(context).data(progress.clone());
    let responses = stream::once(subscribe(api.clone(), request, Arc::clone(&turns))).flatten();
    let outputs = outputs(responses, progress.clone(), budget.clone(), limit);
    let mut outputs = pin!(with_end(outputs, progress));
    // Dropped before the outputs: a look-up of theirs may be under way.
    let _abandon = budget.abandon_on_drop();
    while let Some(output) = outputs.next().await {
        if let (Some(turn), Output::Next { payload, .. }) = (turns.take(), &output) {
            api.budgets.hold_message(turn, &actor, payload.len());
        }
        if !sender.send(output).await {
            break;
        }
    }
}

/// Executes a query or a mutation in its caller's turn, and sends its outputs.
async fn send_response(
    api: Api,
    actor: Actor,
    origin: ClientOrigin,
    request: Request,
    operation: Option<OperationType>,
    mut sender: OutputSender,
) {
    let is_mutation = operation == Some(OperationType::Mutation);
    let network = origin.network();
    // Held until the reader has taken the response, which is in memory until then.
    let turn = Arc::<OnceLock<Turn>>::default();
    let executing =
        execute_in_turn(api.clone(), actor, origin, request, operation, Arc::clone(&turn));
    let mut response = executing.await;
    complete_errors(&mut response);
    if response::is_request_error(&response) {
        sender.send(Output::Error(response.errors)).await;
        return;
    }
    let mut payload = Arc::<str>::from(response::encode(&mut response, api.limits.response_bytes));
    if response::is_too_large(&response) {
        request::record_error(code::RESPONSE_TOO_LARGE);
    }
    drop(response);
    // What it has cost, whatever is sent.
    let bytes = payload.len();
    let unsent = api.budgets.unsent(&actor, network, bytes, is_mutation);
    let memory = match delay_refusal(unsent).await {
        Ok(taken) => taken,
        Err(reached) => {
            payload = refused_response(reached);
            None
        }
    };
    api.budgets.hold_response(Arc::clone(&turn), &actor, bytes);
    // Strangers of one network don't wait for each other's sockets.
    let _turn = (actor != Actor::Anonymous).then_some(turn);
    for output in [Output::Next { payload, cursor: None, memory }, Output::Complete] {
        if !sender.send(output).await {
            break;
        }
    }
}

/// Returns the response that is sent instead of one for which there is no memory.
fn refused_response(reached: LimitReached) -> Arc<str> {
    request::record_error(code::RATE_LIMITED);
    let mut response = GraphqlResponse::from_errors(vec![reached.into()]);
    response::encode(&mut response, usize::MAX).into()
}

/// The turns of a stream. Its document is validated and its first field starts in one. Each further
/// field starts in another, and so is each message of a field executed.
struct MessageTurns {
    api: Api,
    actor: Actor,
    origin: ClientOrigin,
    /// The first turn, while nobody works in it and no field has started.
    first: Mutex<Option<Turn>>,
    /// The turns of messages that are executed.
    taken: Mutex<Vec<Turn>>,
}

impl MessageTurns {
    fn new(api: &Api, actor: Actor, origin: &ClientOrigin, first: Turn) -> Arc<Self> {
        let (api, origin, first) = (api.clone(), origin.clone(), Mutex::new(Some(first)));
        Arc::new(Self { api, actor, origin, first, taken: Mutex::default() })
    }

    /// Takes out the first turn, or waits for another one.
    async fn next(&self) -> Turn {
        let first = self.first.lock().take();
        match first {
            Some(turn) => turn,
            None => self.api.budgets.message_turn(&self.actor, &self.origin).await,
        }
    }

    /// Takes out the turn of a message that was executed.
    fn take(&self) -> Option<Turn> {
        self.taken.lock().pop()
    }
}

impl StreamTurns for MessageTurns {
    fn start<'a>(&'a self, starting: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        async move { self.next().await.run(starting).await }.boxed()
    }

    fn message(&self) -> BoxFuture<'_, ()> {
        async move {
            let turn = self.next().await;
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
    let turn = turns.next().await;
    match turn.run(prepare(&api, &mut request)).await {
        Ok(_) => {
            *turns.first.lock() = Some(turn);
            api.schemas.executing.execute_stream(request).boxed()
        }
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

/// Returns the outputs for the responses of a subscription.
fn outputs(
    responses: impl Stream<Item = GraphqlResponse> + Send + 'static,
    progress: StreamProgress,
    budget: RequestBudget,
    limit: usize,
) -> impl Stream<Item = Output> + Send + 'static {
    let mut first = true;
    responses.map(move |mut response| {
        let is_first = std::mem::take(&mut first);
        let exceeded = budget.check().err();
        if let Some(exceeded) = exceeded {
            response = exceeded_response(exceeded);
        }
        // Each message has a budget.
        budget.renew();
        // A subscription that could not start is a request error too. One with a position has
        // started: its message failed, and the stream continues.
        let failed = exceeded.is_none()
            && progress.position().is_none()
            && response.data == Value::Null
            && !response.errors.is_empty();
        let not_executed = is_first && (failed || response::is_request_error(&response));
        complete_errors(&mut response);
        response::fill_empty_message(&mut response);
        // If the stream continued after an internal error, the client would miss a message.
        // Ended here, it resumes and reads the message again.
        // No other error drops a message: its cursor would pass over an event that was not sent.
        if let Some(code) = response::failure(&response) {
            request::record_error(code);
            Output::Interrupted(StreamEnd::Failed)
        } else if not_executed {
            Output::Error(response.errors)
        } else {
            let payload = response::encode(&mut response, limit).into();
            Output::Next { payload, cursor: progress.position(), memory: None }
        }
    })
}

/// Completes the errors of a response with the id of the operation that is executed.
fn complete_errors(response: &mut GraphqlResponse) {
    let id = RequestRecord::current().and_then(|record| record.id()).map(RequestId);
    response::complete_errors(&mut response.errors, id);
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
