//! The responses that subscribers share, of all groups together. They are bounded by their bytes
//! and by their age, however many groups and events there are.

use std::{
    collections::{HashMap, VecDeque},
    mem::Discriminant,
    sync::{Arc, Weak},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};

use super::super::turns::Turn;
use crate::{
    domain::{cursor::Cursor, redaction::SHARED_MESSAGE_MAX_AGE as MAX_AGE},
    events::Item,
    metrics::Metrics,
};

/// What a response counts in addition to its encoded bytes.
const OVERHEAD: usize = 512;

/// The shared responses of a node. Clones share them.
#[derive(Clone)]
pub struct ResponseCache(Arc<Mutex<Responses>>);

/// The message that a response is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResponseKey {
    /// The number of the group.
    pub group: u64,
    /// The cursor of the message.
    pub cursor: Cursor,
    /// An event, a checkpoint and a revocation can have the same cursor.
    pub kind: Discriminant<Item>,
}

/// The execution of a response.
pub type Execution = BoxFuture<'static, Result<Arc<str>, Unshareable>>;

/// A response that is complete or being executed. Every subscriber that waits for it polls its
/// execution, so one that is not polled, because its client does not read, delays no other.
#[derive(Clone)]
pub struct SharedResponse {
    /// The response.
    pub execution: Shared<Execution>,
    /// The turn that the execution waited for when it began.
    wanted: Option<Arc<WantedTurn>>,
}

/// A turn that an execution waits for. Each subscriber that waits for the response may give its own,
/// so that none waits for the other messages of the first one.
pub struct WantedTurn(Mutex<Option<oneshot::Sender<Turn>>>);

impl WantedTurn {
    /// Returns a wanted turn, and the one that is given.
    pub fn new() -> (Self, oneshot::Receiver<Turn>) {
        let (sender, given) = oneshot::channel();
        (Self(Mutex::new(Some(sender))), given)
    }

    /// Gives a turn, if it is still wanted.
    pub fn give(&self, turn: Turn) {
        let sender = self.0.lock().take();
        if let Some(sender) = sender {
            // If nobody waits for the response any more, the turn ends here.
            drop(sender.send(turn));
        }
    }
}

impl SharedResponse {
    /// Returns the turn that the execution waits for. `None` if it waits for none.
    pub fn wanted(&self) -> Option<&Arc<WantedTurn>> {
        self.wanted.as_ref().filter(|wanted| wanted.0.lock().is_some())
    }
}

/// Why an execution has no response for later subscribers.
#[derive(Clone)]
pub enum Unshareable {
    /// The item yields no message.
    NoMessage,
    /// The response has errors.
    Errors(Arc<str>),
    /// The server failed, with this code.
    Failed(&'static str),
}

struct Responses {
    max_bytes: usize,
    bytes: usize,
    cached: HashMap<ResponseKey, CachedResponse>,
    /// The keys in the order of their executions. A key whose response was removed stays until it
    /// expires.
    order: VecDeque<(Instant, ResponseKey)>,
    /// Whether a task removes what expires.
    is_swept: bool,
    metrics: Metrics,
}

struct CachedResponse {
    started_at: Instant,
    bytes: usize,
    response: SharedResponse,
}

impl ResponseCache {
    /// Creates a cache that holds at most this many bytes.
    pub fn new(max_bytes: usize, metrics: Metrics) -> Self {
        Self(Arc::new(Mutex::new(Responses {
            max_bytes,
            bytes: 0,
            cached: HashMap::new(),
            order: VecDeque::new(),
            is_swept: false,
            metrics,
        })))
    }

