//! What each caller may use of this node at the same time: requests, websockets, streams, uploads,
//! downloads and the memory of unread answers. A caller is an account or a service token, or else a network.
//!
//! A caller's requests are accepted up to one limit and executed up to a smaller one: the others wait
//! for their turn, so that a page may send many small requests at once.
//!
//! Rates that hold on all nodes are in `service/rate_limit.rs`, connections in `connection.rs`.

use std::{net::IpAddr, time::Duration};

use async_graphql::ServerError;
use tokio::time;

use super::{
    limits::{Limits, PerCaller},
    slots::{Party, Slot, Slots},
    turns::{Share, Turn, Turns},
};
use crate::{
    domain::{actor::Actor, ids::AccountId, session::ClientOrigin},
    graphql::code,
    metrics::{Limit, Metrics},
};

/// How long a refusal of a handshake, a websocket or a request is delayed. A client that tries again
/// at once takes little time from the others.
pub const REFUSAL_DELAY: Duration = Duration::from_millis(250);

/// The largest message that does not delay those after it, in bytes.
const SMALL_MESSAGE: usize = 16_384;
/// The same for the response to a request.
const SMALL_RESPONSE: usize = 1 << 20;

/// The size of a block of memory, in bytes. The first one of each body is free.
pub const BODY_BLOCK: usize = 16 * 1024;
/// How many blocks the bodies of a network may take at the same time: 64 MiB.
const NETWORK_BODY_BLOCKS: usize = 4096;
/// How many those of an account or service token may take beyond that: 8 MiB.
const BODY_BLOCKS: PerCaller = PerCaller { customer: 512, staff: 512 };
/// How many multipart requests of a network may have begun whose files are not received yet. Each takes
/// about a megabyte.
const NETWORK_MULTIPART: usize = 100;
/// The largest response that does not count as unsent, in bytes.
const SMALL_UNSENT: usize = 64 * 1024;
/// How many bytes of responses the strangers of a network may leave unread at the same time: 64 MiB.
const NETWORK_UNSENT: usize = 64 << 20;
/// The same for an account or service token: 64 MiB and 256 MiB.
const UNSENT: PerCaller = PerCaller { customer: 64 << 20, staff: 256 << 20 };
/// How many files an account may download at the same time. Each takes a descriptor.
const DOWNLOADS: usize = 100;

/// Delays a refusal.
pub async fn delay_refusal<T>(result: Result<T, LimitReached>) -> Result<T, LimitReached> {
    if result.is_err() {
        time::sleep(REFUSAL_DELAY).await;
    }
    result
}

/// What callers use of this node.
pub struct Budgets {
    /// The limits.
    pub limits: Limits,
    metrics: Metrics,
    requests: Slots,
    turns: Turns,
    links: Slots,
    link_turns: Turns,
    message_turns: Turns,
    document_turns: Turns,
    sockets: Slots,
    streams: Slots,
    uploads: Slots,
    bodies: Slots,
    multipart: Slots,
    unsent: Slots,
    downloads: Slots,
}

/// Who follows a link.
pub enum Follower<'o> {
    /// The account that a signed link names.
    Account(AccountId),
    /// A caller of whom only the origin is known.
    Stranger(&'o ClientOrigin),
}

/// Why something is refused.
#[derive(Debug)]
pub struct LimitReached {
    /// The limit, its figure and what to do, in at most 123 bytes, which fit into a close frame.
    pub message: String,
    /// When to come back.
    pub retry_after_seconds: u32,
}

impl From<LimitReached> for ServerError {
    fn from(reached: LimitReached) -> Self {
        let mut error = Self::new(reached.message, None);
        let extensions = error.extensions.get_or_insert_default();
        extensions.set("code", code::RATE_LIMITED);
        extensions.set("retryAfterSeconds", reached.retry_after_seconds);
        error
    }
}

impl Budgets {
    /// Creates the budgets of a node on which nothing is under way.
    pub fn new(limits: Limits, metrics: Metrics) -> Self {
        Self {
            limits,
            metrics,
            requests: Slots::default(),
            turns: Turns::default(),
            links: Slots::default(),
            link_turns: Turns::default(),
            message_turns: Turns::default(),
            document_turns: Turns::default(),
            sockets: Slots::default(),
            streams: Slots::default(),
            uploads: Slots::default(),
            bodies: Slots::default(),
            multipart: Slots::default(),
            unsent: Slots::default(),
            downloads: Slots::default(),
        }
    }

    /// Takes the slot of a query or mutation.
    ///
    /// # Errors
    /// The caller has too many under way.
    pub fn request(&self, actor: &Actor, origin: &ClientOrigin) -> Result<Slot, LimitReached> {
        let max = max(actor, self.limits.requests, self.limits.anonymous_requests);
        self.requests.take(party(actor, origin), max).ok_or_else(|| self.too_many_requests(max))
    }

    fn too_many_requests(&self, max: usize) -> LimitReached {
        let message = format!("At most {max} requests run at the same time for you.");
        self.refuse(Limit::Requests, message, 1)
    }

