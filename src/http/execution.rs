//! The execution of an operation, for a transport that gives out its responses one after
//! the other.

use std::{pin::Pin, sync::Arc};

use async_graphql::{
    Request, Response as GraphqlResponse, ServerError, Value, parser::types::OperationType,
};
use futures_util::{Stream, StreamExt as _, stream};

use super::{
    Api,
    response::{self, Encoded},
};
use crate::{
    domain::{actor::Actor, cursor::Cursor, session::Origin},
    events::StreamEnd,
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

/// Executes a request that the [guard](super::guard) has admitted as an operation of
/// this type.
pub fn execute(
    api: &Api,
    actor: Actor,
    origin: Origin,
    request: Request,
    operation: Option<OperationType>,
) -> Operation {
    let signals = StreamSignals::default();
    let context = RequestContext::new(actor, origin, &api.desk, &api.log);
    let responses = api.schema.execute_stream(request.data(context).data(signals.clone()));
    let ended = signals.clone();
    let outputs = outputs(responses, operation, signals);
    // An end follows everything but an end.
    let end = stream::once(async move { ended.end().map_or(Output::Complete, Output::Ended) });
    let with_end = outputs.chain(end).scan(false, |over, output| {
        let last = !matches!(output, Output::Next { .. });
        let before = std::mem::replace(over, last);
        std::future::ready((!before).then_some(output))
    });
    Box::pin(with_end)
}

/// Executes what gives one response at most; gives that, with its errors completed.
pub async fn execute_one(api: &Api, request: Request) -> Option<GraphqlResponse> {
    let mut response = api.schema.execute_stream(request).next().await?;
    response::complete(&mut response.errors, None);
    Some(response)
}

fn outputs(
    responses: impl Stream<Item = GraphqlResponse> + Send + 'static,
    operation: Option<OperationType>,
    signals: StreamSignals,
) -> impl Stream<Item = Output> + Send + 'static {
    let subscription = operation == Some(OperationType::Subscription);
    let mut first = true;
    responses.map(move |mut response| {
        let begins = std::mem::take(&mut first);
        // A subscription whose source can't be made is a request error too.
        let failed = subscription && response.data == Value::Null && !response.errors.is_empty();
        let refused = begins && (failed || response::is_request_error(&response));
        response::complete(&mut response.errors, None);
        // A stream that went on would have skipped what could not be read: its caller
        // resumes, and gets it then.
        if subscription && response::is_internal(&response) {
            return Output::Ended(StreamEnd::Failed);
        }
        if refused {
            return Output::Error(response.errors);
        }
        Output::Next { payload: encode(&response), cursor: signals.position() }
    })
}

/// A response as JSON.
pub fn encode(response: &GraphqlResponse) -> Arc<str> {
    serde_json::to_string(&Encoded::of(response)).unwrap_or_default().into()
}
