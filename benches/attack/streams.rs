//! Attacks by websockets and their streams.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::frame::coding::CloseCode},
};

use super::{
    attacker::{Attacker, MAX_TEXT, code},
    common::socket,
    requests::comment,
};

/// More websockets than a customer may open.
const SOCKETS: usize = 32;
/// Together with the sockets, 800 streams.
const STREAMS: usize = 25;
/// How many streams of different documents a socket opens: together fewer than the allowed 200.
const DOCUMENTS: usize = 6;
const ANONYMOUS_SOCKETS: usize = 300;
/// How often an agent posts a comment: less often than staff may.
const COMMENT_INTERVAL: Duration = Duration::from_millis(250);
/// How many of the attacker's comments are posted at the same time.
const WRITERS: usize = 4;

/// Opens notification streams, while an agent comments on the victim's and the attacker's tickets.
pub async fn notifications(attacker: &Attacker) {
    let query = "subscription { notifications { __typename } }";
    let streams = async |_| subscribe(attacker, vec![json!({ "query": query }); STREAMS]).await;
    let texts = [&attacker.busy, &attacker.ticket].map(|ticket| comment(ticket, "We look at it."));
    tokio::join!(attacker.repeat(SOCKETS, streams), observed(attacker, &texts));
}

/// Subscribes to one ticket with documents that all differ, while long comments are posted.
pub async fn shared_responses(attacker: &Attacker) {
    let streams = async |number: usize| {
        let documents = (0..DOCUMENTS).map(|n| {
            let name = number * DOCUMENTS + n;
            let query = format!(
                "subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ __typename
                    ... on CommentAdded {{ comment {{ a{name}: body }} }} }} }}"
            );
            json!({ "query": query, "variables": { "id": attacker.ticket } })
        });
        subscribe(attacker, documents.collect()).await;
    };
    let text = comment(&attacker.ticket, &"🎟".repeat(MAX_TEXT));
    let comments = async |_| attacker.query(&text).await;
    tokio::join!(
        attacker.repeat(SOCKETS, streams),
        attacker.repeat(WRITERS, comments),
        observed(attacker, std::slice::from_ref(&text))
    );
}

/// Opens websockets that do not sign in.
pub async fn anonymous_sockets(attacker: &Attacker) {
    let attempt = async |_| {
        let Some(mut socket) = open(attacker).await else { return };
        send(&mut socket, json!({ "type": "connection_init" })).await;
        read(attacker, &mut socket).await;
    };
    attacker.repeat(ANONYMOUS_SOCKETS, attempt).await;
}

/// Posts comments as an agent, in turn and in intervals.
async fn observed(attacker: &Attacker, comments: &[String]) {
    let attempt = async |number: usize| {
        time::sleep(COMMENT_INTERVAL).await;
        attacker.observe(&comments[number % comments.len()]).await;
    };
    attacker.work(1, attempt).await;
}

/// Opens a websocket with a stream of each payload, and reads until it is closed.
async fn subscribe(attacker: &Attacker, payloads: Vec<Value>) {
    let Some(mut socket) = open(attacker).await else { return };
    let authorization = json!({ "authorization": format!("Bearer {}", attacker.token) });
    send(&mut socket, json!({ "type": "connection_init", "payload": authorization })).await;
    // Sent before the server has acknowledged, a subscription would close the socket.
    if !read_one(attacker, &mut socket).await {
        return;
    }
    for (id, payload) in payloads.into_iter().enumerate() {
        let message = json!({ "type": "subscribe", "id": id.to_string(), "payload": payload });
        send(&mut socket, message).await;
    }
    read(attacker, &mut socket).await;
}

async fn open(attacker: &Attacker) -> Option<WebSocketStream<TcpStream>> {
    let stream = attacker.connect(None).await?;
    match socket::open(stream, &attacker.address, "graphql").await {
        Ok(socket) => Some(socket),
        Err(Error::Http(answer)) => {
            attacker.count(&format!("HTTP {}", answer.status().as_u16()));
            None
        }
        Err(_) => {
            attacker.count("closed");
            None
        }
    }
}

/// Sends a message. If that fails, the next message that is read is the reason.
async fn send(socket: &mut WebSocketStream<TcpStream>, message: Value) {
    let _ = socket.send(Message::text(message.to_string())).await;
}

/// Reads messages until the socket is closed.
async fn read(attacker: &Attacker, socket: &mut WebSocketStream<TcpStream>) {
    while read_one(attacker, socket).await {}
}

/// Reads and counts one message. Returns whether the socket is open.
async fn read_one(attacker: &Attacker, socket: &mut WebSocketStream<TcpStream>) -> bool {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => {
            attacker.count(code(text.as_bytes()).as_deref().unwrap_or("message"));
            true
        }
        Some(Ok(Message::Close(frame))) => {
            let code = frame.map_or(CloseCode::Status, |frame| frame.code);
            attacker.count(&format!("closed with {}", u16::from(code)));
            false
        }
        Some(Ok(_)) => true,
        Some(Err(_)) | None => {
            attacker.count("closed");
            false
        }
    }
}