    /// Waits until an accepted query or mutation may be executed.
    ///
    /// # Errors
    /// The caller's other requests took too long.
    pub async fn turn(&self, actor: &Actor, origin: &ClientOrigin) -> Result<Turn, LimitReached> {
        let max = self.parallel_requests(actor);
        self.within_turn_time(max, self.turns.take(party(actor, origin), max, share(actor))).await
    }

    async fn within_turn_time(
        &self,
        max: usize,
        turn: impl Future<Output = Turn>,
    ) -> Result<Turn, LimitReached> {
        time::timeout(self.limits.turn_time, turn).await.map_err(|_| {
            let message = format!("Your {max} earlier requests take too long.");
            self.refuse(Limit::Requests, message, 1)
        })
    }

    /// Takes the slot of a request by a link and waits for its turn, among those by links of the same
    /// account, or else of the caller's network. Whether the account is staff is not known yet, so as
    /// many run at the same time as of a customer, and as many may wait as of staff.
    ///
    /// # Errors
    /// Too many are under way, or they took too long.
    pub async fn link(&self, follower: Follower<'_>) -> Result<(Slot, Turn), LimitReached> {
        let limits = &self.limits;
        let (party, max, parallel, share) = match follower {
            Follower::Account(id) => {
                let (max, parallel) = (limits.requests.staff, limits.parallel_requests.customer);
                (Party::Account(id), max, parallel, Share::Request)
            }
            Follower::Stranger(origin) => {
                let (max, parallel) =
                    (limits.anonymous_requests, limits.anonymous_parallel_requests);
                (Party::Network(origin.network()), max, parallel, Share::Core)
            }
        };
        let slot = self.links.take(party, max).ok_or_else(|| self.too_many_requests(max))?;
        let turn = self.link_turns.take(party, parallel, share);
        Ok((slot, self.within_turn_time(parallel, turn).await?))
    }

    /// Waits until a caller's stream may start, or a message of it be executed: half as many at the
    /// same time as requests, which don't wait for them.
    pub async fn message_turn(&self, actor: &Actor, origin: &ClientOrigin) -> Turn {
        let max = self.parallel_messages(actor);
        self.message_turns.take(party(actor, origin), max, share(actor)).await
    }

    /// Returns such a turn if the caller need not wait for it.
    pub fn try_message_turn(&self, actor: &Actor, origin: &ClientOrigin) -> Option<Turn> {
        let max = self.parallel_messages(actor);
        self.message_turns.try_take(party(actor, origin), max, share(actor))
    }

    /// Waits until a document that came over a websocket may be read: one of the caller at a time, on
    /// any number of sockets.
    pub async fn document_turn(&self, actor: &Actor, origin: &ClientOrigin) -> Turn {
        self.document_turns.take(party(actor, origin), 1, share(actor)).await
    }

    fn parallel_messages(&self, actor: &Actor) -> usize {
        self.parallel_requests(actor).div_ceil(2)
    }

    fn parallel_requests(&self, actor: &Actor) -> usize {
        let Limits { parallel_requests, anonymous_parallel_requests, .. } = self.limits;
        max(actor, parallel_requests, anonymous_parallel_requests)
    }

    /// Holds the turn of a message of this size for as long as a customer's next message waits.
    pub fn hold_message(&self, turn: Turn, actor: &Actor, bytes: usize) {
        if bytes > SMALL_MESSAGE {
            self.hold(turn, actor, bytes);
        }
    }

    /// Holds the turn of a response of this size for as long as a customer's next request waits.
    pub fn hold_response(&self, turn: impl Send + 'static, actor: &Actor, bytes: usize) {
        if bytes > SMALL_RESPONSE {
            self.hold(turn, actor, bytes);
        }
    }

    fn hold(&self, turn: impl Send + 'static, actor: &Actor, bytes: usize) {
        if is_customer(actor) {
            let time = Duration::from_secs_f64(bytes as f64 / self.limits.customer_rate as f64);
            tokio::spawn(async move {
                time::sleep(time).await;
                drop(turn);
            });
        }
    }

    /// Takes the slot of a websocket.
    ///
    /// # Errors
    /// The caller has too many open.
    pub fn socket(&self, actor: &Actor, origin: &ClientOrigin) -> Result<Slot, LimitReached> {
        let max = max(actor, self.limits.sockets, self.limits.anonymous_sockets);
        self.sockets.take(party(actor, origin), max).ok_or_else(|| {
            let message = format!("You may open at most {max} websockets. Close one first.");
            self.refuse(Limit::Sockets, message, 10)
        })
    }

    /// Takes the slot of a stream.
    ///
    /// # Errors
    /// The caller has too many open.
    pub fn stream(&self, actor: &Actor, origin: &ClientOrigin) -> Result<Slot, LimitReached> {
        let max = max(actor, self.limits.streams, self.limits.anonymous_requests);
        self.streams.take(party(actor, origin), max).ok_or_else(|| {
            let message = format!("You may open at most {max} streams. Complete one first.");
            self.refuse(Limit::Streams, message, 10)
        })
    }

