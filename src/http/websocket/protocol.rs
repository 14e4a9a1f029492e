//! The messages of the sub-protocol, and the codes that sockets are closed with.

use std::{borrow::Cow, time::Duration};

use async_graphql::{Request, ServerError, Variables};
use serde::{Deserialize, Serialize};

use super::super::observe::{STOPPED, TOO_SLOW};
use crate::graphql::code;

/// The sub-protocol's name.
pub const NAME: &str = "graphql-transport-ws";
/// How many bytes the reason of a close frame may have (RFC 6455, 5.5).
const MAX_REASON: usize = 123;
/// How many bytes of an operation's id fit into the reason of a close frame.
const MAX_ID_IN_REASON: usize = 90;

/// The free-form payload of a message that does not concern an operation.
pub type Payload = serde_json::Map<String, serde_json::Value>;

/// A message from the client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// Opens the conversation, and may carry a token.
    ConnectionInit { payload: Option<Payload> },
    /// Asks for a pong.
    Ping {
        #[serde(rename = "payload")]
        _payload: Option<Payload>,
    },
    /// Answers a ping, or shows that the client is alive.
    Pong {
        #[serde(rename = "payload")]
        _payload: Option<Payload>,
    },
    /// Starts an operation.
    Subscribe { id: String, payload: Box<SubscribePayload> },
    /// Cancels an operation.
    Complete { id: String },
}

/// The request of an operation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscribePayload {
    query: String,
    operation_name: Option<String>,
    variables: Option<Payload>,
}

impl From<SubscribePayload> for Request {
    fn from(payload: SubscribePayload) -> Self {
        let variables = payload.variables.unwrap_or_default();
        let mut request = Self::new(payload.query)
            .variables(Variables::from_json(serde_json::Value::Object(variables)));
        request.operation_name = payload.operation_name;
        request
    }
}

/// A message to the client, other than `next`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient<'m> {
    /// Accepts `connection_init`.
    ConnectionAck {},
    /// Answers a ping.
    Pong {},
    /// The operation was not executed.
    Error { id: &'m str, payload: &'m [ServerError] },
    /// The operation is complete.
    Complete { id: &'m str },
}

impl ToClient<'_> {
    /// Returns the message's text.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Encodes the `next` messages of one operation around payloads that are JSON already.
pub struct NextEncoder {
    prefix: String,
}

impl NextEncoder {
    /// Creates the encoder of the operation with this id.
    pub fn new(id: &str) -> Self {
        let id = serde_json::to_string(id).unwrap_or_default();
        Self { prefix: ["{\"type\":\"next\",\"id\":", &id, ",\"payload\":"].concat() }
    }

    /// Returns the text of the message with an encoded response.
    pub fn encode(&self, payload: &str) -> String {
        [&self.prefix, payload, "}"].concat()
    }
}

/// Why the server closes a socket. Codes from 4400 on are the sub-protocol's; the others are
/// registered for websockets in general (RFC 6455).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// The close code.
    pub code: u16,
    /// The reason in words, in at most 123 bytes.
    pub text: Cow<'static, str>,
}

impl CloseReason {
    /// The client sent a binary frame.
    pub const BINARY: Self = Self::new(4400, "Invalid message: send text frames, not binary ones");
    /// A message before the acknowledgement is too large.
    pub const BIG_INIT: Self =
        Self::new(4400, "Invalid message: before the acknowledgement, at most 16 KiB");
    /// An operation's id is empty or too long.
    pub const BAD_ID: Self = Self::new(4400, "Invalid message: an id has 1 to 256 bytes");
    /// The token in `connection_init` is no text.
    pub const BAD_AUTHORIZATION: Self =
        Self::new(4400, "Invalid message: `authorization` must be a text");
    /// An operation came before `connection_init`, or the session has ended.
    pub const UNAUTHORIZED: Self = Self::new(4401, "Unauthorized");
    /// The token in `connection_init` has no live session.
    pub const FORBIDDEN: Self = Self::new(4403, "Forbidden");
    /// No `connection_init` came in time.
    pub const INIT_TIMEOUT: Self = Self::new(4408, "Connection initialisation timeout");
    /// A second `connection_init` came.
    pub const TOO_MANY_INITS: Self = Self::new(4429, "Too many initialisation requests");
    /// A frame breaks RFC 6455.
    pub const BAD_FRAME: Self = Self::new(1002, "Protocol error");
    /// A text is not UTF-8.
    pub const BAD_TEXT: Self = Self::new(1007, "Invalid UTF-8");
    /// A message is too large.
    pub const TOO_BIG: Self = Self::new(1009, "Message too big");
    /// The server is stopping: the client reconnects to another node.
    pub const RESTART: Self = Self::new(1012, "Service restart");
    /// The server failed, perhaps only this time. Clients do not reconnect after 1011.
    pub const TRY_AGAIN: Self = Self::new(1013, "The server failed: resume at your last cursor");
    /// The client reads too slowly. `execution.rs` lists where this is noticed.
    pub const TOO_SLOW: Self = Self::new(1013, "Too slow: resume at your last cursor");

    const fn new(code: u16, text: &'static str) -> Self {
        Self { code, text: Cow::Borrowed(text) }
    }

    /// The client sent something that is not a message of the sub-protocol.
    pub fn bad_message(problem: &str) -> Self {
        let mut text = format!("Invalid message: {problem}");
        text.truncate(text.floor_char_boundary(MAX_REASON));
        Self { code: 4400, text: text.into() }
    }

    /// The caller has too many websockets open, which a text of at most 123 bytes says.
    pub fn too_many(text: String) -> Self {
        Self { code: 4429, text: text.into() }
    }

    /// The socket has been open for too long without being signed in.
    pub fn not_signed_in(allowed: Duration) -> Self {
        let text = format!(
            "Not signed in within {} seconds. Sign in, then connect with the token",
            allowed.as_secs()
        );
        Self { code: 4401, text: text.into() }
    }

    /// Returns the outcome of the operations that end with the socket, or `None` if they end because
    /// of something that the client has sent.
    pub fn outcome(&self) -> Option<&'static str> {
        match self.code {
            4401 => Some(code::UNAUTHENTICATED),
            1012 => Some(STOPPED),
            1013 if *self == Self::TOO_SLOW => Some(TOO_SLOW),
            1013 => Some(code::INTERNAL),
            _ => None,
        }
    }

    /// A running operation already has this id.
    pub fn duplicate(id: &str) -> Self {
        let id = &id[..id.floor_char_boundary(MAX_ID_IN_REASON)];
        Self { code: 4409, text: format!("Subscriber for {id} already exists").into() }
    }
}
