//! One caller's stream: what they missed, then what happens, in the order of the
//! feed, each event once.

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::{self, Instant, Sleep};

use super::{
    EventLog, detached,
    hub::{Buffered, Continuity, ControlSignal, Hub, SubscriberBuffer, Topic},
};
use crate::{
    db::{
        DbError,
        feed::{self, ReplayScope},
        session, ticket,
    },
    domain::{
        actor::{Actor, Identity},
        clock::Timestamp,
        cursor::Cursor,
        event::{FeedEvent, SessionEffect},
        ids::TicketId,
        policy::{self, TicketScope},
        queue::TicketFilter,
    },
    metrics::{CountedStream, ReplaySource, ReplayState, StreamKind},
};

/// Events a page of a replay: what a subscription holds in memory at most.
const PAGE: usize = 200;
/// How far an inbox may lie behind and still be replayed, in positions of the feed.
const INBOX_SPAN: i64 = 100_000;
/// A quiet stream says so this often: its cursor moves on though nothing comes.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// A filter by more categories than this hears of all tickets.
const MAX_TOPICS: usize = 100;

/// What a stream is about.
#[derive(Clone, Debug)]
pub enum Scope {
    /// One ticket.
    Ticket(TicketId),
    /// Every ticket that the caller may see.
    Inbox,
    /// The tickets that fit a filter, for staff: the service has checked that they are.
    Queue(Arc<TicketFilter>),
}

impl Scope {
    fn kind(&self) -> StreamKind {
        match self {
            Self::Ticket(_) => StreamKind::Ticket,
            Self::Inbox => StreamKind::Inbox,
            Self::Queue(_) => StreamKind::Queue,
        }
    }
}

/// What a stream gives.
#[derive(Clone, Debug)]
pub enum Item {
    /// Something happened.
    Event(Arc<FeedEvent>),
    /// All up to here has been given.
    Checkpoint(Cursor),
    /// The caller may see a ticket no longer.
    AccessRevoked {
        /// The ticket.
        ticket: TicketId,
        /// The place of the event by which they lost it.
        cursor: Cursor,
    },
    /// The stream can't be continued without a gap, and ends here.
    Resync(ResyncReason),
    /// The stream ends here, and is not complete.
    Ended(StreamEnd),
}

impl Item {
    /// From where the stream goes on after this.
    pub fn cursor(&self) -> Option<Cursor> {
        match self {
            Self::Event(event) => Some(event.cursor),
            Self::Checkpoint(cursor) | Self::AccessRevoked { cursor, .. } => Some(*cursor),
            Self::Resync(_) | Self::Ended(_) => None,
        }
    }
}

/// Why a stream ended that its caller did not end and that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The session has ended, or its rights have changed.
    SessionEnded,
    /// The caller takes less than happens, by more than is kept in memory.
    FellBehind,
    /// The server failed.
    Failed,
}

/// Why a stream can't be continued without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResyncReason {
    /// The database was restored to an earlier state after the cursor was given out.
    HistoryRewound,
    /// More was missed than is replayed.
    TooFarBehind,
}

impl ResyncReason {
    /// Its name in the metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::HistoryRewound => "history_rewound",
            Self::TooFarBehind => "too_far_behind",
        }
    }
}

/// Why a stream can't begin.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// Nobody is signed in, or no longer.
    #[error("no live session")]
    Unauthenticated,
    /// There is no such ticket that the caller may see.
    #[error("no such ticket")]
    NotFound,
    /// They have to configure a second factor first.
    #[error("a second factor has to be configured first")]
    SecondFactorMissing,
    /// The cursor lies after the end of the feed.
    #[error("the cursor lies after the end of the event log")]
    CursorAhead,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A stream of one caller's events.