    /// Takes the slots of a request whose files are about to be received: one of the caller, and
    /// one of the node, which bounds the memory of all uploads.
    ///
    /// # Errors
    /// The caller or the node receives too many.
    pub fn upload(&self, actor: &Actor, origin: &ClientOrigin) -> Result<[Slot; 2], LimitReached> {
        let Limits { uploads, uploads_per_account, .. } = self.limits;
        let own =
            self.uploads.take(party(actor, origin), uploads_per_account).ok_or_else(|| {
                let message =
                    format!("You may upload at most {uploads_per_account} times at once.");
                self.refuse(Limit::Uploads, message, 10)
            })?;
        let shared = self.uploads.take(Party::Everybody, uploads).ok_or_else(|| {
            let message = format!("The server receives at most {uploads} uploads at once.");
            self.refuse(Limit::Uploads, message, 10)
        })?;
        Ok([own, shared])
    }

    /// Takes a block of memory for a body. `actor` is anonymous as long as its sender is not known.
    /// Returns `None` if the caller's bodies take too much.
    pub fn body_block(&self, actor: &Actor, origin: &ClientOrigin) -> Option<Slot> {
        let max = max(actor, BODY_BLOCKS, NETWORK_BODY_BLOCKS);
        self.bodies.take(party(actor, origin), max)
    }

    /// Refuses a body for which there is no block.
    pub fn refuse_body(&self) -> LimitReached {
        let message = "You or others in your network send too many large requests at once.";
        self.refuse(Limit::Requests, message.to_owned(), 1)
    }

    /// Takes the slot of a multipart request that begins. `actor` is anonymous as long as its sender is
    /// not known. Returns `None` if the caller has begun too many.
    pub fn multipart(&self, actor: &Actor, origin: &ClientOrigin) -> Option<Slot> {
        let own = self.limits.uploads_per_account;
        let max = max(actor, PerCaller { customer: own, staff: own }, NETWORK_MULTIPART);
        self.multipart.take(party(actor, origin), max)
    }

    /// Refuses a multipart request for which there is no slot.
    pub fn refuse_multipart(&self) -> LimitReached {
        let message = "You or others in your network begin too many uploads at once.";
        self.refuse(Limit::Uploads, message.to_owned(), 1)
    }

    /// Takes the memory of a response until it was sent. Returns `None` if it is small. The result of a
    /// mutation is sent in any case.
    ///
    /// # Errors
    /// The caller leaves too much unread.
    pub fn unsent(
        &self,
        actor: &Actor,
        network: Option<IpAddr>,
        bytes: usize,
        is_mutation: bool,
    ) -> Result<Option<Slot>, LimitReached> {
        if bytes <= SMALL_UNSENT {
            return Ok(None);
        }
        let party = party_in(actor, network);
        if is_mutation {
            return Ok(Some(self.unsent.take_in_any_case(party, bytes)));
        }
        let taken = self.unsent.take_many(party, bytes, max(actor, UNSENT, NETWORK_UNSENT));
        taken.map(Some).ok_or_else(|| {
            let message = match actor {
                Actor::Anonymous => "You or others in your network leave too many answers unread.",
                _ => "Too many large answers are unread, or came over websockets that are open.",
            };
            self.refuse(Limit::Requests, message.to_owned(), 10)
        })
    }

    /// Takes the slot of a download by the links of an account.
    ///
    /// # Errors
    /// The account has too many under way.
    pub fn download(&self, account: AccountId) -> Result<Slot, LimitReached> {
        self.downloads.take(Party::Account(account), DOWNLOADS).ok_or_else(|| {
            let message = format!("You may download at most {DOWNLOADS} files at the same time.");
            self.refuse(Limit::Requests, message, 10)
        })
    }

    fn refuse(&self, limit: Limit, reason: String, retry_after_seconds: u32) -> LimitReached {
        self.metrics.refused(limit);
        let unit = if retry_after_seconds == 1 { "second" } else { "seconds" };
        let message = format!("{reason} Try again in {retry_after_seconds} {unit}.");
        LimitReached { message, retry_after_seconds }
    }
}

fn party(actor: &Actor, origin: &ClientOrigin) -> Party {
    party_in(actor, origin.network())
}

fn party_in(actor: &Actor, network: Option<IpAddr>) -> Party {
    match actor {
        Actor::Account(identity) => Party::Account(identity.id),
        Actor::Machine(machine) => Party::Token(machine.token),
        Actor::Anonymous | Actor::System => Party::Network(network),
    }
}

/// Staff wait for no slow search of their own.
fn share(actor: &Actor) -> Share {
    if is_customer(actor) { Share::Request } else { Share::Core }
}

fn is_customer(actor: &Actor) -> bool {
    actor.identity().is_some_and(|identity| !identity.role.is_staff())
}

fn max(actor: &Actor, signed_in: PerCaller, anonymous: usize) -> usize {
    match actor {
        _ if is_customer(actor) => signed_in.customer,
        Actor::Account(_) | Actor::Machine(_) => signed_in.staff,
        Actor::Anonymous | Actor::System => anonymous,
    }
}
