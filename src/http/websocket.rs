//! GraphQL over websockets: the `graphql-transport-ws` sub-protocol, as the
//! PROTOCOL.md of the graphql-ws library specifies it.

use std::{future, pin::Pin, sync::Arc, time::Duration};

use async_graphql::{
    Data, Request, Response as GraphqlResponse, ServerError, Value, parser::types::OperationType,
};
use axum::{
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::time::{self, Instant};
use tokio_stream::StreamMap;

use super::{
    Api, MAX_BODY, authentication, guard,
    response::{self, Encoded},
};
use crate::{
    domain::{actor::Actor, session::Origin},
    graphql::{RequestContext, SessionEnd},
    service,
};

const PROTOCOL: &str = "graphql-transport-ws";
/// How long a client may take to send `connection_init`.
const INIT_WITHIN: Duration = Duration::from_secs(10);
/// How often a quiet client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A client that takes nothing for so long is gone.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How often a session is used by its socket's being open: the shortest time that an
/// installation may have sessions expire in is twice as long.
const USE_EVERY: Duration = Duration::from_secs(1_800);
const MAX_OPERATIONS: usize = 100;
/// Most sockets are idle: small buffers keep them cheap.
const BUFFER: usize = 4 * 1024;
const MAX_ID: usize = 256;

/// Accepts a websocket, if it speaks the sub-protocol.
pub fn upgrade(api: Api, upgrade: WebSocketUpgrade, parts: &Parts) -> Response {
    let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered =
        offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !offered.map(str::trim).any(|protocol| protocol == PROTOCOL) {
        let message =
            format!("Offer the websocket sub-protocol {PROTOCOL}: npm's graphql-ws speaks it.\n");
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    let origin = authentication::origin(parts, api.trusted_proxies);
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MAX_BODY)
        .max_frame_size(MAX_BODY)
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .on_upgrade(move |socket| {
            let sockets = api.sockets.clone();
            sockets.track_future(Connection::new(api, origin, socket).run())
        })
}

/// A message from the client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromClient {
    ConnectionInit { payload: Option<serde_json::Value> },
    Ping {},
    Pong {},
    Subscribe { id: String, payload: Box<Request> },
    Complete { id: String },
}

/// A message to the client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToClient<'m> {
    ConnectionAck {},
    Pong {},
    Next { id: &'m str, payload: Encoded<'m> },
    Error { id: &'m str, payload: &'m [ServerError] },
    Complete { id: &'m str },
}

