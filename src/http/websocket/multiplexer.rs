//! The operations of a socket, which take turns.

use std::task::{Poll, ready};

use async_graphql::ServerError;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};

use super::{
    super::execution::{Operation, Output},
    protocol::Next,
    wake_flag::WakeFlag,
};
use crate::events::StreamEnd;

/// What an operation gives.
pub enum SocketOutput {
    /// The text of a `next` message.
    Next(String),
    /// The operation of this id was not executed.
    Error(String, Vec<ServerError>),
    /// The operation of this id has ended.
    Complete(String),
    /// A stream has ended that is not complete.
    Ended(StreamEnd),
}

/// The operations of a socket. Only those that were woken are polled.
#[derive(Default)]
pub struct Multiplexer {
    running: Vec<Running>,
    /// Whose turn it is.
    turn: usize,
}

struct Running {
    id: String,
    next: Next,
    stage: Stage,
    flag: WakeFlag,
}

enum Stage {
    Starting(BoxFuture<'static, Operation>),
    /// What starting it took is given up by then: most sockets have one for long.
    Started(Operation),
}

impl Running {
    fn poll_next(&mut self) -> Poll<Option<Output>> {
        let mut cx = self.flag.context();
        loop {
            match &mut self.stage {
                Stage::Starting(starting) => {
                    self.stage = Stage::Started(ready!(starting.poll_unpin(&mut cx)));
                }
                Stage::Started(outputs) => return outputs.poll_next_unpin(&mut cx),
            }
        }
    }
}

impl Multiplexer {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether there is one of this id.
    pub fn contains(&self, id: &str) -> bool {
        self.running.iter().any(|running| running.id == id)
    }

    /// Adds an operation that starts, whose id no other has, with the flag that wakes it.
    pub fn insert(&mut self, id: String, starting: BoxFuture<'static, Operation>, flag: WakeFlag) {
        let next = Next::of(&id);
        self.running.push(Running { id, next, stage: Stage::Starting(starting), flag });
    }

    /// Ends an operation, if there is one of this id.
    pub fn remove(&mut self, id: &str) {
        self.running.retain(|running| running.id != id);
    }

    /// What one of them gives; one that has given its last is gone.
    pub fn poll_next(&mut self) -> Poll<SocketOutput> {
        for _ in 0..self.running.len() {
            let place = if self.turn < self.running.len() { self.turn } else { 0 };
            let Some(running) = self.running.get_mut(place) else { break };
            self.turn = place + 1;
            if !running.flag.take() {
                continue;
            }
            match running.poll_next() {
                Poll::Pending => {}
                Poll::Ready(Some(Output::Next { payload, .. })) => {
                    running.flag.set();
                    return Poll::Ready(SocketOutput::Next(running.next.encode(&payload)));
                }
                Poll::Ready(last) => {
                    let id = self.running.remove(place).id;
                    self.turn = place;
                    return Poll::Ready(match last {
                        Some(Output::Error(errors)) => SocketOutput::Error(id, errors),
                        Some(Output::Ended(end)) => SocketOutput::Ended(end),
                        _ => SocketOutput::Complete(id),
                    });
                }
            }
        }
        Poll::Pending
    }
}
