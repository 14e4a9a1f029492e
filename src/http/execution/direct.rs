//! The execution of an operation for one caller.

use std::pin::pin;

use async_graphql::{Request, Response as GraphqlResponse, Value, parser::types::OperationType};
use futures_util::{Stream, StreamExt as _, future, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    super::{api::Api, response},
    output::{Operation, Output},
};
use crate::{
    domain::{actor::Actor, session::ClientOrigin},
    events::{StreamEnd, run_to_completion},
    graphql::{RequestContext, StreamProgress},
};

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
    let progress = StreamProgress::default();
    let context = RequestContext::new(actor, origin, &api.services, &api.log);
    let responses = api.schema.execute_stream(request.data(context).data(progress.clone()));
    let outputs = with_end(outputs(responses, operation, progress.clone()), progress);
    let (sender, receiver) = mpsc::channel(1);
    let task = run_to_completion(async move {
        let mut outputs = pin!(outputs);
        while let Some(output) = outputs.next().await
            && sender.send(output).await.is_ok()
        {}
    });
    // Polled as part of the stream: the task starts with it, and is aborted when it is dropped.
    let panicked = stream::once(task).filter_map(async |finished| {
        finished.is_none().then_some(Output::Interrupted(StreamEnd::Failed))
    });
    Box::pin(stream::select(panicked, ReceiverStream::new(receiver)))
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
) -> impl Stream<Item = Output> + Send + 'static {
    let subscription = operation == Some(OperationType::Subscription);
    let mut first = true;
    responses.map(move |mut response| {
        let is_first = std::mem::take(&mut first);
        // A subscription that could not start is a request error too. One with a position has
        // started: its message failed, and the stream continues.
        let failed = subscription
            && progress.position().is_none()
            && response.data == Value::Null
            && !response.errors.is_empty();
        let not_executed = is_first && (failed || response::is_request_error(&response));
        response::complete_errors(&mut response.errors, None);
        if subscription {
            response::fill_empty_message(&mut response);
        }
        // If the stream continued after an internal error, the client would miss a message.
        // Ended here, it resumes and reads the message again.
        // No other error drops a message: its cursor would pass over an event that was not sent.
        if subscription && response::is_internal(&response) {
            Output::Interrupted(StreamEnd::Failed)
        } else if not_executed {
            Output::Error(response.errors)
        } else {
            let payload = response::encode(&response).into();
            Output::Next { payload, cursor: progress.position() }
        }
    })
}

/// Executes a subscription for one message that the request carries. Returns the response, with
/// its errors completed, or `None` if the message yields none.
pub async fn execute_message(api: &Api, request: Request) -> Option<GraphqlResponse> {
    let mut response = api.schema.execute_stream(request).next().await?;
    response::complete_errors(&mut response.errors, None);
    response::fill_empty_message(&mut response);
    Some(response)
}
