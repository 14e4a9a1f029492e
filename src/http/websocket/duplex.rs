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
    protocol::{BAD_FRAME, BAD_TEXT, Closing, TOO_BIG},
    wake_flag::{WakeFlag, WakeFlags},
};

/// Operations give nothing more while so many bytes wait for the client.
const ROOM: usize = 256 * 1024;
/// Nothing is read from a client that has so many bytes waiting: it asks for more
/// than it takes.
const MOST: usize = 2 * ROOM;
/// So many answers to pings wait at most.
const MOST_PONGS: usize = 64;
/// How long a client may take to take the close frame.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to answer it.
const HANG_UP_WITHIN: Duration = Duration::from_secs(2);

/// What comes from the client.
pub enum Received {
    /// A message.
    Message(Message),
    /// Nothing yet, but there is room again, or the client has ceased to take anything.
    Nothing,
    /// Something that breaks RFC 6455 or a limit.
    Broken(Closing),
    /// It is gone.
    Gone,
}

/// A socket and what waits to be written to it.
pub struct Duplex {
    socket: WebSocket,
    /// Answers to pings, and pings of ours: they go before everything else.
    control: VecDeque<Message>,
    queue: VecDeque<Message>,
    queued: usize,
    unflushed: bool,
    /// Since when the client has taken nothing of what waits.
    blocked_since: Option<Instant>,
    flags: WakeFlags,
    /// That of what comes from the client: each attempt to read clears a buffer first.
    incoming: WakeFlag,
}

impl Duplex {
    /// Wraps a socket.
    pub fn new(socket: WebSocket) -> Self {
        let flags = WakeFlags::default();
        Self {
            socket,
            incoming: flags.new_flag(),
            flags,
            control: VecDeque::new(),
            queue: VecDeque::new(),
            queued: 0,
            unflushed: false,
            blocked_since: None,
        }
    }

    /// Whether there is room for what operations give.
    pub fn has_room(&self) -> bool {
        self.queued < ROOM
    }

    /// Since when the client has taken nothing of what waits for it.
    pub fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// Adds a message to what is to be written.
    pub fn push(&mut self, text: String) {
        self.queued += text.len();
        self.queue.push_back(Message::Text(text.into()));
    }

    /// Adds a message that goes before all that waits.
    pub fn push_control(&mut self, message: Message) {
        self.control.push_back(message);
    }

    /// What comes next. Writes in the meantime what it can.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let (had_room, was_blocked) = (self.has_room(), self.blocked_since.is_some());
        if let Poll::Ready(Err(())) = self.poll_write(cx) {
            return Poll::Ready(Received::Gone);
        }
        // Read before anything else is said: a client that is slow to take is received too.
        let reads = self.queued < MOST && self.control.len() < MOST_PONGS;
        self.flags.register(cx);
        if reads
            && self.incoming.take()
            && let Poll::Ready(received) =
                Pin::new(&mut self.socket).poll_next(&mut self.incoming.context())
        {
            self.incoming.set();
            return Poll::Ready(match received {
                Some(Ok(message)) => Received::Message(message),
                Some(Err(error)) => broken(error).map_or(Received::Gone, Received::Broken),
                None => Received::Gone,
            });
        }
        let has_ceased = self.blocked_since.is_some() && !was_blocked;
        if has_ceased || (self.has_room() && !had_room) {
            return Poll::Ready(Received::Nothing);
        }
        Poll::Pending
    }

    /// Sends the close frame instead of all that waits; `None` where the client does not
    /// take it.
    pub async fn close(mut self, Closing { code, reason }: Closing) -> Option<Self> {
        self.control.clear();
        self.queue = VecDeque::new();
        self.queued = 0;
        let frame = CloseFrame { code, reason: reason.as_ref().into() };
        self.push_control(Message::Close(Some(frame)));
        let written = poll_fn(|cx| self.poll_write(cx));
        matches!(time::timeout(CLOSE_WITHIN, written).await, Ok(Ok(()))).then_some(self)
    }

    /// Waits a while until both sides have closed: what the client still sends is read, so
    /// that it hears of our close frame and not of a reset.
    pub async fn drain(mut self) {
        let drain = async {
            while let Received::Message(_) | Received::Nothing =
                poll_fn(|cx| self.poll_receive(cx)).await
            {}
        };
        let _ = time::timeout(HANG_UP_WITHIN, drain).await;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let written = self.poll_write_all(cx);
        match written {
            Poll::Pending if self.blocked_since.is_none() => {
                self.blocked_since = Some(Instant::now());
            }
            Poll::Pending => {}
            Poll::Ready(_) => self.blocked_since = None,
        }
        written
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        while !self.control.is_empty() || !self.queue.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(|_| ())?;
            if self.blocked_since.is_some() {
                self.blocked_since = Some(Instant::now());
            }
            let message = self.control.pop_front().or_else(|| {
                let message = self.queue.pop_front()?;
                self.queued -= length(&message);
                Some(message)
            });
            if let Some(message) = message {
                self.unflushed = true;
                Pin::new(&mut self.socket).start_send(message).map_err(|_| ())?;
            }
        }
        if self.queue.capacity() > MOST_PONGS {
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

/// How a socket is closed that could not be read; `None` where nobody is there.
fn broken(error: axum::Error) -> Option<Closing> {
    use tungstenite::{Error, error::ProtocolError};
    match error.into_inner().downcast_ref::<Error>()? {
        Error::Capacity(_) => Some(TOO_BIG),
        Error::Utf8(_) => Some(BAD_TEXT),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(BAD_FRAME),
        _ => None,
    }
}