pub struct Subscription {
    log: EventLog,
    identity: Identity,
    expires_at: Timestamp,
    replay_scope: ReplayScope,
    filter: Option<Arc<TicketFilter>>,
    registration: Registration,
    /// The role that the session has was looked at after this position.
    authorised_at: i64,
    /// Everything up to here was given out, or was not for this caller.
    last: Cursor,
    /// Replayed and not given out yet.
    page: VecDeque<Arc<FeedEvent>>,
    phase: Phase,
    kind: StreamKind,
    /// When something was given out last.
    given_at: Instant,
    /// Wakes a quiet stream, and one whose session expires. It is not set anew for each
    /// event, only looked at again.
    quiet: Pin<Box<Sleep>>,
    counted: CountedStream,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The log is read up to this position, then the buffer.
    Replaying {
        /// The position.
        until: Cursor,
        /// Only as far as it is in memory: the stream was live, and its caller takes less
        /// than happens.
        from_memory: bool,
    },
    /// The buffer is read.
    Live,
    /// The stream can't go on.
    Resync(ResyncReason),
    /// Nothing comes any more.
    Ended,
}

/// A buffer's place in the hub, given up when it is dropped.
pub(super) struct Registration {
    hub: Arc<Hub>,
    topics: Vec<Topic>,
    buffer: Arc<SubscriberBuffer>,
}

impl Registration {
    /// Registers a buffer.
    pub(super) fn new(hub: &Arc<Hub>, topics: Vec<Topic>, buffer: Arc<SubscriberBuffer>) -> Self {
        hub.register(&topics, &buffer);
        Self { hub: Arc::clone(hub), topics, buffer }
    }

    /// The buffer.
    pub(super) fn buffer(&self) -> &SubscriberBuffer {
        &self.buffer
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.unregister(&self.topics, &self.buffer);
    }
}

impl EventLog {
    /// Begins a stream after a cursor, or with what happens from now on.
    ///
    /// # Errors
    /// Nobody is signed in; a ticket that the caller may not see; a cursor from the future;
    /// the database failed.
    pub async fn subscribe(
        &self,
        actor: &Actor,
        scope: Scope,
        after: Option<Cursor>,
    ) -> Result<Subscription, SubscribeError> {
        let identity = require_identity(actor)?;
        let buffer = Arc::new(SubscriberBuffer::default());
        let (mut topics, replay_scope) = topics_and_replay(actor, &scope)?;
        topics.push(Topic::Account(identity.id));
        let head = self.hub.register(&topics, &buffer);
        let registration = Registration { hub: Arc::clone(&self.hub), topics, buffer };

        let replaying = Phase::Replaying { until: head, from_memory: false };
        let phase = match after {
            None => replaying,
            Some(cursor) if self.hub.continuity(cursor) == Continuity::Broken => {
                Phase::Resync(ResyncReason::HistoryRewound)
            }
            // Another node may have given it out: this one just has not read so far.
            Some(cursor) if cursor.pos > head.pos && cursor.pos > self.head().await? => {
                return Err(SubscribeError::CursorAhead);
            }
            Some(cursor)
                if !matches!(scope, Scope::Ticket(_)) && head.pos - cursor.pos > INBOX_SPAN =>
            {
                Phase::Resync(ResyncReason::TooFarBehind)
            }
            Some(_) => replaying,
        };
        let last = match after {
            Some(cursor) => cursor,
            // "From now on" leaves out what was committed before and is still on its way.
            None => Cursor { pos: self.sequencer.present().await?.max(head.pos), ..head },
        };
        // Registered first, and looked at afresh last: a revocation is either seen here,
        // or comes by the buffer.
        let mut connection = self.database.read().await?;
        let live = session::live_by_id(&mut connection, identity.session, self.ambient.now())
            .await?
            .filter(|live| live.identity.role == identity.role)
            .ok_or(SubscribeError::Unauthenticated)?;
        if let Scope::Ticket(id) = scope {
            let seen = policy::ticket_scope(actor);
            if !ticket::is_in_scope(&mut connection, seen, id).await? {
                return Err(SubscribeError::NotFound);
            }
        }
        let left = (live.expires_at - self.ambient.now()).to_std().unwrap_or_default();
        Ok(Subscription {
            log: self.clone(),
            identity: live.identity,
            expires_at: live.expires_at,
            replay_scope,
            filter: match &scope {
                Scope::Queue(filter) => Some(Arc::clone(filter)),
                Scope::Ticket(_) | Scope::Inbox => None,
            },
            registration,
            authorised_at: last.pos,
            last,
            page: VecDeque::new(),
            phase,
            kind: scope.kind(),
            given_at: Instant::now(),
            quiet: Box::pin(time::sleep(CHECKPOINT_EVERY.min(left))),
            counted: self.metrics.subscriber(scope.kind()),
        })
    }
}

