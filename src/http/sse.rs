//! GraphQL over server-sent events: the "distinct connections mode" of the PROTOCOL.md of the
//! graphql-sse library, one operation for each response.
//!
//! An operation is polled only as fast as its client reads, so a slow client needs no buffer here but
//! the rest of one event, whose memory is counted. `execution.rs` describes how operations run, and
//! lists where a slow client is noticed.

use std::{convert::Infallible, future, net::IpAddr, sync::Arc, time::Duration};

use async_graphql::{Request, ServerError, parser::types::OperationType};
use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::time::{self, Instant, Interval};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    api::Api,
    authentication::SESSION_USE_INTERVAL,
    execution::{self, Operation, OperationLog, Output},
    negotiation::MediaType,
    observe::{LoggedAtEnd, RequestId, STOPPED},
    response,
    response_body::{CHUNK, holding},
    slots::Slot,
};
use crate::{
    db::DbError,
    domain::{
        actor::{Actor, Identity},
        request::{self, RequestRecord},
        session::ClientOrigin,
    },
    events::{SessionWatch, StreamEnd},
    graphql::code,
    service,
};

/// A comment. It keeps proxies from closing a quiet stream; the first is sent at once, to show
/// the client that the stream is open.
const HEARTBEAT: &str = ":\n\n";
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// The last event of a complete operation. A client that does not receive it reconnects.
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// The sender of a request.
pub struct Caller {
    /// Who sends it.
    pub actor: Actor,
    /// Where it comes from.
    pub origin: ClientOrigin,
    /// The token that it was authenticated by.
    pub token: Option<String>,
    /// The request's id.
    pub id: Option<RequestId>,
    /// What it uses of its budget.
    pub slot: Slot,
}

/// Answers with the outputs of an operation of this type, whose document the
/// [guard](super::guard) has validated.
pub async fn answer(
    api: Api,
    caller: Caller,
    mut request: Request,
    operation: Option<OperationType>,
) -> Response {
    let live = operation == Some(OperationType::Subscription);
    let session_ended = match (live, caller.actor.identity()) {
        (true, Some(identity)) => match watch_session(&api, &caller, identity).await {
            Ok(Some(watch)) => watch.ended().boxed(),
            Ok(None) => future::ready(()).boxed(),
            Err(error) => {
                tracing::error!(%error, "watching an event stream's session failed");
                request::record_error(code::INTERNAL);
                return respond(Body::empty());
            }
        },
        _ => future::pending().boxed(),
    };
    // A stopping server lets queries and mutations finish.
    let drained = if live { drained(api.clone()).boxed() } else { future::pending().boxed() };
    let open = api.sockets.token();
    let log = OperationLog::of_request(api.metrics.clone());
    log.set_operation(&mut request, operation);
    let record = Arc::clone(log.record());
    let network = caller.origin.site_or_network();
    let starting = execution::start(api.clone(), caller.actor, caller.origin, request, operation);
    let outputs = log.run(starting.boxed());
    let event_stream = EventStream {
        api,
        record,
        token: caller.token,
        network,
        id: caller.id,
        outputs: Some(outputs.flatten_stream().boxed()),
        rest: Bytes::new(),
        session_ended,
        drained,
        heartbeat: time::interval(HEARTBEAT_INTERVAL),
        used_at: Instant::now(),
        _open: open,
        _slot: caller.slot,
    };
    let chunks = stream::unfold(event_stream, |mut event_stream| async move {
        let chunk = event_stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), event_stream))
    });
    let mut response = respond(Body::from_stream(chunks));
    response.extensions_mut().insert(LoggedAtEnd);
    response
}

/// Watches the caller's session, in one of the turns in which their streams start.
async fn watch_session(
    api: &Api,
    caller: &Caller,
    identity: &Identity,
) -> Result<Option<SessionWatch>, DbError> {
    let _turn = api.budgets.message_turn(&caller.actor, &caller.origin).await;
    api.log.watch_session(identity).await
}

/// Answers a document that is not executed.
pub fn answer_errors(errors: Vec<ServerError>, id: Option<RequestId>) -> Response {
    respond(Body::from(encode_errors(errors, id)))
}

fn respond(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, MediaType::EventStream.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Without it nginx buffers the stream.
    let buffering = HeaderName::from_static("x-accel-buffering");
    headers.insert(buffering, HeaderValue::from_static("no"));
    response
}

