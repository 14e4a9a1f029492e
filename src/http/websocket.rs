//! GraphQL over websockets: the `graphql-transport-ws` sub-protocol, as the
//! PROTOCOL.md of the graphql-ws library specifies it.

mod duplex;
mod multiplexer;
mod protocol;
mod wake_flag;

use std::{
    future::{self, Future as _},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_graphql::ServerError;
use axum::{
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::time::{self, Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use self::{
    duplex::{Duplex, Received},
    multiplexer::{Multiplexer, SocketOutput},
    protocol::{
        BAD_MESSAGE, Closing, FORBIDDEN, FromClient, INIT_TIMEOUT, RESTART, TOO_MANY_INITS,
        TOO_SLOW, TRY_AGAIN, ToClient, UNAUTHORIZED,
    },
    wake_flag::{WakeFlag, WakeFlags},
};
use super::{
    Api, MAX_BODY,
    authentication::{self, USE_EVERY},
    execution::{self, Output},
    guard, response,
};
use crate::{
    domain::{actor::Actor, session::Origin},
    events::StreamEnd,
    service,
};

/// How long a client may take to send `connection_init`.
const INIT_WITHIN: Duration = Duration::from_secs(10);
/// How often a client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A client that takes nothing of what waits for it for so long is too slow.
const TAKE_WITHIN: Duration = Duration::from_secs(10);
const MAX_OPERATIONS: usize = 100;
/// Most sockets are idle: small buffers keep them cheap.
const BUFFER: usize = 4 * 1024;
const MAX_ID: usize = 256;
/// So many outputs are written at once, where they are there.
const BATCH: usize = 32;

const FOREIGN_PAGE: &str = "Pages of this origin may not open a websocket here. The operator can list it in \
    `allowed_origins` (TICKETWIRE_ALLOWED_ORIGINS). If it is the server's own, its proxy has to \
    pass on the Host header.\n";

/// Accepts a websocket, if it speaks the sub-protocol.
pub fn upgrade(api: Api, upgrade: WebSocketUpgrade, parts: &Parts) -> Response {
    let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered =
        offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !offered.map(str::trim).any(|protocol| protocol == protocol::NAME) {
        let message = format!(
            "Offer the websocket sub-protocol {}: npm's graphql-ws speaks it.\n",
            protocol::NAME
        );
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    if !api.origins.origin_allowed(&parts.headers) {
        return (StatusCode::FORBIDDEN, FOREIGN_PAGE).into_response();
    }
    let origin = authentication::origin(parts, api.trusted_proxies);
    upgrade
        .protocols([protocol::NAME])
        .max_message_size(MAX_BODY)
        .max_frame_size(MAX_BODY)
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .on_upgrade(move |socket| async move {
            let sockets = api.sockets.clone();
            let served = sockets.track_future(serve(api, origin, socket)).await;
            // A stopping server does not wait for this.
            if let Some(duplex) = served {
                Box::pin(duplex.drain()).await;
            }
        })
}

/// Converses until the end, and says why it is the end; gives the socket where the
/// client is still there.
async fn serve(api: Api, origin: Origin, socket: WebSocket) -> Option<Duplex> {
    let mut connection = Connection::new(api, origin, socket);
    match connection.converse().await {
        End::Close(closing) => {
            if closing == TOO_SLOW {
                connection.api.metrics.slow_consumer_closed();
            }
            Box::pin(connection.into_duplex().close(closing)).await
        }
        End::Closed => Some(connection.into_duplex()),
        End::Gone => None,
    }
}

/// How a conversation ends.
enum End {
    /// We close, and say why.
    Close(Closing),
    /// The client closes.
    Closed,
    /// The client is gone.
    Gone,
}

/// What a conversation goes on with.
enum Step {
    /// What came from the client.
    Received(Received),
    /// What is due.
    Time,
    /// The server stops.
    Drain,
    /// The end.
    End(End),
}

struct Connection {
    api: Api,
    origin: Origin,
    duplex: Duplex,
    /// What `connection_init` said; `None` before it came.
    greeting: Option<Greeting>,
    operations: Multiplexer,
    flags: WakeFlags,
    /// That of what is rare due: the timer, the session's end, the server's stop.
    rare: WakeFlag,
    /// Resolves when the session has ended that the socket belongs to; never where it
    /// belongs to none.
    session_ended: BoxFuture<'static, ()>,
    /// When the socket was opened.
    opened_at: Instant,
    /// When the token was last asked about.
    used_at: Instant,
    /// When the client was last asked whether it is there.
    pinged_at: Instant,
    /// Whether anything came from it since.
    received: bool,
    /// When it is closed because the server stops.
    closes_at: Option<Instant>,
}

/// Who a socket belongs to. The token is asked about again with each operation.
struct Greeting {
    token: Option<String>,
}

impl Greeting {
    /// Who the client is now; `None` where its token has stopped standing for a session.
    async fn actor(token: Option<&str>, api: &Api) -> Result<Option<Actor>, ()> {
        let Some(token) = token else { return Ok(Some(Actor::Anonymous)) };
        service::authentication::actor(&api.services, token).await.map_err(|error| {
            tracing::error!(%error, "a websocket's session could not be looked up");
        })
    }
}

impl Connection {
    fn new(api: Api, origin: Origin, socket: WebSocket) -> Self {
        let (now, flags) = (Instant::now(), WakeFlags::default());
        Self {
            api,
            origin,
            duplex: Duplex::new(socket),
            greeting: None,
            operations: Multiplexer::default(),
            rare: flags.new_flag(),
            flags,
            session_ended: future::pending().boxed(),
            opened_at: now,
            used_at: now,
            pinged_at: now,
            received: true,
            closes_at: None,
        }
    }

    /// Gives up everything but the socket.
    fn into_duplex(self) -> Duplex {
        self.duplex
    }

    async fn converse(&mut self) -> End {
        let mut draining = Box::pin(self.api.draining.clone().cancelled_owned());
        let mut timer = Box::pin(time::sleep_until(self.next_deadline()));
        loop {
            let deadline = self.next_deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
                self.rare.set();
            }
            let step = future::poll_fn(|cx| {
                self.flags.register(cx);
                if self.rare.take()
                    && let Poll::Ready(step) = self.poll_rare(draining.as_mut(), timer.as_mut())
                {
                    self.rare.set();
                    return Poll::Ready(step);
                }
                self.poll_step(cx)
            });
            let done = match step.await {
                Step::Received(received) => self.receive(received).await,
                Step::Time => self.keep_time().await,
                Step::Drain => {
                    self.closes_at = Some(Instant::now() + self.api.drain_delay());
                    Ok(())
                }
                Step::End(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// What is rare due.
    fn poll_rare(
        &mut self,
        draining: Pin<&mut WaitForCancellationFutureOwned>,
        timer: Pin<&mut Sleep>,
    ) -> Poll<Step> {
        let mut cx = self.rare.context();
        if self.session_ended.as_mut().poll(&mut cx).is_ready() {
            return Poll::Ready(Step::End(End::Close(UNAUTHORIZED)));
        }
        if self.closes_at.is_none() && draining.poll(&mut cx).is_ready() {
            return Poll::Ready(Step::Drain);
        }
        timer.poll(&mut cx).map(|()| Step::Time)
    }

    /// Gives out what operations have for the client, writes it, and reads what the client
    /// says: all in one pass, since most of what a socket does is to be woken for one event.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut given = 0;
        while given < BATCH
            && self.duplex.has_room()
            && let Poll::Ready(output) = self.operations.poll_next()
        {
            given += 1;
            if let Err(end) = self.give(output) {
                return Poll::Ready(Step::End(end));
            }
        }
        if given == BATCH {
            // There may be more, after others have had their turn.
            cx.waker().wake_by_ref();
        }
        self.duplex.poll_receive(cx).map(Step::Received)
    }

    /// When [`keep_time`](Self::keep_time) has something to do next.
    fn next_deadline(&self) -> Instant {
        let init = self.greeting.is_none().then_some(self.opened_at + INIT_WITHIN);
        let taken = self.duplex.blocked_since().map(|since| since + TAKE_WITHIN);
        let deadlines = [init, taken, self.closes_at];
        deadlines.into_iter().flatten().fold(self.pinged_at + PING_EVERY, Instant::min)
    }

    /// Does what is due.
    async fn keep_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.greeting.is_none() && now >= self.opened_at + INIT_WITHIN {
            return Err(End::Close(INIT_TIMEOUT));
        }
        if self.duplex.blocked_since().is_some_and(|since| now >= since + TAKE_WITHIN) {
            return Err(End::Close(TOO_SLOW));
        }
        if self.closes_at.is_some_and(|at| now >= at) {
            return Err(End::Close(RESTART));
        }
        if now >= self.pinged_at + PING_EVERY {
            if !std::mem::take(&mut self.received) {
                return Err(End::Gone);
            }
            self.pinged_at = now;
            Box::pin(self.stay_signed_in(now)).await?;
            self.duplex.push_control(Message::Ping(Vec::new().into()));
        }
        Ok(())
    }

    /// A session is in use as long as its socket is open: whoever only watches is not
    /// signed out for lack of use.
    async fn stay_signed_in(&mut self, now: Instant) -> Result<(), End> {
        let Some(greeting) = &self.greeting else { return Ok(()) };
        if now < self.used_at + USE_EVERY {
            return Ok(());
        }
        self.used_at = now;
        match Greeting::actor(greeting.token.as_deref(), &self.api).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(End::Close(UNAUTHORIZED)),
            Err(()) => Err(End::Close(TRY_AGAIN)),
        }
    }

    async fn receive(&mut self, received: Received) -> Result<(), End> {
        self.received |= !matches!(received, Received::Nothing);
        let text = match received {
            Received::Message(Message::Text(text)) => text,
            Received::Message(Message::Ping(_) | Message::Pong(_)) => return Ok(()),
            Received::Message(Message::Binary(_)) => return Err(End::Close(BAD_MESSAGE)),
            Received::Message(Message::Close(_)) => return Err(End::Closed),
            Received::Nothing => return Ok(()),
            Received::Gone => return Err(End::Gone),
            Received::Broken(closing) => return Err(End::Close(closing)),
        };
        let message = serde_json::from_str(&text).map_err(|_| End::Close(BAD_MESSAGE))?;
        match message {
            // Boxed, as all that is rare: what most sockets never do makes none of them large.
            FromClient::ConnectionInit { payload } => {
                Box::pin(self.init(payload.unwrap_or_default())).await
            }
            FromClient::Ping { .. } => {
                self.duplex.push_control(Message::Text(ToClient::Pong {}.encode().into()));
                Ok(())
            }
            FromClient::Pong { .. } => Ok(()),
            FromClient::Subscribe { id, payload } => self.subscribe(id, (*payload).into()),
            FromClient::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
        }
    }

    /// Greets a client. One without a token may sign in over the socket; a token
    /// that stands for no live session is refused.
    async fn init(
        &mut self,
        payload: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), End> {
        if self.greeting.is_some() {
            return Err(End::Close(TOO_MANY_INITS));
        }
        let named = |name| payload.get(name).and_then(serde_json::Value::as_str);
        let value = named("authorization").or_else(|| named("Authorization"));
        let token = value
            .filter(|value| !value.is_empty())
            .map(|value| authentication::bearer(value).unwrap_or(value).to_owned());
        let failed = |()| End::Close(TRY_AGAIN);
        let actor = Greeting::actor(token.as_deref(), &self.api).await.map_err(failed)?;
        let Some(actor) = actor else { return Err(End::Close(FORBIDDEN)) };
        if let Some(identity) = actor.identity() {
            let watch = self.api.log.watch_session(identity).await.map_err(|error| {
                tracing::error!(%error, "a websocket's session can't be watched over");
                End::Close(TRY_AGAIN)
            })?;
            let Some(watch) = watch else { return Err(End::Close(FORBIDDEN)) };
            self.session_ended = watch.ended().boxed();
            self.rare.set();
        }
        self.greeting = Some(Greeting { token });
        self.duplex.push(ToClient::ConnectionAck {}.encode());
        Ok(())
    }

    fn subscribe(&mut self, id: String, mut request: async_graphql::Request) -> Result<(), End> {
        let Some(greeting) = &self.greeting else { return Err(End::Close(UNAUTHORIZED)) };
        if id.is_empty() || id.len() > MAX_ID {
            return Err(End::Close(BAD_MESSAGE));
        }
        if self.operations.contains(&id) {
            return Err(End::Close(Closing::duplicate(&id)));
        }
        if self.operations.len() >= MAX_OPERATIONS {
            let message = format!("A socket may have {MAX_OPERATIONS} operations at once.");
            self.refuse(&id, vec![ServerError::new(message, None)]);
            return Ok(());
        }
        let operation = match guard::validate_document(&mut request) {
            Err(error) => {
                self.refuse(&id, vec![error]);
                return Ok(());
            }
            Ok(operation) => operation,
        };
        let (api, origin, token) = (self.api.clone(), self.origin.clone(), greeting.token.clone());
        let starting = async move {
            match Greeting::actor(token.as_deref(), &api).await {
                Ok(Some(actor)) => execution::start(api, actor, origin, request, operation).await,
                Ok(None) => stream::iter([Output::Ended(StreamEnd::SessionEnded)]).boxed(),
                Err(()) => stream::iter([Output::Ended(StreamEnd::Failed)]).boxed(),
            }
        };
        self.operations.insert(id, starting.boxed(), self.flags.new_flag());
        Ok(())
    }

    /// Passes on what an operation gives.
    fn give(&mut self, given: SocketOutput) -> Result<(), End> {
        match given {
            SocketOutput::Next(text) => self.duplex.push(text),
            SocketOutput::Error(id, errors) => self.refuse(&id, errors),
            SocketOutput::Complete(id) => self.duplex.push(ToClient::Complete { id: &id }.encode()),
            SocketOutput::Ended(end) => {
                return Err(End::Close(match end {
                    StreamEnd::SessionEnded => UNAUTHORIZED,
                    StreamEnd::FellBehind => TOO_SLOW,
                    StreamEnd::Failed => TRY_AGAIN,
                }));
            }
        }
        Ok(())
    }

    /// Says that an operation was not executed.
    fn refuse(&mut self, id: &str, mut errors: Vec<ServerError>) {
        response::complete(&mut errors, None);
        self.duplex.push(ToClient::Error { id, payload: &errors }.encode());
    }
}