impl EventLog {
    /// The last position of the feed, which this node may not have read yet.
    async fn head(&self) -> Result<i64, DbError> {
        feed::head(&mut *self.database.read().await?).await
    }

    /// Whether somebody may see a ticket as it stands.
    async fn sees_ticket(self, identity: Identity, id: TicketId) -> Result<bool, DbError> {
        let scope = policy::ticket_scope(&Actor::Account(identity));
        ticket::is_in_scope(&mut *self.database.read().await?, scope, id).await
    }

    async fn replay_from_database(
        self,
        scope: ReplayScope,
        after: i64,
        until: i64,
    ) -> Result<Vec<Arc<FeedEvent>>, DbError> {
        let waiting = self.metrics.replay(ReplayState::Waiting);
        // The semaphore is never closed, so a permit always comes.
        let _permit = self.replays.acquire().await.ok();
        drop(waiting);
        let _reading = self.metrics.replay(ReplayState::Reading);
        self.metrics.replay_read(ReplaySource::Database);
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let mut connection = self.database.read().await?;
        let page = feed::replay(&mut connection, scope, after, until, limit).await?;
        Ok(page.into_iter().map(Arc::new).collect())
    }
}

fn topics_and_replay(
    actor: &Actor,
    scope: &Scope,
) -> Result<(Vec<Topic>, ReplayScope), SubscribeError> {
    let internal = policy::sees_internal(actor);
    match (scope, policy::ticket_scope(actor)) {
        (_, TicketScope::Nothing) => Err(SubscribeError::Unauthenticated),
        (Scope::Ticket(id), _) => {
            Ok((vec![Topic::Ticket(*id)], ReplayScope::Ticket { id: *id, internal }))
        }
        (Scope::Queue(_), TicketScope::Of(_)) => Err(SubscribeError::Unauthenticated),
        (Scope::Inbox, TicketScope::Of(id)) => Ok((vec![Topic::Of(id)], ReplayScope::Of(id))),
        (Scope::Inbox, TicketScope::All) => Ok((vec![Topic::AllTickets], ReplayScope::AllTickets)),
        (Scope::Queue(filter), TicketScope::All) => {
            let few = |categories: &&[_]| categories.len() <= MAX_TOPICS;
            let categories = filter.categories.as_deref().filter(few);
            let topics = categories.map_or(vec![Topic::AllTickets], |categories| {
                let own = categories.iter().copied().map(Topic::Category);
                own.chain([Topic::AnyCategory]).collect()
            });
            Ok((topics, ReplayScope::AllTickets))
        }
    }
}

impl Subscription {
    /// The next item; `None` after the stream has ended.
    ///
    /// # Errors
    /// The database failed in a replay; the stream has ended and can be resumed
    /// from its last cursor.
    pub async fn next(&mut self) -> Result<Option<Item>, DbError> {
        loop {
            if let Some(item) = self.on_signals() {
                return Ok(Some(item));
            }
            if let Some(event) = self.page.pop_front() {
                if self.has_expired() {
                    return Ok(Some(self.end_session()));
                }
                if let Some(item) = self.authorise_event(event)
                    && self.may_still_see(&item).await?
                {
                    return Ok(Some(item));
                }
                continue;
            }
            match self.phase {
                Phase::Ended => return Ok(None),
                Phase::Resync(reason) => {
                    self.log.metrics.resync(reason.label());
                    self.phase = Phase::Ended;
                    return Ok(Some(Item::Resync(reason)));
                }
                Phase::Replaying { until, from_memory } => {
                    let Some(page) = self.replay_page(until.pos, from_memory).await? else {
                        self.phase = Phase::Ended;
                        return Ok(Some(Item::Ended(StreamEnd::FellBehind)));
                    };
                    if page.is_empty() {
                        self.phase = Phase::Live;
                        if until.pos >= self.last.pos {
                            self.last = until;
                        }
                        return Ok(Some(Item::Checkpoint(self.last)));
                    }
                    self.page = page.into();
                }
                Phase::Live => {
                    if let Some(item) = self.live().await {
                        return Ok(Some(item));
                    }
                }
            }
        }
    }

