//! GraphQL over server-sent events: the "distinct connections mode" of the PROTOCOL.md
//! of the graphql-sse library, one operation a response.
//!
//! An operation is polled only as its client takes what it gives, so nothing is
//! buffered here. A live stream whose client takes less than happens loses its place in
//! memory and reads on from the database, as over websockets.

use std::{convert::Infallible, future, time::Duration};

use async_graphql::{Request, ServerError, parser::types::OperationType};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::time::{self, Instant, Interval};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    Api,
    authentication::USE_EVERY,
    execution::{self, Operation, Output},
    negotiation::MediaType,
    observe::RequestId,
    response,
};
use crate::{
    domain::{actor::Actor, session::Origin},
    events::StreamEnd,
    graphql::code,
    service,
};

/// What is sent so often, so that proxies don't take a quiet stream for a dead one, and
/// at once, so that the client knows that it is heard.
const HEARTBEAT: &str = ":\n\n";
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// Its client does not ask again.
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// Who asks for a stream.
pub struct Caller {
    /// Who it is.
    pub actor: Actor,
    /// From where.
    pub origin: Origin,
    /// The token that says so.
    pub token: Option<String>,
    /// The request's id.
    pub id: Option<RequestId>,
}

/// Answers with the outputs of a request that the [guard](super::guard) has admitted as
/// an operation of this type.
pub async fn answer(
    api: Api,
    caller: Caller,
    request: Request,
    operation: Option<OperationType>,
) -> Response {
    let live = operation == Some(OperationType::Subscription);
    let session_ended = match (live, caller.actor.identity()) {
        (true, Some(identity)) => match api.log.watch_session(identity).await {
            Ok(Some(watch)) => watch.ended().boxed(),
            Ok(None) => future::ready(()).boxed(),
            Err(error) => {
                tracing::error!(%error, "a stream's session can't be watched over");
                return respond(Body::empty());
            }
        },
        _ => future::pending().boxed(),
    };
    // What is not live ends by itself.
    let drained = if live { drained(api.clone()).boxed() } else { future::pending().boxed() };
    let open = api.sockets.token();
    let outputs = execution::start(api.clone(), caller.actor, caller.origin, request, operation);
    let conversation = Conversation {
        api,
        token: caller.token,
        id: caller.id,
        outputs: Some(outputs.flatten_stream().boxed()),
        session_ended,
        drained,
        heartbeat: time::interval(HEARTBEAT_EVERY),
        used_at: Instant::now(),
        _open: open,
    };
    let chunks = stream::unfold(conversation, |mut conversation| async move {
        let chunk = conversation.next().await?;
        Some((Ok::<_, Infallible>(chunk), conversation))
    });
    respond(Body::from_stream(chunks))
}

/// Answers a document that is not executed.
pub fn refuse(errors: Vec<ServerError>, id: Option<RequestId>) -> Response {
    respond(Body::from(last_words(errors, id)))
}

fn respond(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, MediaType::EventStream.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds back what it proxies unless it is told not to.
    let buffering = HeaderName::from_static("x-accel-buffering");
    headers.insert(buffering, HeaderValue::from_static("no"));
    response
}

/// Resolves when a live stream has to end because the server stops.
async fn drained(api: Api) {
    api.draining.cancelled().await;
    time::sleep(api.drain_delay()).await;
}

/// A response that goes on.
struct Conversation {
    api: Api,
    token: Option<String>,
    id: Option<RequestId>,
    /// `None` once it has ended.
    outputs: Option<Operation>,
    /// Resolves when the session has ended that the stream belongs to; never where it
    /// belongs to none.
    session_ended: BoxFuture<'static, ()>,
    drained: BoxFuture<'static, ()>,
    heartbeat: Interval,
    /// When the token was last asked about.
    used_at: Instant,
    /// A stopping server waits until this is dropped.
    _open: TaskTrackerToken,
}

impl Conversation {
    /// What is to be sent next; `None`: it is over. A client whose stream ends without
    /// `complete` connects anew.
    async fn next(&mut self) -> Option<String> {
        let outputs = self.outputs.as_mut()?;
        tokio::select! {
            biased;
            () = &mut self.session_ended => Some(self.sign_out()),
            () = &mut self.drained => None,
            output = outputs.next() => self.say(output?),
            now = self.heartbeat.tick() => self.beat(now).await,
        }
    }

    fn say(&mut self, output: Output) -> Option<String> {
        match output {
            Output::Next { payload, cursor } => {
                let id = cursor.map(|cursor| format!("id: {}\n", cursor.encode()));
                Some(next(&id.unwrap_or_default(), &payload))
            }
            Output::Error(errors) => {
                self.outputs = None;
                Some(last_words(errors, self.id))
            }
            Output::Complete => {
                self.outputs = None;
                Some(COMPLETE.to_owned())
            }
            Output::Ended(StreamEnd::SessionEnded) => Some(self.sign_out()),
            Output::Ended(StreamEnd::FellBehind | StreamEnd::Failed) => None,
        }
    }

    /// Shows that the stream is alive. A session is in use as long as one of its streams
    /// is open: whoever only watches is not signed out for lack of use.
    async fn beat(&mut self, now: Instant) -> Option<String> {
        if let Some(token) = self.token.as_deref().filter(|_| now >= self.used_at + USE_EVERY) {
            self.used_at = now;
            match service::authentication::actor(&self.api.services, token).await {
                Ok(Some(_)) => {}
                Ok(None) => return Some(self.sign_out()),
                Err(error) => {
                    tracing::error!(%error, "a stream's session could not be looked up");
                    return None;
                }
            }
        }
        Some(HEARTBEAT.to_owned())
    }

    fn sign_out(&mut self) -> String {
        self.outputs = None;
        let mut error = ServerError::new("The session has ended. Sign in again.", None);
        error.extensions.get_or_insert_default().set("code", code::UNAUTHENTICATED);
        last_words(vec![error], self.id)
    }
}

/// An event with one response, which has no line breaks: it is JSON.
fn next(id: &str, payload: &str) -> String {
    debug_assert!(!payload.contains(['\n', '\r']));
    format!("event: next\n{id}data: {payload}\n\n")
}

fn last_words(mut errors: Vec<ServerError>, id: Option<RequestId>) -> String {
    response::complete(&mut errors, id);
    let payload = serde_json::json!({ "errors": errors });
    next("", &payload.to_string()) + COMPLETE
}
