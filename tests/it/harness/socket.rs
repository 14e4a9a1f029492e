//! A client of the graphql-transport-ws protocol, message by message.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
    time::{self, Interval},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, handshake::client::Request},
};

use super::tls::Secure;

/// The longest that a test waits for a message.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The fields of an event that most tests look at.
pub const EVENT: &str = "__typename
    ... on TicketEvent { id cursor actor { name } ticket { id } }
    ... on CommentAdded { comment { id body visibility } }
    ... on StatusChanged { fromStatus toStatus }
    ... on Checkpoint { cursor }
    ... on AccessRevoked { ticketId cursor }
    ... on ResyncRequired { reason }";

/// How often a slow line brings something.
const TICK: Duration = Duration::from_millis(100);
/// How many bytes it brings then, in the first ticks. Later it brings all that there is.
const TICK_BYTES: usize = 30_000;
const SLOW_TICKS: u32 = 120;

/// A connection that is slow for twelve seconds.
struct SlowLine {
    stream: TcpStream,
    ticks: Interval,
    ticked: u32,
    /// How many bytes may still be read in this tick.
    left: usize,
}

impl AsyncRead for SlowLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ticked >= SLOW_TICKS {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        if self.left == 0 {
            ready!(self.ticks.poll_tick(cx));
            self.ticked += 1;
            self.left = TICK_BYTES;
        }
        let mut bytes = vec![0; self.left.min(buffer.remaining())];
        let mut part = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        buffer.put_slice(part.filled());
        self.left -= part.filled().len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SlowLine {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Opens a connection of which the kernel buffers little until it is read.
pub async fn connect_with_small_buffer(address: &str) -> TcpStream {
    connect_with_buffer(address, 4 * 1024).await
}

/// Opens a connection of which the kernel buffers this many bytes here until it is read.
pub async fn connect_with_buffer(address: &str, bytes: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

/// A connection, plain or with TLS.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// An open websocket.
pub struct Socket(WebSocketStream<Box<dyn Connection>>);

/// Something received from the server.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// A message of the protocol.
    Message(Value),
    /// A close frame with its code and reason.
    Closed(u16, String),
    /// The connection ended without a close code.
    Broken,
}

impl Socket {
    /// Opens a websocket that offers the sub-protocol; does not send `connection_init`.
    pub async fn connect(address: &str) -> Self {
        Self::try_connect(address, None).await.expect("a server that accepts the connection")
    }

    /// Opens a websocket like [`connect`](Self::connect), with TLS or without; returns `None` if the
    /// server does not accept it.
    pub async fn try_connect(address: &str, secure: Option<&Secure>) -> Option<Self> {
        let stream: Box<dyn Connection> = match secure {
            Some(secure) => Box::new(secure.connect().await.ok()?),
            None => Box::new(TcpStream::connect(address).await.ok()?),
        };
        Some(Self(client_async(request(address), stream).await.ok()?.0))
    }

    /// Opens a websocket and sends `connection_init`; returns `None` if the server does not accept
    /// or acknowledge it.
    pub async fn try_open(address: &str, token: Option<&str>) -> Option<Self> {
        Self::try_connect(address, None).await?.initialise(token).await
    }

    /// Opens a websocket by a request of its own and sends `connection_init` without a token.
    pub async fn open_with(request: Request) -> Self {
        let opened = Self::try_open_with(request, Value::Null).await;
        opened.expect("a server that acknowledges connection_init")
    }

    /// Opens a websocket by a request of its own and sends `connection_init`; returns `None` if the
    /// server does not acknowledge it.
    pub async fn try_open_with(request: Request, payload: Value) -> Option<Self> {
        let authority = request.uri().authority().expect("an address").to_string();
        let stream: Box<dyn Connection> = Box::new(TcpStream::connect(authority).await.unwrap());
        let (socket, _) = client_async(request, stream).await.expect("an upgrade");
        Self(socket).send_init(payload).await
    }

    /// Sends `connection_init`; returns `None` if the server does not acknowledge it.
    pub async fn initialise(self, token: Option<&str>) -> Option<Self> {
        let payload = token.map(|token| json!({ "authorization": format!("Bearer {token}") }));
        self.send_init(payload.into()).await
    }

    async fn send_init(mut self, payload: Value) -> Option<Self> {
        self.send(json!({ "type": "connection_init", "payload": payload })).await;
        match self.incoming().await {
            Incoming::Message(message) if message["type"] == "connection_ack" => Some(self),
            _ => None,
        }
    }

    /// Opens a websocket and sends `connection_init` with a token.
    pub async fn open(address: &str, token: Option<&str>) -> Self {
        Self::try_open(address, token).await.expect("a server that acknowledges connection_init")
    }

    /// Like [`open`](Self::open), with a small receive buffer, so that the server soon notices if
    /// the client does not read.
    pub async fn open_with_small_buffer(address: &str, token: Option<&str>) -> Self {
        Self::open_over(address, token, Box::new(connect_with_small_buffer(address).await)).await
    }

    /// Opens a socket on a line that is slow for twelve seconds, but never still.
    pub async fn open_slow(address: &str, token: Option<&str>) -> Self {
        let stream = connect_with_small_buffer(address).await;
        let slow = SlowLine { stream, ticks: time::interval(TICK), ticked: 0, left: 0 };
        Self::open_over(address, token, Box::new(slow)).await
    }

    async fn open_over(address: &str, token: Option<&str>, stream: Box<dyn Connection>) -> Self {
        let (socket, _) = client_async(request(address), stream).await.unwrap();
        Self(socket).initialise(token).await.expect("a server that acknowledges connection_init")
    }

    /// Sends a message of the protocol.
    pub async fn send(&mut self, message: Value) {
        self.send_raw(Message::text(message.to_string())).await;
    }

    /// Sends any websocket message.
    pub async fn send_raw(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// Starts an operation.
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

    /// Watches all tickets that the client may see, from now on or after a cursor.
    pub async fn watch_inbox(&mut self, id: &str, after: Option<&str>) {
        let query =
            format!("subscription($after: String) {{ inboxEvents(after: $after) {{ {EVENT} }} }}");
        self.subscribe(id, &query, json!({ "after": after })).await;
    }

    /// Waits for a message, a close frame or the end of the connection.
    pub async fn incoming(&mut self) -> Incoming {
        self.incoming_within(TIMEOUT).await
    }

    /// Waits like [`Self::incoming`], for another time.
    pub async fn incoming_within(&mut self, limit: Duration) -> Incoming {
        loop {
            let message = time::timeout(limit, self.0.next()).await.expect("a message in time");
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

    /// Waits for the next message of the protocol.
    pub async fn message(&mut self) -> Value {
        match self.incoming().await {
            Incoming::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// Waits until the server closes the socket; returns the code.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.incoming().await {
                Incoming::Closed(code, _) => return code,
                Incoming::Broken => panic!("broken without a close frame"),
                Incoming::Message(_) => {}
            }
        }
    }

    /// Waits for the next result of a stream; returns the value of its one field.
    pub async fn item(&mut self) -> Value {
        let message = self.message().await;
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"].as_object().unwrap().values().next().unwrap().clone()
    }

    /// Waits for the checkpoint that ends a replay; returns its cursor.
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