    /// The next event of a replay, if it is in memory already.
    pub fn next_replayed(&mut self) -> Option<Item> {
        if !matches!(self.phase, Phase::Replaying { .. }) {
            return None;
        }
        loop {
            // Anything else is for `next`, as is what the database is asked about.
            if self.has_expired()
                || self.registration.buffer.has_signal()
                || !self.sees_for_sure(self.page.front()?)
            {
                return None;
            }
            let event = self.page.pop_front()?;
            if let Some(item) = self.authorise_event(event) {
                return Some(item);
            }
        }
    }

    /// What comes by the buffer; `None`: look again.
    async fn live(&mut self) -> Option<Item> {
        let buffer = &self.registration.buffer;
        let buffered = poll_fn(|cx| match buffer.poll_take(cx) {
            Poll::Ready(buffered) => Poll::Ready(Some(buffered)),
            Poll::Pending => self.quiet.as_mut().poll(cx).map(|()| None),
        });
        match buffered.await {
            Some(Buffered::Event(event)) => self.page.push_back(event),
            Some(Buffered::Overflowed) => {
                self.phase = Phase::Replaying { until: self.log.hub.cursor(), from_memory: true };
            }
            Some(Buffered::ControlSignal) => {}
            None => return self.keep_time(),
        }
        None
    }

    /// What there is to say when nothing has come for a while.
    fn keep_time(&mut self) -> Option<Item> {
        let left = (self.expires_at - self.log.ambient.now()).to_std().unwrap_or_default();
        if left.is_zero() {
            return Some(self.end_session());
        }
        // Read before the buffer: what lies up to here has been put in already.
        let head = self.log.hub.cursor();
        if !self.registration.buffer.is_empty() {
            return None;
        }
        let now = Instant::now();
        let is_quiet = now >= self.given_at + CHECKPOINT_EVERY;
        if is_quiet {
            self.given_at = now;
            if head.pos > self.last.pos {
                self.last = head;
            }
        }
        self.quiet.as_mut().reset((self.given_at + CHECKPOINT_EVERY).min(now + left));
        is_quiet.then_some(Item::Checkpoint(self.last))
    }

    /// Whether the session has lasted as long as it may.
    fn has_expired(&self) -> bool {
        self.log.ambient.now() >= self.expires_at
    }

    /// Ends the stream, since its session has ended or has other rights.
    fn end_session(&mut self) -> Item {
        self.log.metrics.revoked();
        self.phase = Phase::Ended;
        self.page.clear();
        Item::Ended(StreamEnd::SessionEnded)
    }

    /// What goes before any further event: the end of the session or of its rights,
    /// and a rewound feed.
    fn on_signals(&mut self) -> Option<Item> {
        if !self.registration.buffer.has_signal() || matches!(self.phase, Phase::Ended) {
            return None;
        }
        let mut revoked = false;
        while let Some(signal) = self.registration.buffer.take_signal() {
            match signal {
                ControlSignal::Account(event) => {
                    revoked |= revokes(&self.identity, self.authorised_at, &event);
                }
                ControlSignal::RewoundTo(pos) => {
                    self.page.clear();
                    self.phase = if pos < self.last.pos {
                        Phase::Resync(ResyncReason::HistoryRewound)
                    } else {
                        // What was dropped with the buffer belongs to both histories.
                        Phase::Replaying { until: self.log.hub.cursor(), from_memory: false }
                    };
                }
            }
        }
        revoked.then(|| self.end_session())
    }