/// Why a socket is closed: a code and a short reason.
struct Closing(u16, &'static str);

const BAD_MESSAGE: Closing = Closing(4400, "Invalid message");
const UNAUTHORIZED: Closing = Closing(4401, "Unauthorized");
const FORBIDDEN: Closing = Closing(4403, "Forbidden");
const INIT_TIMEOUT: Closing = Closing(4408, "Connection initialisation timeout");
const DUPLICATE: Closing = Closing(4409, "Subscriber already exists");
const TOO_MANY_INITS: Closing = Closing(4429, "Too many initialisation requests");
const SERVER_ERROR: Closing = Closing(1011, "Internal error");
const RESTART: Closing = Closing(1012, "Service restart");

/// What an operation gives.
enum Output {
    Next(Box<GraphqlResponse>),
    /// Nothing was executed: the errors, and no more.
    Error(Vec<ServerError>),
    Complete,
}

type Operation = Pin<Box<dyn Stream<Item = Output> + Send>>;

struct Connection {
    api: Api,
    origin: Origin,
    socket: WebSocket,
    /// What `connection_init` said; `None` before it came.
    greeting: Option<Greeting>,
    operations: StreamMap<String, Operation>,
    session_end: SessionEnd,
    /// Resolves when the session has ended that the socket belongs to.
    session_watch: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// When the token was last asked about.
    used_at: Instant,
}

/// Who a socket belongs to. The token is asked about again with each operation.
struct Greeting {
    token: Option<String>,
}

impl Greeting {
    /// Who the client is now; `None` where its token has stopped standing for a session.
    async fn actor(&self, api: &Api) -> Result<Option<Actor>, End> {
        let Some(token) = &self.token else { return Ok(Some(Actor::Anonymous)) };
        service::authentication::actor(&api.desk, token).await.map_err(|error| {
            tracing::error!(%error, "a websocket's session could not be looked up");
            End::Close(SERVER_ERROR)
        })
    }
}

/// How a step of the conversation ended it.
enum End {
    /// We close, and say why.
    Close(Closing),
    /// The peer is gone.
    Gone,
}

/// Resolves with a watch; never where there is none.
async fn ended(watch: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    match watch {
        Some(watch) => watch.await,
        None => future::pending().await,
    }
}

impl Connection {
    fn new(api: Api, origin: Origin, socket: WebSocket) -> Self {
        Self {
            api,
            origin,
            socket,
            greeting: None,
            operations: StreamMap::new(),
            session_end: SessionEnd::default(),
            session_watch: None,
            used_at: Instant::now(),
        }
    }

    async fn run(mut self) {
        if let End::Close(Closing(code, reason)) = self.converse().await {
            let frame = CloseFrame { code, reason: reason.into() };
            let _ = time::timeout(SEND_WITHIN, self.socket.send(Message::Close(Some(frame)))).await;
        }
    }

    async fn converse(&mut self) -> End {
        let init_by = Instant::now() + INIT_WITHIN;
        let mut heard = true;
        let mut ping = time::interval(PING_EVERY);
        ping.reset();
        let (draining, session_end) = (self.api.draining.clone(), self.session_end.0.clone());
        loop {
            let step = tokio::select! {
                received = self.socket.recv() => match received {
                    Some(Ok(message)) => {
                        heard = true;
                        self.receive(message).await
                    }
                    Some(Err(_)) | None => Err(End::Gone),
                },
                Some((id, output)) = self.operations.next(), if !self.operations.is_empty() => {
                    self.give(&id, output).await
                }
                () = time::sleep_until(init_by), if self.greeting.is_none() => Err(End::Close(INIT_TIMEOUT)),
                _ = ping.tick() => {
                    if std::mem::take(&mut heard) {
                        self.ping().await
                    } else {
                        Err(End::Gone)
                    }
                }
                () = draining.cancelled() => Err(End::Close(RESTART)),
                () = session_end.cancelled() => Err(End::Close(UNAUTHORIZED)),
                () = ended(&mut self.session_watch) => Err(End::Close(UNAUTHORIZED)),
            };
            if let Err(end) = step {
                return end;
            }
            // Before anything else is said: a stream that ended with its session is
            // not complete.
            if session_end.is_cancelled() {
                return End::Close(UNAUTHORIZED);
            }
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(End::Close(BAD_MESSAGE)),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
        };
        let message = serde_json::from_str(&text).map_err(|_| End::Close(BAD_MESSAGE))?;
        match message {
            FromClient::ConnectionInit { payload } => self.init(payload.as_ref()).await,
            FromClient::Ping {} => self.say(&ToClient::Pong {}).await,
            FromClient::Pong {} => Ok(()),
            FromClient::Subscribe { id, payload } => self.subscribe(id, payload).await,
            FromClient::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
        }
    }

    /// Asks whether the client is there. Its session is in use as long as it is: whoever
    /// only watches is not signed out for lack of use.
    async fn ping(&mut self) -> Result<(), End> {
        if let Some(greeting) = &self.greeting
            && self.used_at.elapsed() >= USE_EVERY
        {
            self.used_at = Instant::now();
            if greeting.actor(&self.api).await?.is_none() {
                return Err(End::Close(UNAUTHORIZED));
            }
        }
        self.send(Message::Ping(Vec::new().into())).await
    }

    /// Greets a client. One without a token may sign in over the socket; a token
    /// that stands for no live session is refused.
    async fn init(&mut self, payload: Option<&serde_json::Value>) -> Result<(), End> {
        if self.greeting.is_some() {
            return Err(End::Close(TOO_MANY_INITS));
        }
        if payload.is_some_and(|payload| !payload.is_object() && !payload.is_null()) {
            return Err(End::Close(BAD_MESSAGE));
        }
        let value = payload.and_then(|payload| {
            let named = |name| payload.get(name).and_then(serde_json::Value::as_str);
            named("authorization").or_else(|| named("Authorization"))
        });
        let token = value
            .filter(|value| !value.is_empty())
            .map(|value| authentication::bearer(value).unwrap_or(value).to_owned());
        let greeting = Greeting { token };
        let Some(actor) = greeting.actor(&self.api).await? else {
            return Err(End::Close(FORBIDDEN));
        };
        if let Some(identity) = actor.identity() {
            let watch = self.api.log.watch_session(identity).await.map_err(|error| {
                tracing::error!(%error, "a websocket's session can't be watched over");
                End::Close(SERVER_ERROR)
            })?;
            let Some(watch) = watch else { return Err(End::Close(FORBIDDEN)) };
            self.session_watch = Some(Box::pin(watch.ended()));
        }
        self.greeting = Some(greeting);
        self.say(&ToClient::ConnectionAck {}).await
    }

    async fn subscribe(&mut self, id: String, mut request: Box<Request>) -> Result<(), End> {
        let Some(greeting) = &self.greeting else { return Err(End::Close(UNAUTHORIZED)) };
        if id.is_empty() || id.len() > MAX_ID {
            return Err(End::Close(BAD_MESSAGE));
        }
        if self.operations.contains_key(&id) {
            return Err(End::Close(DUPLICATE));
        }
        let Some(actor) = greeting.actor(&self.api).await? else {
            return Err(End::Close(UNAUTHORIZED));
        };
        if self.operations.len() >= MAX_OPERATIONS {
            let message = format!("A socket may have {MAX_OPERATIONS} operations at once.");
            return self.give(&id, Output::Error(vec![ServerError::new(message, None)])).await;
        }
        match guard::admit(&mut request) {
            Err(error) => self.give(&id, Output::Error(vec![error])).await,
            Ok(operation) => {
                let origin = self.origin.clone();
                let context = RequestContext::new(actor, origin, &self.api.desk, &self.api.log);
                let mut data = Data::default();
                data.insert(self.session_end.clone());
                let responses = self
                    .api
                    .schema
                    .execute_stream_with_session_data(request.data(context), Arc::new(data));
                self.operations.insert(id, outputs(responses, operation));
                Ok(())
            }
        }
    }

    async fn give(&mut self, id: &str, output: Output) -> Result<(), End> {
        match output {
            Output::Next(mut response) => {
                response::complete(&mut response.errors, None);
                self.say(&ToClient::Next { id, payload: Encoded::of(&response) }).await
            }
            Output::Error(mut errors) => {
                response::complete(&mut errors, None);
                self.operations.remove(id);
                self.say(&ToClient::Error { id, payload: &errors }).await
            }
            Output::Complete => {
                self.operations.remove(id);
                self.say(&ToClient::Complete { id }).await
            }
        }
    }

    async fn say(&mut self, message: &ToClient<'_>) -> Result<(), End> {
        let text = serde_json::to_string(message).map_err(|error| {
            tracing::error!(%error, "a message could not be encoded");
            End::Close(SERVER_ERROR)
        })?;
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match time::timeout(SEND_WITHIN, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Gone),
        }
    }
}

/// An operation's outputs: its responses and the end, or the errors for which
/// there is nothing to execute.
fn outputs(
    responses: impl Stream<Item = GraphqlResponse> + Send + 'static,
    operation: Option<OperationType>,
) -> Operation {
    let subscription = operation == Some(OperationType::Subscription);
    let mut first = true;
    let outputs = responses.map(move |response| {
        let begins = std::mem::take(&mut first);
        // A subscription whose source can't be made is a request error too.
        let failed = subscription && response.data == Value::Null && !response.errors.is_empty();
        if begins && (failed || response::is_request_error(&response)) {
            return Output::Error(response.errors);
        }
        Output::Next(Box::new(response))
    });
    // Nothing follows an error, and `complete` follows everything else.
    let with_end =
        outputs.chain(stream::once(async { Output::Complete })).scan(false, |ended, output| {
            let over = std::mem::replace(ended, matches!(output, Output::Error(_)));
            std::future::ready((!over).then_some(output))
        });
    Box::pin(with_end)
}
