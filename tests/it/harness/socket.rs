//! A client of the graphql-transport-ws protocol, message by message.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, handshake::client::Request},
};

/// A test that waits longer has failed: nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The fields of an event that most tests look at.
pub const EVENT: &str = "__typename
    ... on TicketEvent { id cursor actor { name } ticket { id } }
    ... on CommentAdded { comment { id body visibility } }
    ... on StatusChanged { fromStatus toStatus }
    ... on Checkpoint { cursor }
    ... on AccessRevoked { ticketId cursor }
    ... on ResyncRequired { reason }";

/// An open websocket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What comes from the server.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// A message of the protocol.
    Message(Value),
    /// The server closed, with a code and a reason.
    Closed(u16, String),
    /// The connection broke.
    Broken,
}

impl Socket {
    /// Opens a websocket, offering the sub-protocol, without greeting.
    pub async fn connect(address: &str) -> Self {
        Self::try_connect(address).await.expect("a server that takes the connection")
    }

    async fn try_connect(address: &str) -> Option<Self> {
        Some(Self(connect_async(request(address)).await.ok()?.0))
    }

    /// Opens a websocket and greets, if there is a server that answers.
    pub async fn try_open(address: &str, token: Option<&str>) -> Option<Self> {
        Self::try_connect(address).await?.greet(token).await
    }

    async fn greet(mut self, token: Option<&str>) -> Option<Self> {
        let payload = token.map(|token| json!({ "authorization": format!("Bearer {token}") }));
        self.send(json!({ "type": "connection_init", "payload": payload })).await;
        match self.incoming().await {
            Incoming::Message(message) if message["type"] == "connection_ack" => Some(self),
            _ => None,
        }
    }

    /// Opens a websocket and greets with a token.
    pub async fn open(address: &str, token: Option<&str>) -> Self {
        Self::try_open(address, token).await.expect("a server that acknowledges the greeting")
    }

    /// Opens a websocket that the kernel takes little for, and greets: whoever does not
    /// read from it is soon felt by the server.
    pub async fn open_narrow(address: &str, token: Option<&str>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = client_async(request(address), stream).await.unwrap();
        Self(socket).greet(token).await.expect("a server that acknowledges the greeting")
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Value) {
        self.send_raw(Message::text(message.to_string())).await;
    }

    /// Sends anything.
    pub async fn send_raw(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// Begins an operation.
    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "type": "subscribe", "id": id, "payload": payload })).await;
    }

    /// Watches a ticket, from now on or after a cursor.
    pub async fn watch_ticket(&mut self, id: &str, ticket: &str, after: Option<&str>) {
        let query = format!(
            "subscription($ticket: ID!, $after: String) {{ ticketEvents(ticketId: $ticket, after: $after) {{ {EVENT} }} }}"
        );
        self.subscribe(id, &query, json!({ "ticket": ticket, "after": after })).await;
    }

    /// Watches everything that one may see.
    pub async fn watch_inbox(&mut self, id: &str, after: Option<&str>) {
        let query =
            format!("subscription($after: String) {{ inboxEvents(after: $after) {{ {EVENT} }} }}");
        self.subscribe(id, &query, json!({ "after": after })).await;
    }

    /// Whatever comes next.
    pub async fn incoming(&mut self) -> Incoming {
        loop {
            let message = time::timeout(PATIENCE, self.0.next()).await.expect("a message in time");
            return match message {
                Some(Ok(Message::Text(text))) => {
                    Incoming::Message(serde_json::from_str(&text).unwrap())
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    Incoming::Closed(frame.code.into(), frame.reason.to_string())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(_) | Err(_)) | None => Incoming::Broken,
            };
        }
    }

    /// The next message.
    pub async fn message(&mut self) -> Value {
        match self.incoming().await {
            Incoming::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// The code that the server closes with.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.incoming().await {
                Incoming::Closed(code, _) => return code,
                Incoming::Broken => panic!("broken without a close frame"),
                Incoming::Message(_) => {}
            }
        }
    }

    /// What the stream gives next: the value of its one field.
    pub async fn item(&mut self) -> Value {
        let message = self.message().await;
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"].as_object().unwrap().values().next().unwrap().clone()
    }

    /// Takes the checkpoint that tells that the stream has caught up; gives its cursor.
    pub async fn caught_up(&mut self) -> String {
        let item = self.item().await;
        assert_eq!(item["__typename"], "Checkpoint", "{item}");
        item["cursor"].as_str().unwrap().to_owned()
    }
}

fn request(address: &str) -> Request {
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    let offered = "graphql-transport-ws".parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", offered);
    request
}
