//! A socket that is read while a write is under way.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{Sink as _, Stream as _};
use tokio::time::{self, Instant};
use tokio_tungstenite::tungstenite;

use super::{
    super::{connection::Traffic, slots::Slot},
    protocol::CloseReason,
    wake_flag::{TaskWaker, WakeFlag},
};

/// Operations are not polled while this many bytes or more are queued for the client.
const QUEUE_FULL: usize = 256 * 1024;
/// The client's messages are not read while this many bytes or more are queued for it: it asks
/// for more than it reads.
const PAUSE_READING: usize = 2 * QUEUE_FULL;
/// The same for the number of queued control messages, most of them answers to pings.
const MAX_CONTROL_MESSAGES: usize = 64;
/// The memory of an empty queue is freed if it had room for more messages than this.
const MAX_IDLE_CAPACITY: usize = 64;
/// How long a client may take to accept the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to answer the close frame.
const CLOSE_REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// Something that happened to a socket.
pub enum SocketEvent {
    /// The client sent a message.
    Message(Message),
    /// The queue has room again, or the client has stopped reading.
    QueueChanged,
    /// The client breaks RFC 6455 or a limit.
    Violation(CloseReason),
    /// The connection is lost.
    Disconnected,
}

/// A socket, and the messages that are queued for its client.
pub struct Duplex {
    socket: WebSocket,
    /// Control messages, which are sent before everything else.
    control: VecDeque<Message>,
    /// Messages, and the memory of those that are counted.
    queue: VecDeque<(Message, Option<Slot>)>,
    /// The memory of the largest message that was written: the socket's buffer does not shrink.
    buffer: Option<Slot>,
    /// The bytes in `queue`.
    queued: usize,
    unflushed: bool,
    traffic: Traffic,
    /// How many it had accepted when it was last blocked.
    accepted_before: u64,
    /// How many had arrived from it when it became a websocket.
    arrived_before: u64,
    /// When the client last accepted something, if messages wait for it.
    blocked_since: Option<Instant>,
    task: TaskWaker,
    /// Set when the client may have sent something. Reading is not attempted otherwise, since
    /// each attempt clears a buffer first.
    readable: WakeFlag,
}

impl Duplex {
    /// Wraps a socket.
    pub fn new(socket: WebSocket, traffic: Traffic) -> Self {
        let task = TaskWaker::default();
        Self {
            socket,
            readable: task.new_flag(),
            task,
            control: VecDeque::new(),
            queue: VecDeque::new(),
            buffer: None,
            queued: 0,
            unflushed: false,
            arrived_before: traffic.arrived(),
            traffic,
            accepted_before: 0,
            blocked_since: None,
        }
    }

    /// Whether there is room for the outputs of operations.
    pub fn has_room(&self) -> bool {
        self.queued < QUEUE_FULL
    }

    /// Whether everything that was queued is written.
    pub fn is_written(&self) -> bool {
        self.control.is_empty() && self.queue.is_empty() && !self.unflushed
    }

    /// Returns since when the client has accepted nothing of what is queued for it, or `None`
    /// if it is not behind.
    pub fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// Returns how many bytes have arrived from the client, also of a message that is not complete.
    pub fn arrived(&self) -> u64 {
        self.traffic.arrived() - self.arrived_before
    }

    /// Queues a message.
    pub fn push(&mut self, text: String) {
        self.push_counted(text, None);
    }

    /// Queues a message whose memory is counted.
    pub fn push_counted(&mut self, text: String, memory: Option<Slot>) {
        self.queued += text.len();
        self.queue.push_back((Message::Text(text.into()), memory));
    }

    /// Queues a message that is sent before everything else.
    pub fn push_control(&mut self, message: Message) {
        self.control.push_back(message);
    }

    /// Writes what the client accepts, and waits for the next event.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        let (had_room, was_blocked) = (self.has_room(), self.blocked_since.is_some());
        if let Poll::Ready(Err(())) = self.poll_write(cx) {
            return Poll::Ready(SocketEvent::Disconnected);
        }
        // Messages go before the state of the queue: a slow client is listened to as well.
        let may_read = self.queued < PAUSE_READING && self.control.len() < MAX_CONTROL_MESSAGES;
        self.task.register(cx);
        if may_read
            && self.readable.test_and_clear()
            && let Poll::Ready(message) =
                Pin::new(&mut self.socket).poll_next(&mut self.readable.context())
        {
            self.readable.set();
            return Poll::Ready(match message {
                Some(Ok(message)) => SocketEvent::Message(message),
                Some(Err(error)) => {
                    violation(error).map_or(SocketEvent::Disconnected, SocketEvent::Violation)
                }
                None => SocketEvent::Disconnected,
            });
        }
        let is_newly_blocked = self.blocked_since.is_some() && !was_blocked;
        if is_newly_blocked || (self.has_room() && !had_room) {
            return Poll::Ready(SocketEvent::QueueChanged);
        }
        Poll::Pending
    }

    /// Sends a close frame instead of everything queued. Returns `None` if the client does not
    /// accept it.
    pub async fn close(mut self, CloseReason { code, text }: CloseReason) -> Option<Self> {
        self.control.clear();
        self.queue = VecDeque::new();
        self.queued = 0;
        let frame = CloseFrame { code, reason: text.as_ref().into() };
        self.push_control(Message::Close(Some(frame)));
        let written = poll_fn(|cx| self.poll_write(cx));
        matches!(time::timeout(CLOSE_TIMEOUT, written).await, Ok(Ok(()))).then_some(self)
    }

    /// Waits a moment for the client's close frame. Anything it still sends is read and discarded:
    /// closed with unread data, the connection would be reset, and the client might not see
    /// the server's close frame.
    pub async fn wait_for_close(mut self) {
        let closed = async {
            while let SocketEvent::Message(_) | SocketEvent::QueueChanged =
                poll_fn(|cx| self.poll_event(cx)).await
            {}
        };
        let _ = time::timeout(CLOSE_REPLY_TIMEOUT, closed).await;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let written = self.poll_write_all(cx);
        if written.is_ready() {
            self.blocked_since = None;
            return written;
        }
        // A part of a large message is progress too.
        let accepted = self.traffic.accepted();
        if self.blocked_since.is_none() || accepted != self.accepted_before {
            self.blocked_since = Some(Instant::now());
            self.accepted_before = accepted;
        }
        written
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        while !self.control.is_empty() || !self.queue.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(|_| ())?;
            let message = self.control.pop_front().or_else(|| {
                let (message, memory) = self.queue.pop_front()?;
                self.queued -= length(&message);
                let size = |memory: &Option<Slot>| memory.as_ref().map_or(0, Slot::count);
                if size(&memory) > size(&self.buffer) {
                    self.buffer = memory;
                }
                Some(message)
            });
            if let Some(message) = message {
                self.unflushed = true;
                Pin::new(&mut self.socket).start_send(message).map_err(|_| ())?;
            }
        }
        if self.queue.capacity() > MAX_IDLE_CAPACITY {
            self.queue = VecDeque::new();
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(|_| ())?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn length(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        _ => 0,
    }
}

/// Returns why a socket is closed that could not be read, or `None` if the connection is lost.
fn violation(error: axum::Error) -> Option<CloseReason> {
    use tungstenite::{Error, error::ProtocolError};
    match error.into_inner().downcast_ref::<Error>()? {
        Error::Capacity(_) => Some(CloseReason::TOO_BIG),
        Error::Utf8(_) => Some(CloseReason::BAD_TEXT),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseReason::BAD_FRAME),
        _ => None,
    }
}
