//! Subscribers of the server, over graphql-transport-ws, and of the broadcast.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

use super::common::socket;

/// How long a subscriber waits for a message. Longer than anything that is measured.
const MESSAGE_TIMEOUT: Duration = Duration::from_mins(2);

/// A subscriber.
pub struct Watcher(WebSocketStream<TcpStream>);

impl Watcher {
    /// Subscribes to a ticket, from now on or after a cursor. Returns the cursor of the first
    /// checkpoint and the number of events before it.
    pub async fn ticket(
        address: &str,
        token: &str,
        ticket: &str,
        after: Option<&str>,
    ) -> (Self, String, usize) {
        let query = "subscription($t: ID!, $a: String) { ticketEvents(ticketId: $t, after: $a) {
            __typename ... on CommentAdded { cursor comment { id body createdAt } }
            ... on Checkpoint { cursor } } }";
        Self::subscribe(address, token, query, json!({ "t": ticket, "a": after })).await
    }

    /// Subscribes to all tickets, from now on.
    pub async fn inbox(address: &str, token: &str) -> Self {
        let query = "subscription { inboxEvents {
            __typename ... on CommentAdded { cursor comment { id body createdAt } }
            ... on Checkpoint { cursor } } }";
        Self::subscribe(address, token, query, json!({})).await.0
    }

    async fn subscribe(
        address: &str,
        token: &str,
        query: &str,
        variables: Value,
    ) -> (Self, String, usize) {
        let mut watcher = Self::connect(address, "graphql").await;
        let payload = json!({ "authorization": format!("Bearer {token}") });
        watcher.send(json!({ "type": "connection_init", "payload": payload })).await;
        watcher.text().await.expect("an acknowledgement");
        let payload = json!({ "query": query, "variables": variables });
        watcher.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
        let mut missed = 0;
        loop {
            let text = watcher.text().await.expect("a message");
            if text.contains("\"Checkpoint\"") {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                let stream = &message["payload"]["data"];
                let item = stream.as_object().and_then(|fields| fields.values().next());
                let cursor = item.and_then(|item| item["cursor"].as_str()).expect("a cursor");
                return (watcher, cursor.to_owned(), missed);
            }
            assert!(text.contains("\"CommentAdded\""), "{text}");
            missed += 1;
        }
    }

    /// Subscribes to a topic of the broadcast server.
    pub async fn broadcast(address: &str, topic: &str) -> Self {
        let mut watcher = Self::connect(address, topic).await;
        watcher.text().await.expect("a greeting");
        watcher
    }

    async fn connect(address: &str, path: &str) -> Self {
        loop {
            // Ten thousand connections at once overflow the listener's queue.
            let Ok(stream) = TcpStream::connect(address).await else { continue };
            stream.set_nodelay(true).expect("an option");
            return Self(socket::open(stream, address, path).await.expect("a websocket"));
        }
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("a connection");
    }

    /// Returns the text of the next message, or the server's close code.
    pub async fn text(&mut self) -> Result<String, u16> {
        loop {
            let next =
                time::timeout(MESSAGE_TIMEOUT, self.0.next()).await.expect("a message in time");
            match next {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map_or(CloseCode::Status, |frame| frame.code);
                    return Err(code.into());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// Returns the text of the next event, or the server's close code.
    pub async fn event(&mut self) -> Result<String, u16> {
        loop {
            let text = self.text().await?;
            if !text.contains("\"Checkpoint\"") {
                return Ok(text);
            }
        }
    }
}