/// Resolves when a live stream is closed because the server is stopping.
async fn drained(api: Api) {
    api.draining.cancelled().await;
    time::sleep(api.drain_delay()).await;
}

/// The body of a response: the outputs of one operation as events.
struct EventStream {
    api: Api,
    /// What is logged of the operation.
    record: Arc<RequestRecord>,
    token: Option<String>,
    network: Option<IpAddr>,
    id: Option<RequestId>,
    /// `None` after the last event.
    outputs: Option<Operation>,
    /// The rest of an event.
    rest: Bytes,
    /// Resolves when the stream's session ends. Never resolves if it has none.
    session_ended: BoxFuture<'static, ()>,
    drained: BoxFuture<'static, ()>,
    heartbeat: Interval,
    /// When the session was last used.
    used_at: Instant,
    /// A stopping server waits until this is dropped.
    _open: TaskTrackerToken,
    _slot: Slot,
}

impl EventStream {
    /// Returns the next bytes of the stream, or `None` at the end. The connection buffers a few pieces,
    /// and asks for more as the client reads. A client whose stream ends without `complete` reconnects.
    async fn next(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            self.rest = self.next_event().await?;
        }
        Some(self.rest.split_to(self.rest.len().min(CHUNK)))
    }

    /// Returns the next event or comment, or `None` at the end.
    async fn next_event(&mut self) -> Option<Bytes> {
        let outputs = self.outputs.as_mut()?;
        tokio::select! {
            biased;
            () = &mut self.session_ended => Some(self.end_session().into()),
            () = &mut self.drained => {
                self.record.set_error(STOPPED);
                None
            }
            output = outputs.next() => self.encode_output(output?),
            now = self.heartbeat.tick() => self.on_heartbeat(now).await.map(Bytes::from),
        }
    }

    fn encode_output(&mut self, output: Output) -> Option<Bytes> {
        match output {
            Output::Next { payload, cursor, memory } => {
                let id = cursor.map(|cursor| format!("id: {}\n", cursor.encode()));
                Some(holding(encode_next(&id.unwrap_or_default(), &payload), memory))
            }
            Output::Error(errors) => {
                self.outputs = None;
                Some(encode_errors(errors, self.id).into())
            }
            Output::Complete => {
                self.outputs = None;
                Some(Bytes::from_static(COMPLETE.as_bytes()))
            }
            Output::Interrupted(StreamEnd::SessionEnded) => Some(self.end_session().into()),
            Output::Interrupted(StreamEnd::ClientTooSlow | StreamEnd::Failed) => None,
        }
    }

    /// Returns a heartbeat. From time to time it uses the session, so that it does not expire
    /// while one of its streams is open.
    async fn on_heartbeat(&mut self, now: Instant) -> Option<String> {
        let due = now >= self.used_at + SESSION_USE_INTERVAL;
        if let Some(token) = self.token.as_deref().filter(|_| due) {
            self.used_at = now;
            match service::authentication::actor(&self.api.services, token, self.network).await {
                Ok(Some(_)) => {}
                Ok(None) => return Some(self.end_session()),
                Err(error) => {
                    tracing::error!(%error, "looking up an event stream's session failed");
                    self.record.set_error(code::INTERNAL);
                    return None;
                }
            }
        }
        Some(HEARTBEAT.to_owned())
    }

    fn end_session(&mut self) -> String {
        self.record.set_error(code::UNAUTHENTICATED);
        self.outputs = None;
        let mut error = ServerError::new("The session has ended. Sign in again.", None);
        error.extensions.get_or_insert_default().set("code", code::UNAUTHENTICATED);
        encode_errors(vec![error], self.id)
    }
}

/// Encodes a response as an event. JSON has no line breaks, so it is one line of data.
fn encode_next(id: &str, payload: &str) -> String {
    debug_assert!(!payload.contains(['\n', '\r']));
    format!("event: next\n{id}data: {payload}\n\n")
}

/// Encodes the last events of an operation that failed.
fn encode_errors(mut errors: Vec<ServerError>, id: Option<RequestId>) -> String {
    response::complete_errors(&mut errors, id);
    let payload = serde_json::json!({ "errors": errors });
    encode_next("", &payload.to_string()) + COMPLETE
}
