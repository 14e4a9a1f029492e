//! GraphQL over websockets: the sub-protocol `graphql-transport-ws`, as PROTOCOL.md of the
//! graphql-ws library specifies it.
//!
//! One task serves a socket. It reads and writes through `duplex.rs` and polls the operations
//! in `multiplexer.rs`; `execution.rs` describes how these run, and lists where a slow client
//! is noticed.

mod duplex;
mod message;
mod multiplexer;
mod protocol;
mod wake_flag;

use std::{
    future::{self, Future as _},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_graphql::{ServerError, parser::types::OperationType};
use axum::{
    extract::ws::{Message, WebSocketUpgrade},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::time::{self, Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use self::{
    duplex::{Duplex, SocketEvent},
    message::Received,
    multiplexer::{Multiplexer, SocketOutput},
    protocol::{CloseReason, FromClient, ToClient},
    wake_flag::{TaskWaker, WakeFlag},
};
use super::{
    api::Api,
    authentication::{self, SESSION_USE_INTERVAL},
    body::{MAX_BODY, check_size},
    budgets::{REFUSAL_DELAY, delay_refusal},
    connection::Traffic,
    execution::{self, OperationLog, Output},
    guard,
    observe::RequestId,
    response,
    session_cookie::ACCOUNT_HEADER,
    slots::Slot,
};
use crate::{
    domain::{actor::Actor, session::ClientOrigin},
    events::StreamEnd,
    graphql::unavailable_error,
    metrics::Limit,
    service,
};

/// How long a client may take to send `connection_init`.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the server sends a ping. A client that sent nothing since the last one is gone.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// A client that reads nothing of what is queued for it for this long is too slow: the socket
/// is closed with [`CloseReason::TOO_SLOW`].
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many operations may run on a socket at a time.
const MAX_OPERATIONS: usize = 100;
/// How much a client may send until its `connection_init` is complete, in bytes. Whose memory it takes is
/// known only then.
const MAX_INIT: u64 = 16_384;
/// The longest id of an operation, in bytes.
const MAX_ID: usize = 256;
/// The size of the read buffer, in bytes, which a socket has even while it is idle. It grows for a
/// longer message.
const READ_BUFFER: usize = 1024;
/// From how many bytes on messages are written while others are queued.
const WRITE_BUFFER: usize = 4 * 1024;
/// How many outputs are queued before other tasks have a turn.
const BATCH: usize = 32;

const FOREIGN_PAGE: &str = "Pages of this origin may not open a websocket. The operator can list \
    the origin in `allowed_origins` (TICKETWIRE_ALLOWED_ORIGINS). If it is the server's own, its \
    reverse proxy must pass on the Host header.\n";

/// Upgrades a request to a websocket, if the client offers the sub-protocol and its page may.
pub fn upgrade(api: Api, upgrade: WebSocketUpgrade, parts: &Parts) -> Response {
    let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered =
        offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !offered.map(str::trim).any(|protocol| protocol == protocol::NAME) {
        let message = format!(
            "Offer the websocket sub-protocol {}, for example with npm's graphql-ws.\n",
            protocol::NAME
        );
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    let is_own = api.own_pages.is_origin_of(&parts.headers);
    if !is_own && !api.origins.origin_allowed(&parts.headers) {
        return (StatusCode::FORBIDDEN, FOREIGN_PAGE).into_response();
    }
    let in_cookie = api.own_pages.token(&parts.headers).filter(|_| is_own).map(str::to_owned);
    let origin = authentication::origin(parts, api.trusted_proxies);
    let id = parts.extensions.get::<RequestId>().copied();
    let traffic = parts.extensions.get::<Traffic>().cloned().unwrap_or_default();
    upgrade
        .protocols([protocol::NAME])
        .max_message_size(MAX_BODY)
        .max_frame_size(MAX_BODY)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .on_upgrade(move |socket| async move {
            let (sockets, duplex) = (api.sockets.clone(), Duplex::new(socket, traffic));
            let served = sockets.track_future(serve(api, id, origin, in_cookie, duplex)).await;
            // Not tracked: a stopping server does not wait for this.
            if let Some(duplex) = served {
                Box::pin(duplex.wait_for_close()).await;
            }
        })
}

/// Serves a socket, which the request `id` has opened, until it ends, and sends the close frame.
/// Returns the socket, unless the client is gone.
async fn serve(
    api: Api,
    id: Option<RequestId>,
    origin: ClientOrigin,
    in_cookie: Option<String>,
    duplex: Duplex,
) -> Option<Duplex> {
    let mut connection = Connection::new(api, id, origin, in_cookie, duplex);
    match connection.run().await {
        End::Close(reason) => {
            if let Some(outcome) = reason.outcome() {
                connection.operations.record_end(outcome);
            }
            if reason == CloseReason::TOO_SLOW {
                connection.api.metrics.slow_consumer_closed();
            }
            Box::pin(connection.into_duplex().close(reason)).await
        }
        End::ClosedByClient => Some(connection.into_duplex()),
        End::Disconnected => None,
    }
}

/// How a connection ends.
enum End {
    /// The server closes it.
    Close(CloseReason),
    /// The client closes it.
    ClosedByClient,
    /// The client is gone.
    Disconnected,
}

/// The next thing that a connection handles.
enum Step {
    /// Something happened to the socket.
    Socket(SocketEvent),
    /// The next deadline has passed.
    Timer,
    /// The server begins to stop.
    ServerStops,
    /// The connection ends.
    End(End),
}

/// Whether the socket is closed because the server is stopping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    NotYet,
    /// At this time its subscriptions end.
    At(Instant),
    /// It is closed once its queries and mutations have been answered. Nothing begins any more.
    WhenAnswered,
}

struct Connection {
    api: Api,
    /// The id of the request that has opened the socket.
    id: Option<RequestId>,
    origin: ClientOrigin,
    /// The token in the cookie of the server's own page, unless `connection_init` has one.
    in_cookie: Option<String>,
    duplex: Duplex,
    /// `None` until the client has sent `connection_init`.
    credentials: Option<Credentials>,
    operations: Multiplexer,
    task: TaskWaker,
    /// Set when the timer, the end of the session or the stop of the server may be due.
    lifecycle: WakeFlag,
    /// Resolves when the socket's session ends. Never resolves if it has none.
    session_ended: BoxFuture<'static, ()>,
    opened_at: Instant,
    /// When the session was last used.
    used_at: Instant,
    pinged_at: Instant,
    /// Whether the client has sent anything since the last ping, or has not received it yet.
    heard_since_ping: bool,
    stop: Stop,
}

/// The content of `connection_init`. The token is checked again for each operation.
struct Credentials {
    token: Option<String>,
    /// Who the token stood for, whose budgets the socket and its operations use.
    actor: Actor,
    _slot: Slot,
}

/// Returns who a token from a client of this network or site stands for, or `None` if it has no live
/// session. Without a token the client is anonymous. A failure is logged.
async fn authenticate(
    token: Option<&str>,
    api: &Api,
    network: Option<IpAddr>,
) -> Result<Option<Actor>, ()> {
    let Some(token) = token else { return Ok(Some(Actor::Anonymous)) };
    service::authentication::actor(&api.services, token, network).await.map_err(|error| {
        tracing::error!(%error, "looking up a websocket's session failed");
    })
}

impl Connection {
    fn new(
        api: Api,
        id: Option<RequestId>,
        origin: ClientOrigin,
        in_cookie: Option<String>,
        duplex: Duplex,
    ) -> Self {
        let (now, task) = (Instant::now(), TaskWaker::default());
        Self {
            api,
            id,
            origin,
            in_cookie,
            duplex,
            credentials: None,
            operations: Multiplexer::default(),
            lifecycle: task.new_flag(),
            task,
            session_ended: future::pending().boxed(),
            opened_at: now,
            used_at: now,
            pinged_at: now,
            heard_since_ping: true,
            stop: Stop::NotYet,
        }
    }

    /// Drops everything but the socket.
    fn into_duplex(self) -> Duplex {
        self.duplex
    }

    async fn run(&mut self) -> End {
        let mut draining = Box::pin(self.api.draining.clone().cancelled_owned());
        let mut timer = Box::pin(time::sleep_until(self.next_deadline()));
        loop {
            let deadline = self.next_deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
                self.lifecycle.set();
            }
            let step = future::poll_fn(|cx| {
                self.task.register(cx);
                if self.lifecycle.test_and_clear()
                    && let Poll::Ready(step) =
                        self.poll_lifecycle(draining.as_mut(), timer.as_mut())
                {
                    self.lifecycle.set();
                    return Poll::Ready(step);
                }
                self.poll_traffic(cx)
            });
            let handled = match step.await {
                Step::Socket(event) => self.on_socket_event(event).await,
                Step::Timer => self.on_timer().await,
                Step::ServerStops => {
                    self.stop = Stop::At(Instant::now() + self.api.drain_delay());
                    Ok(())
                }
                Step::End(end) => Err(end),
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    /// Polls what rarely happens.
    fn poll_lifecycle(
        &mut self,
        draining: Pin<&mut WaitForCancellationFutureOwned>,
        timer: Pin<&mut Sleep>,
    ) -> Poll<Step> {
        let mut cx = self.lifecycle.context();
        if self.session_ended.as_mut().poll(&mut cx).is_ready() {
            return Poll::Ready(Step::End(End::Close(CloseReason::UNAUTHORIZED)));
        }
        if self.stop == Stop::NotYet && draining.poll(&mut cx).is_ready() {
            return Poll::Ready(Step::ServerStops);
        }
        timer.poll(&mut cx).map(|()| Step::Timer)
    }

    /// Queues the outputs of operations, writes, and reads the next message. All in one pass:
    /// mostly a socket is woken for one event.
    fn poll_traffic(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut queued = 0;
        while queued < BATCH
            && self.duplex.has_room()
            && let Poll::Ready(output) = self.operations.poll_next()
        {
            queued += 1;
            if let Err(end) = self.send_output(output) {
                return Poll::Ready(Step::End(end));
            }
        }
        if queued == BATCH {
            // There may be more, after other tasks have had their turn.
            cx.waker().wake_by_ref();
        }
        let event = self.duplex.poll_event(cx);
        if event.is_pending() && self.credentials.is_none() && self.duplex.arrived() > MAX_INIT {
            return Poll::Ready(Step::End(self.refuse_message(CloseReason::BIG_INIT)));
        }
        let is_answered = || self.operations.len() == 0 && self.duplex.is_written();
        if self.stop == Stop::WhenAnswered && is_answered() {
            return Poll::Ready(Step::End(End::Close(CloseReason::RESTART)));
        }
        event.map(Step::Socket)
    }

    /// Returns when [`on_timer`](Self::on_timer) has something to do next.
    fn next_deadline(&self) -> Instant {
        let init = match &self.credentials {
            None => Some(self.opened_at + INIT_TIMEOUT),
            Some(Credentials { token: None, .. }) => Some(self.anonymous_until()),
            Some(_) => None,
        };
        let write = self.duplex.blocked_since().map(|since| since + WRITE_TIMEOUT);
        let stop = match self.stop {
            Stop::At(time) => Some(time),
            Stop::NotYet | Stop::WhenAnswered => None,
        };
        let deadlines = [init, write, stop];
        deadlines.into_iter().flatten().fold(self.pinged_at + PING_INTERVAL, Instant::min)
    }

    /// Returns when the socket is closed if it is not signed in.
    fn anonymous_until(&self) -> Instant {
        self.opened_at + self.api.budgets.limits.anonymous_socket_time
    }

    /// Closes the socket if a deadline has passed, among others because the client is too slow,
    /// and sends pings.
    async fn on_timer(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.credentials.is_none() && now >= self.opened_at + INIT_TIMEOUT {
            return Err(End::Close(CloseReason::INIT_TIMEOUT));
        }
        let anonymous = self.credentials.as_ref().is_some_and(|known| known.token.is_none());
        if anonymous && now >= self.anonymous_until() {
            self.api.metrics.refused(Limit::SocketTime);
            let allowed = self.api.budgets.limits.anonymous_socket_time;
            return Err(End::Close(CloseReason::not_signed_in(allowed)));
        }
        if self.duplex.blocked_since().is_some_and(|since| now >= since + WRITE_TIMEOUT) {
            return Err(End::Close(CloseReason::TOO_SLOW));
        }
        if matches!(self.stop, Stop::At(time) if now >= time) {
            self.operations.end_live(CloseReason::RESTART.outcome());
            self.stop = Stop::WhenAnswered;
        }
        if now >= self.pinged_at + PING_INTERVAL {
            self.pinged_at = now;
            if !self.duplex.is_written() {
                // A ping would wait behind what is being written, and the duplex ends a client that
                // takes nothing of it.
                self.heard_since_ping = true;
            } else if std::mem::take(&mut self.heard_since_ping) {
                self.duplex.push_control(Message::Ping(Vec::new().into()));
            } else {
                return Err(End::Disconnected);
            }
            Box::pin(self.use_session(now)).await?;
        }
        Ok(())
    }

    /// Uses the session from time to time, so that it does not expire while its socket is open.
    async fn use_session(&mut self, now: Instant) -> Result<(), End> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        if now < self.used_at + SESSION_USE_INTERVAL {
            return Ok(());
        }
        self.used_at = now;
        match authenticate(credentials.token.as_deref(), &self.api, self.origin.site_or_network())
            .await
        {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(End::Close(CloseReason::UNAUTHORIZED)),
            Err(()) => Err(End::Close(CloseReason::TRY_AGAIN)),
        }
    }

    async fn on_socket_event(&mut self, event: SocketEvent) -> Result<(), End> {
        self.heard_since_ping |= !matches!(event, SocketEvent::QueueChanged);
        match event {
            SocketEvent::Message(Message::Text(text)) => self.on_text(&text).await,
            SocketEvent::Message(Message::Ping(_) | Message::Pong(_))
            | SocketEvent::QueueChanged => Ok(()),
            SocketEvent::Message(Message::Binary(_)) => {
                Err(self.refuse_message(CloseReason::BINARY))
            }
            SocketEvent::Message(Message::Close(_)) => Err(End::ClosedByClient),
            SocketEvent::Disconnected => Err(End::Disconnected),
            SocketEvent::Violation(reason) => Err(self.refuse_message(reason)),
        }
    }

    async fn on_text(&mut self, text: &str) -> Result<(), End> {
        if self.credentials.is_none() && text.len() as u64 > MAX_INIT {
            return Err(self.refuse_message(CloseReason::BIG_INIT));
        }
        let received = message::read(text);
        let received =
            received.map_err(|problem| self.refuse_message(CloseReason::bad_message(&problem)))?;
        let message = match received {
            Received::Message(message) => message,
            Received::Unreadable { id, problem } => {
                self.accept_operation(&id)?;
                let error = ServerError::new(problem, None);
                Box::pin(self.refuse(&id, error, self.begin())).await;
                return Ok(());
            }
        };
        match message {
            // Boxed, like everything rare, so that the tasks of idle sockets stay small.
            FromClient::ConnectionInit { payload } => {
                Box::pin(self.init(payload.unwrap_or_default())).await
            }
            FromClient::Ping { .. } => {
                self.duplex.push_control(Message::Text(ToClient::Pong {}.encode().into()));
                Ok(())
            }
            FromClient::Pong { .. } => Ok(()),
            // Its client sends it again to another node.
            FromClient::Subscribe { .. } if self.stop == Stop::WhenAnswered => Ok(()),
            FromClient::Subscribe { id, payload } => {
                Box::pin(self.subscribe(id, (*payload).into(), text.len())).await
            }
            FromClient::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
        }
    }

    /// Handles `connection_init`. A client without a token may sign in over the socket; a token
    /// without a live session is refused.
    async fn init(
        &mut self,
        payload: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), End> {
        if self.credentials.is_some() {
            return Err(End::Close(CloseReason::TOO_MANY_INITS));
        }
        let text = |name| payload.get(name).and_then(serde_json::Value::as_str);
        let is_text =
            |name| payload.get(name).is_none_or(|value| value.is_string() || value.is_null());
        if !["authorization", "Authorization"].into_iter().all(is_text) {
            return Err(End::Close(CloseReason::BAD_AUTHORIZATION));
        }
        let value = text("authorization").or_else(|| text("Authorization"));
        let bearer = value
            .filter(|value| !value.is_empty())
            .map(|value| authentication::bearer_token(value).unwrap_or(value).to_owned());
        let shown = text(ACCOUNT_HEADER.as_str()).filter(|_| bearer.is_none());
        let token = bearer.or_else(|| self.in_cookie.take());
        let failed = |()| End::Close(CloseReason::TRY_AGAIN);
        let actor = authenticate(token.as_deref(), &self.api, self.origin.site_or_network())
            .await
            .map_err(failed)?;
        let actor = actor.filter(|actor| authentication::is_account(actor, shown));
        let Some(actor) = actor else { return Err(End::Close(CloseReason::FORBIDDEN)) };
        let slot = delay_refusal(self.api.budgets.socket(&actor, &self.origin)).await;
        let slot = slot.map_err(|exceeded| End::Close(CloseReason::too_many(exceeded.message)))?;
        if let Some(identity) = actor.identity() {
            let watch = self.api.log.watch_session(identity).await.map_err(|error| {
                tracing::error!(%error, "watching a websocket's session failed");
                End::Close(CloseReason::TRY_AGAIN)
            })?;
            let Some(watch) = watch else { return Err(End::Close(CloseReason::FORBIDDEN)) };
            self.session_ended = watch.ended().boxed();
            self.lifecycle.set();
        }
        self.credentials = Some(Credentials { token, actor, _slot: slot });
        self.duplex.push(ToClient::ConnectionAck {}.encode());
        Ok(())
    }

    /// Returns the credentials for an operation that the client may start with this id.
    fn accept_operation(&self, id: &str) -> Result<&Credentials, End> {
        let Some(credentials) = &self.credentials else {
            return Err(self.refuse_message(CloseReason::UNAUTHORIZED));
        };
        if id.is_empty() || id.len() > MAX_ID {
            return Err(self.refuse_message(CloseReason::BAD_ID));
        }
        if self.operations.contains(id) {
            return Err(self.refuse_message(CloseReason::duplicate(id)));
        }
        Ok(credentials)
    }

    async fn subscribe(
        &mut self,
        id: String,
        mut request: async_graphql::Request,
        size: usize,
    ) -> Result<(), End> {
        let Credentials { token, actor, .. } = self.accept_operation(&id)?;
        let (token, actor, log) = (token.clone(), *actor, self.begin());
        if self.operations.len() >= MAX_OPERATIONS {
            let message = format!(
                "A websocket may run {MAX_OPERATIONS} operations at a time: complete one first."
            );
            self.refuse(&id, ServerError::new(message, None), log).await;
            return Ok(());
        }
        let (documents, aliases) = (&self.api.documents, self.api.limits.aliases);
        let turn = self.api.budgets.document_turn(&actor, &self.origin).await;
        let validated = guard::validate_document(&mut request, documents, aliases);
        drop(turn);
        let operation = match validated.and_then(|operation| check_size(operation, size)) {
            Err(error) => {
                self.refuse(&id, error, log).await;
                return Ok(());
            }
            Ok(operation) => operation,
        };
        log.set_operation(&mut request, operation);
        let live = operation == Some(OperationType::Subscription);
        let budgets = &self.api.budgets;
        let slot = if live {
            budgets.stream(&actor, &self.origin)
        } else {
            budgets.request(&actor, &self.origin)
        };
        let slot = match slot {
            Err(exceeded) => {
                self.refuse(&id, exceeded.into(), log).await;
                return Ok(());
            }
            Ok(slot) => slot,
        };
        let (api, origin) = (self.api.clone(), self.origin.clone());
        let record = Arc::clone(log.record());
        let starting = async move {
            let network = origin.site_or_network();
            match Box::pin(authenticate(token.as_deref(), &api, network)).await {
                Ok(Some(actor)) => execution::start(api, actor, origin, request, operation).await,
                Ok(None) => stream::iter([Output::Interrupted(StreamEnd::SessionEnded)]).boxed(),
                Err(()) if live => stream::iter([Output::Interrupted(StreamEnd::Failed)]).boxed(),
                Err(()) => stream::iter([Output::Error(vec![unavailable_error()])]).boxed(),
            }
        };
        let outputs = log.run(starting.boxed()).boxed();
        let flag = self.task.new_flag();
        self.operations.insert(id, live, outputs, flag, record, slot);
        Ok(())
    }

    /// Begins the log of an operation.
    fn begin(&self) -> OperationLog {
        OperationLog::of_socket(self.api.ambient.uuid(), self.id, self.api.metrics.clone())
    }

    /// Logs a message that the server refuses by closing the socket.
    fn refuse_message(&self, reason: CloseReason) -> End {
        self.begin().closed(reason.code);
        End::Close(reason)
    }

    /// Queues an output of an operation. Closes the socket if a subscription was interrupted,
    /// among others because its events are no longer in memory and the client is too slow.
    fn send_output(&mut self, output: SocketOutput) -> Result<(), End> {
        match output {
            SocketOutput::Next(text, memory) => self.duplex.push_counted(text, memory),
            SocketOutput::Error(id, errors) => self.send_error(&id, &errors),
            SocketOutput::Complete(id) => self.duplex.push(ToClient::Complete { id: &id }.encode()),
            SocketOutput::Interrupted(end) => {
                return Err(End::Close(match end {
                    StreamEnd::SessionEnded => CloseReason::UNAUTHORIZED,
                    StreamEnd::ClientTooSlow => CloseReason::TOO_SLOW,
                    StreamEnd::Failed => CloseReason::TRY_AGAIN,
                }));
            }
        }
        Ok(())
    }

    /// Queues the error of an operation that is not executed, and logs it. An anonymous client then
    /// waits a little: one that tries again at once takes little time from others.
    async fn refuse(&mut self, id: &str, error: ServerError, log: OperationLog) {
        let mut errors = vec![error];
        response::complete_errors(&mut errors, None);
        log.refused(&errors);
        self.send_error(id, &errors);
        let actor = self.credentials.as_ref().map(|credentials| credentials.actor);
        if actor.is_none_or(|actor| actor == Actor::Anonymous) {
            time::sleep(REFUSAL_DELAY).await;
        }
    }

    /// Queues the errors of an operation that was not executed. They are complete.
    fn send_error(&mut self, id: &str, errors: &[ServerError]) {
        self.duplex.push(ToClient::Error { id, payload: errors }.encode());
    }
}