    /// The one door: gives an event out if it is new, and for this caller.
    fn authorise_event(&mut self, event: Arc<FeedEvent>) -> Option<Item> {
        if event.cursor.pos <= self.last.pos {
            return None;
        }
        self.last = event.cursor;
        let matches_filter = self.filter.as_ref().is_none_or(|filter| filter.matches(&event.event));
        let seen =
            matches_filter && policy::sees_event(&Actor::Account(self.identity), &event.event);
        if !seen {
            return self.access_revoked(&event).filter(|_| matches_filter);
        }
        self.counted.delivered();
        self.given_at = Instant::now();
        Some(Item::Event(event))
    }

    /// What there is to say of an event that the caller may not see: that they may see its
    /// ticket no longer, if it is by this that they don't.
    fn access_revoked(&mut self, event: &FeedEvent) -> Option<Item> {
        let ticket = event.event.ticket()?;
        if ticket.event.removed_participant() != Some(self.identity.id) {
            return None;
        }
        self.log.metrics.revoked();
        if self.kind == StreamKind::Ticket {
            self.phase = Phase::Ended;
            self.page.clear();
        }
        Some(Item::AccessRevoked { ticket: ticket.id, cursor: event.cursor })
    }

    /// Whether nothing can keep the caller from seeing an event's ticket: they opened it, or
    /// are staff.
    fn sees_for_sure(&self, event: &FeedEvent) -> bool {
        let reporter = event.event.ticket().map(|ticket| ticket.reporter);
        self.identity.role.is_staff() || reporter == Some(self.identity.id)
    }

    /// Whether the caller may see now what they could see when it happened: somebody who
    /// took part in a ticket may do so no longer, and word of that is on its way.
    async fn may_still_see(&mut self, item: &Item) -> Result<bool, DbError> {
        let Item::Event(event) = item else { return Ok(true) };
        let Some(ticket) = event.event.ticket() else { return Ok(true) };
        if self.sees_for_sure(event) {
            return Ok(true);
        }
        let asking = self.log.clone().sees_ticket(self.identity, ticket.id);
        // Boxed: most streams never ask, and are kept small.
        let seen = Box::pin(detached(asking)).await.unwrap_or_else(panicked);
        seen.inspect_err(|_| self.phase = Phase::Ended)
    }

    /// The next events of a replay; `None` where they are to come from memory, and it
    /// doesn't reach back so far.
    async fn replay_page(
        &mut self,
        until: i64,
        from_memory: bool,
    ) -> Result<Option<Vec<Arc<FeedEvent>>>, DbError> {
        let (scope, after) = (self.replay_scope, self.last.pos);
        if after >= until {
            return Ok(Some(Vec::new()));
        }
        let page = self.log.hub.replay(scope, after, until, PAGE);
        if page.is_some() {
            self.log.metrics.replay_read(ReplaySource::Memory);
        }
        if page.is_some() || from_memory {
            return Ok(page);
        }
        // Boxed: most streams never read the database again, and are kept small.
        let reading = self.log.clone().replay_from_database(scope, after, until);
        let page = Box::pin(detached(reading)).await.unwrap_or_else(panicked);
        page.map(Some).inspect_err(|_| self.phase = Phase::Ended)
    }
}

fn panicked<T>() -> Result<T, DbError> {
    Err(DbError::Value("a read for a stream panicked".into()))
}

/// Who is asking, if they may watch anything at all.
pub(super) fn require_identity(actor: &Actor) -> Result<&Identity, SubscribeError> {
    match actor.identity() {
        None => Err(SubscribeError::Unauthenticated),
        Some(identity) if identity.confined => Err(SubscribeError::SecondFactorMissing),
        Some(identity) => Ok(identity),
    }
}

/// Whether an event about an account ends the streams of a session whose role was
/// looked at after a position.
pub(super) fn revokes(identity: &Identity, authorised_at: i64, event: &FeedEvent) -> bool {
    match event.event.account().map(|account| account.event.session_effect()) {
        Some(SessionEffect::Ended(session)) => session == identity.session,
        Some(SessionEffect::RoleChanged(role)) => {
            event.cursor.pos > authorised_at && role != identity.role
        }
        Some(SessionEffect::Unchanged) | None => false,
    }
}
