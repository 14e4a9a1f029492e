//! The execution of an operation, for a transport that gives out its responses one after
//! the other.

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use async_graphql::{
    Request, Response as GraphqlResponse, ServerError, Value, parser::types::OperationType,
};
use futures_util::{Stream, StreamExt as _, future, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::{
    Api,
    response::{self, Encoded},
};
use crate::{
    domain::{actor::Actor, cursor::Cursor, session::Origin},
    events::{StreamEnd, detached},
    graphql::{RequestContext, StreamSignals},
};

/// What an operation gives.
pub enum Output {
    /// A response.
    Next {
        /// The response, encoded as JSON.
        payload: Arc<str>,
        /// From where a live stream goes on after it.
        cursor: Option<Cursor>,
    },
    /// Nothing was executed: the errors, and no more.
    Error(Vec<ServerError>),
    /// The end.
    Complete,
    /// The end of a stream that is not complete.
    Ended(StreamEnd),
}

/// A running operation.
pub type Operation = Pin<Box<dyn Stream<Item = Output> + Send>>;

/// Executes a request that the [guard](super::super::guard) has admitted as an operation of
/// this type, in a task of its own.
pub fn execute(
    api: &Api,
    actor: Actor,
    origin: Origin,
    request: Request,
    operation: Option<OperationType>,
) -> Operation {
    let signals = StreamSignals::default();
    let context = RequestContext::new(actor, origin, &api.services, &api.log);
    let responses = api.schema.execute_stream(request.data(context).data(signals.clone()));
    let ended = signals.clone();
    let outputs = outputs(responses, operation, signals);
    // An end follows everything but an end.
    let end = stream::once(async move { ended.end().map_or(Output::Complete, Output::Ended) });
    let with_end = outputs.chain(end).scan(false, |over, output| {
        let last = !matches!(output, Output::Next { .. });
        let before = std::mem::replace(over, last);
        future::ready((!before).then_some(output))
    });
    let (sender, outputs) = mpsc::channel(1);
    let task = detached(async move {
        let mut with_end = pin!(with_end);
        while let Some(output) = with_end.next().await
            && sender.send(output).await.is_ok()
        {}
    });
    // The task is begun, and ends, with the stream.
    let task = stream::once(task)
        .filter_map(async |done| done.is_none().then_some(Output::Ended(StreamEnd::Failed)));
    Box::pin(stream::select(task, ReceiverStream::new(outputs)))
}

/// Executes a subscription for one message; gives its response, with its errors completed.
pub async fn execute_message(api: &Api, request: Request) -> Option<GraphqlResponse> {
    let mut response = api.schema.execute_stream(request).next().await?;
    response::complete(&mut response.errors, None);
    response::fill_message(&mut response);
    Some(response)
}

fn outputs(
    responses: impl Stream<Item = GraphqlResponse> + Send + 'static,
    operation: Option<OperationType>,
    signals: StreamSignals,
) -> impl Stream<Item = Output> + Send + 'static {
    let subscription = operation == Some(OperationType::Subscription);
    let mut first = true;
    responses.filter_map(move |mut response| {
        let begins = std::mem::take(&mut first);
        // A subscription whose source can't be made is a request error too.
        let failed = subscription && response.data == Value::Null && !response.errors.is_empty();
        let refused = begins && (failed || response::is_request_error(&response));
        response::complete(&mut response.errors, None);
        if subscription {
            response::fill_message(&mut response);
        }
        // A stream that went on would have skipped what could not be read: its caller
        // resumes, and gets it then.
        let output = if subscription && response::is_internal(&response) {
            Some(Output::Ended(StreamEnd::Failed))
        } else if refused {
            Some(Output::Error(response.errors))
        } else if subscription && response::is_out_of_sight(&response) {
            None
        } else {
            Some(Output::Next { payload: encode(&response), cursor: signals.position() })
        };
        future::ready(output)
    })
}

/// A response as JSON.
pub fn encode(response: &GraphqlResponse) -> Arc<str> {
    serde_json::to_string(&Encoded::of(response)).unwrap_or_default().into()
}
