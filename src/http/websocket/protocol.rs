//! The messages of the sub-protocol, and the codes that a socket is closed with.

use std::borrow::Cow;

use async_graphql::{Request, ServerError, Variables};
use serde::{Deserialize, Serialize};

/// The sub-protocol's name.
pub const NAME: &str = "graphql-transport-ws";
/// So many bytes of an id fit into the reason of a close frame with the words around it.
const MAX_NAMED: usize = 90;

/// What a client may add to a message that is not about an operation.
pub type Payload = serde_json::Map<String, serde_json::Value>;

/// A message from the client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// Greets.
    ConnectionInit { payload: Option<Payload> },
    /// Asks for a pong.
    Ping {
        #[serde(rename = "payload")]
        _payload: Option<Payload>,
    },
    /// Answers a ping, or says that the client is there.
    Pong {
        #[serde(rename = "payload")]
        _payload: Option<Payload>,
    },
    /// Starts an operation.
    Subscribe { id: String, payload: Box<Operation> },
    /// Wants no more of an operation.
    Complete { id: String },
}

/// What a client wants to be executed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    query: String,
    operation_name: Option<String>,
    variables: Option<Payload>,
}

impl From<Operation> for Request {
    fn from(operation: Operation) -> Self {
        let variables = operation.variables.unwrap_or_default();
        let mut request = Self::new(operation.query)
            .variables(Variables::from_json(serde_json::Value::Object(variables)));
        request.operation_name = operation.operation_name;
        request
    }
}

/// A message to the client, but for `next`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient<'m> {
    /// Greets back.
    ConnectionAck {},
    /// Answers a ping.
    Pong {},
    /// The operation was not executed.
    Error { id: &'m str, payload: &'m [ServerError] },
    /// The operation has ended.
    Complete { id: &'m str },
}

impl ToClient<'_> {
    /// The message's text.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What all `next` messages of an operation have in common.
pub struct Next(String);

impl Next {
    /// That of the operation with this id.
    pub fn of(id: &str) -> Self {
        let id = serde_json::to_string(id).unwrap_or_default();
        Self(["{\"type\":\"next\",\"id\":", &id, ",\"payload\":"].concat())
    }

    /// The message's text with an encoded response.
    pub fn encode(&self, payload: &str) -> String {
        [&self.0, payload, "}"].concat()
    }
}

/// Why a socket is closed: a code and a short reason. The codes from 4400 on are the
/// sub-protocol's, those below RFC 6455's and its registry's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The code.
    pub code: u16,
    /// The reason: 123 bytes at most.
    pub reason: Cow<'static, str>,
}

impl Closing {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// An operation has this id.
    pub fn duplicate(id: &str) -> Self {
        let id = &id[..id.floor_char_boundary(MAX_NAMED)];
        Self { code: 4409, reason: format!("Subscriber for {id} already exists").into() }
    }
}

/// What was sent is no message of the sub-protocol.
pub const BAD_MESSAGE: Closing = Closing::new(4400, "Invalid message");
/// An operation before the greeting, or a session that has ended.
pub const UNAUTHORIZED: Closing = Closing::new(4401, "Unauthorized");
/// The greeting's token stands for no live session.
pub const FORBIDDEN: Closing = Closing::new(4403, "Forbidden");
/// No greeting came.
pub const INIT_TIMEOUT: Closing = Closing::new(4408, "Connection initialisation timeout");
/// A second greeting.
pub const TOO_MANY_INITS: Closing = Closing::new(4429, "Too many initialisation requests");
/// Frames that break RFC 6455.
pub const BAD_FRAME: Closing = Closing::new(1002, "Protocol error");
/// Text that is not UTF-8.
pub const BAD_TEXT: Closing = Closing::new(1007, "Invalid UTF-8");
/// A message over the limit.
pub const TOO_BIG: Closing = Closing::new(1009, "Message too big");
/// The server failed, and may not the next time. Clients give up at 1011.
pub const TRY_AGAIN: Closing = Closing::new(1013, "The server failed: resume at your last cursor");
/// The server stops: connect again, to another.
pub const RESTART: Closing = Closing::new(1012, "Service restart");
/// The client takes less than is sent to it.
pub const TOO_SLOW: Closing = Closing::new(1013, "Too slow: resume at your last cursor");