    /// Returns the response for a key: a cached one younger than [`MAX_AGE`], or the one that
    /// `execute` begins.
    pub fn get_or_execute(
        &self,
        key: ResponseKey,
        execute: impl FnOnce() -> (Execution, Option<WantedTurn>),
    ) -> SharedResponse {
        let mut responses = self.0.lock();
        let now = Instant::now();
        if let Some(cached) = responses.cached.get(&key)
            && now < cached.started_at + MAX_AGE
        {
            return cached.response.clone();
        }
        let ((running, wanted), cache) = (execute(), Arc::downgrade(&self.0));
        let counted = async move {
            let result = running.await;
            if let (Ok(payload), Some(cache)) = (&result, cache.upgrade()) {
                let removed = cache.lock().complete(&key, now, payload.len());
                drop(removed);
            }
            result
        };
        let execution = counted.boxed().shared();
        let response = SharedResponse { execution, wanted: wanted.map(Arc::new) };
        let removed = responses.insert(key, now, response.clone());
        let sweep = !std::mem::replace(&mut responses.is_swept, true);
        drop(responses);
        // Dropped without the lock: executions may be among them.
        drop(removed);
        if sweep {
            tokio::spawn(sweep_expired(Arc::downgrade(&self.0)));
        }
        response
    }

    /// Removes a response. Subscribers that wait for it already still receive it.
    pub fn remove(&self, key: &ResponseKey, response: &SharedResponse) {
        let removed = self
            .0
            .lock()
            .remove_if(key, |cached| cached.response.execution.ptr_eq(&response.execution));
        drop(removed);
    }
}

/// Removes expired responses until none is left, although nobody asks for them.
async fn sweep_expired(cache: Weak<Mutex<Responses>>) {
    loop {
        time::sleep(MAX_AGE).await;
        let Some(cache) = cache.upgrade() else { return };
        let mut responses = cache.lock();
        let removed = responses.remove_expired(Instant::now());
        let is_done = responses.order.is_empty();
        responses.is_swept = !is_done;
        drop(responses);
        drop(removed);
        if is_done {
            return;
        }
    }
}

/// Each of these returns the removed responses, to be dropped without the lock.
impl Responses {
    fn insert(
        &mut self,
        key: ResponseKey,
        now: Instant,
        response: SharedResponse,
    ) -> Vec<CachedResponse> {
        let mut removed = self.remove_expired(now);
        removed.extend(self.remove_if(&key, |_| true));
        self.cached.insert(key, CachedResponse { started_at: now, bytes: OVERHEAD, response });
        self.order.push_back((now, key));
        self.bytes += OVERHEAD;
        removed.extend(self.make_room());
        removed
    }

    /// Counts the bytes of the response whose execution began at `started_at`.
    fn complete(
        &mut self,
        key: &ResponseKey,
        started_at: Instant,
        bytes: usize,
    ) -> Vec<CachedResponse> {
        let Some(cached) = self.cached.get_mut(key).filter(|it| it.started_at == started_at) else {
            return vec![];
        };
        cached.bytes += bytes;
        self.bytes += bytes;
        self.make_room()
    }

    /// Removes the oldest responses until the rest is within the limit.
    fn make_room(&mut self) -> Vec<CachedResponse> {
        let mut removed = Vec::new();
        while self.bytes > self.max_bytes
            && let Some((started_at, key)) = self.order.pop_front()
        {
            removed.extend(self.remove_if(&key, |cached| cached.started_at == started_at));
        }
        self.metrics.set_shared_response_bytes(self.bytes);
        removed
    }

    fn remove_expired(&mut self, now: Instant) -> Vec<CachedResponse> {
        let mut removed = Vec::new();
        while let Some(&(started_at, key)) = self.order.front()
            && started_at + MAX_AGE <= now
        {
            self.order.pop_front();
            removed.extend(self.remove_if(&key, |cached| cached.started_at == started_at));
        }
        removed
    }

    fn remove_if(
        &mut self,
        key: &ResponseKey,
        condition: impl FnOnce(&CachedResponse) -> bool,
    ) -> Option<CachedResponse> {
        if !self.cached.get(key).is_some_and(condition) {
            return None;
        }
        let removed = self.cached.remove(key)?;
        self.bytes -= removed.bytes;
        self.metrics.set_shared_response_bytes(self.bytes);
        Some(removed)
    }
}
