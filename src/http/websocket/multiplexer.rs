//! The operations of a socket, which take turns.

use std::{
    sync::Arc,
    task::{Poll, ready},
};

use async_graphql::ServerError;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};

use super::{
    super::{
        execution::{Operation, Output},
        observe::RequestId,
        response::complete_errors,
        slots::Slot,
    },
    protocol::NextEncoder,
    wake_flag::WakeFlag,
};
use crate::{domain::request::RequestRecord, events::StreamEnd};

/// An output of one of a socket's operations.
pub enum SocketOutput {
    /// The text of a `next` message, and its memory until it was sent.
    Next(String, Option<Slot>),
    /// The operation with this id was not executed.
    Error(String, Vec<ServerError>),
    /// The operation with this id is complete.
    Complete(String),
    /// A subscription ended although it is not complete.
    Interrupted(StreamEnd),
}

/// The running operations of a socket. Only those that were woken are polled.
#[derive(Default)]
pub struct Multiplexer {
    running: Vec<Running>,
    /// The index of the operation that is polled next.
    turn: usize,
}

struct Running {
    id: String,
    /// Whether it is a subscription.
    live: bool,
    encoder: NextEncoder,
    stage: Stage,
    flag: WakeFlag,
    /// What is logged of it.
    record: Arc<RequestRecord>,
    _slot: Slot,
}

enum Stage {
    Starting(BoxFuture<'static, Operation>),
    /// Replaces the future that started it: subscriptions run for long, and its memory is freed.
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
    /// Returns the number of running operations.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether an operation with this id is running.
    pub fn contains(&self, id: &str) -> bool {
        self.running.iter().any(|running| running.id == id)
    }

    /// Adds an operation that is starting, with the flag that wakes it, its record and its part of a
    /// budget. The id must be free.
    pub fn insert(
        &mut self,
        id: String,
        live: bool,
        starting: BoxFuture<'static, Operation>,
        flag: WakeFlag,
        record: Arc<RequestRecord>,
        slot: Slot,
    ) {
        let (encoder, stage) = (NextEncoder::new(&id), Stage::Starting(starting));
        self.running.push(Running { id, live, encoder, stage, flag, record, _slot: slot });
    }

    /// Records what ends all running operations, before they are dropped.
    pub fn record_end(&self, outcome: &str) {
        self.running.iter().for_each(|running| running.record.set_error(outcome));
    }

    /// Cancels the subscriptions, and records what ends them.
    pub fn end_live(&mut self, outcome: Option<&str>) {
        for running in self.running.extract_if(.., |running| running.live) {
            if let Some(outcome) = outcome {
                running.record.set_error(outcome);
            }
        }
    }

    /// Cancels the operation with this id, if it is running.
    pub fn remove(&mut self, id: &str) {
        self.running.retain(|running| running.id != id);
    }

    /// Returns the next output of any operation. The last output of an operation removes it.
    pub fn poll_next(&mut self) -> Poll<SocketOutput> {
        for _ in 0..self.running.len() {
            let index = if self.turn < self.running.len() { self.turn } else { 0 };
            let Some(running) = self.running.get_mut(index) else { break };
            self.turn = index + 1;
            if !running.flag.test_and_clear() {
                continue;
            }
            match running.poll_next() {
                Poll::Pending => {}
                Poll::Ready(Some(Output::Next { payload, memory, .. })) => {
                    // There may be more: poll it again on its next turn.
                    running.flag.set();
                    let text = running.encoder.encode(&payload);
                    return Poll::Ready(SocketOutput::Next(text, memory));
                }
                Poll::Ready(last) => {
                    let Running { id, record, .. } = self.running.remove(index);
                    self.turn = index;
                    return Poll::Ready(match last {
                        Some(Output::Error(mut errors)) => {
                            complete_errors(&mut errors, record.id().map(RequestId));
                            SocketOutput::Error(id, errors)
                        }
                        Some(Output::Interrupted(end)) => SocketOutput::Interrupted(end),
                        _ => SocketOutput::Complete(id),
                    });
                }
            }
        }
        Poll::Pending
    }
}
