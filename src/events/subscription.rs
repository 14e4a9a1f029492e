//! One caller's live stream of events.
//!
//! A stream first replays the events that its caller missed, and then delivers those in its buffer,
//! in the order of the feed and each once. It begins to replay again if its buffer overflows.

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use tokio::time::{self, Instant, Sleep};

use super::{
    buffer::{Buffered, ControlSignal},
    continuity::resync_after_rewind,
    error::SubscribeError,
    item::{CHECKPOINT_INTERVAL, Item, ResyncReason, StreamEnd},
    log::EventLog,
    registration::Registration,
    scope::StreamScope,
    session::{StreamSession, require_identity},
    task::detached_read,
    topic::Topic,
};
use crate::{
    db::{Connection, DbError, feed::ReplayScope, ticket},
    domain::{
        actor::{Actor, Identity},
        cursor::Cursor,
        event::FeedEvent,
        ids::TicketId,
        policy,
        ticket_filter::TicketFilter,
    },
    metrics::{CountedStream, StreamKind},
};

/// A stream of events for one caller.
pub struct Subscription {
    log: EventLog,
    session: StreamSession,
    kind: StreamKind,
    replay_scope: ReplayScope,
    filter: Option<Arc<TicketFilter>>,
    registration: Registration,
    phase: Phase,
    /// Every event up to here was delivered or is not for the caller.
    position: Cursor,
    /// Events that were replayed or taken from the buffer, and not delivered yet.
    pending: VecDeque<Arc<FeedEvent>>,
    /// When an event or a timed checkpoint was last delivered.
    delivered_at: Instant,
    /// Wakes the stream when a checkpoint may be due and when the session expires. Events do not
    /// reset it: when it fires, `delivered_at` tells whether the stream was quiet.
    timer: Pin<Box<Sleep>>,
    counted: CountedStream,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The stream replays the log up to a position.
    Replaying {
        /// The position.
        until: Cursor,
        /// Whether to replay from memory only. Set for a live stream whose buffer has overflowed:
        /// if the events are no longer in memory, the caller reads too slowly.
        memory_only: bool,
    },
    /// The stream delivers the events in its buffer.
    Live,
    /// The stream cannot continue without a gap.
    Resync(ResyncReason),
    /// The stream has ended.
    Ended,
}

impl EventLog {
    /// Begins a stream of events: after a cursor, or from now on. For a queue, the caller must
    /// have been authorised.
    ///
    /// # Errors
    /// The actor is not signed in, must configure a second factor, or may not see the ticket; the
    /// cursor is beyond the end of the feed; the database failed.
    pub async fn subscribe(
        &self,
        actor: &Actor,
        scope: StreamScope,
        after: Option<Cursor>,
    ) -> Result<Subscription, SubscribeError> {
        let identity = require_identity(actor)?;
        let (mut topics, replay_scope) = scope.sources(actor)?;
        topics.push(Topic::Account(identity.id));
        // Registered first and authorised last, so that a revocation is either read or received.
        let (registration, head) = Registration::new(&self.hub, topics);
        let kind = scope.kind();
        let (position, phase) = self.starting_point(kind, after, head).await?;
        let session = self.authorise_subscription(identity, &scope, position.pos).await?;
        let left = session.time_left(self.ambient.now());
        Ok(Subscription {
            log: self.clone(),
            session,
            kind,
            replay_scope,
            filter: scope.filter().cloned(),
            registration,
            phase,
            position,
            pending: VecDeque::new(),
            delivered_at: Instant::now(),
            timer: Box::pin(time::sleep(CHECKPOINT_INTERVAL.min(left))),
            counted: self.metrics.subscriber(kind),
        })
    }

    /// Returns the position and the phase in which a stream begins. Its buffer receives the events
    /// after `head`.
    async fn starting_point(
        &self,
        kind: StreamKind,
        after: Option<Cursor>,
        head: Cursor,
    ) -> Result<(Cursor, Phase), SubscribeError> {
        let replaying = Phase::Replaying { until: head, memory_only: false };
        let Some(after) = after else {
            // Skips the events that are committed but not published yet: they happened before now.
            let pos = self.sequencer.catch_up().await?.max(head.pos);
            return Ok((Cursor { pos, ..head }, replaying));
        };
        let resync = self.check_continuity(kind, after, head.pos).await?;
        Ok((after, resync.map_or(replaying, Phase::Resync)))
    }

    /// Checks that the session is live, and that the caller may see the ticket of a ticket's stream.
    async fn authorise_subscription(
        &self,
        identity: &Identity,
        scope: &StreamScope,
        authorised_at: i64,
    ) -> Result<StreamSession, SubscribeError> {
        let (mut connection, now) = (self.database.read().await?, self.ambient.now());
        let session =
            StreamSession::authorise(&mut connection, identity, now, authorised_at).await?;
        if let StreamScope::Ticket(id) = *scope
            && !sees_ticket(&mut connection, *identity, id).await?
        {
            return Err(SubscribeError::NotFound);
        }
        Ok(session)
    }
}

/// Returns whether a caller may see a ticket in its current state.
async fn sees_ticket(
    db: &mut Connection,
    identity: Identity,
    id: TicketId,
) -> Result<bool, DbError> {
    let scope = policy::ticket_scope(&Actor::Account(identity));
    ticket::is_in_scope(db, scope, id).await
}

impl Subscription {
    /// Waits for the next item. Returns `None` after the stream has ended.
    ///
    /// # Errors
    /// The database failed. The stream has ended, and can be resumed after its last cursor.
    pub async fn next(&mut self) -> Result<Option<Item>, DbError> {
        loop {
            if let Some(item) = self.process_signals() {
                return Ok(Some(item));
            }
            let item = if let Some(event) = self.pending.pop_front() {
                self.deliver(event).await?
            } else {
                match self.phase {
                    Phase::Ended => return Ok(None),
                    Phase::Resync(reason) => Some(self.resync(reason)),
                    Phase::Replaying { until, memory_only } => {
                        self.replay(until, memory_only).await?
                    }
                    Phase::Live => self.receive().await,
                }
            };
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    /// Returns the next event of a replay if [`next`](Self::next) would return it without waiting.
    /// `None` does not mean that the replay is over.
    pub fn next_replayed(&mut self) -> Option<Item> {
        if !matches!(self.phase, Phase::Replaying { .. }) {
            return None;
        }
        loop {
            if self.has_expired()
                || self.registration.buffer().has_signal()
                || !self.always_sees(self.pending.front()?)
            {
                return None;
            }
            let event = self.pending.pop_front()?;
            if let Some(item) = self.authorise_event(event) {
                return Some(item);
            }
        }
    }

    /// Processes the control signals. Returns an item if the session has ended.
    fn process_signals(&mut self) -> Option<Item> {
        if !self.registration.buffer().has_signal() || matches!(self.phase, Phase::Ended) {
            return None;
        }
        let mut revoked = false;
        while let Some(signal) = self.registration.buffer().take_signal() {
            match signal {
                ControlSignal::AccountEvent(event) => revoked |= self.session.is_ended_by(&event),
                ControlSignal::RewoundTo(pos) => self.rewind(pos),
            }
        }
        revoked.then(|| self.end_session())
    }

    fn rewind(&mut self, pos: i64) {
        self.pending.clear();
        // The client does not share the history from which the stream would continue.
        if matches!(self.phase, Phase::Resync(_)) {
            return;
        }
        self.phase = match resync_after_rewind(self.position.pos, pos) {
            Some(reason) => Phase::Resync(reason),
            // Replays the events that were dropped from the buffer.
            None => Phase::Replaying { until: self.log.hub.cursor(), memory_only: false },
        };
    }

    /// Reads the next page of a replay. Returns a checkpoint after the last one, and an item that
    /// ends the stream if the page should be in memory and is not.
    async fn replay(&mut self, until: Cursor, memory_only: bool) -> Result<Option<Item>, DbError> {
        let (account, scope) = (self.session.identity().id, self.replay_scope);
        let after = self.position.pos;
        let page = self.log.replay(account, scope, (after, until.pos), memory_only).await;
        let page = page.inspect_err(|_| self.phase = Phase::Ended)?;
        let Some(page) = page else {
            self.phase = Phase::Ended;
            return Ok(Some(Item::Ended(StreamEnd::ClientTooSlow)));
        };
        if !page.events.is_empty() {
            self.pending = page.events.into();
        } else if page.read_to < until.pos {
            // Delivered to nobody before the replay ends, so its epoch does not matter.
            self.position.pos = page.read_to;
        } else {
            self.phase = Phase::Live;
            if until.pos >= self.position.pos {
                self.position = until;
            }
            return Ok(Some(Item::Checkpoint(self.position)));
        }
        Ok(None)
    }

    /// Waits for the buffer or the timer. Returns an item if the timer is due.
    async fn receive(&mut self) -> Option<Item> {
        let buffer = self.registration.buffer();
        let buffered = poll_fn(|cx| match buffer.poll_next(cx) {
            Poll::Ready(buffered) => Poll::Ready(Some(buffered)),
            Poll::Pending => self.timer.as_mut().poll(cx).map(|()| None),
        });
        match buffered.await {
            Some(Buffered::Event(event)) => self.pending.push_back(event),
            Some(Buffered::Overflowed) => {
                self.phase = Phase::Replaying { until: self.log.hub.cursor(), memory_only: true };
            }
            Some(Buffered::Signal) => {}
            None => return self.on_timer(),
        }
        None
    }

    /// Ends the stream if the session has expired, and returns a checkpoint if one is due.
    fn on_timer(&mut self) -> Option<Item> {
        let left = self.session.time_left(self.log.ambient.now());
        if left.is_zero() {
            return Some(self.end_session());
        }
        // Read before the buffer is checked: the events up to it have reached the buffer.
        let head = self.log.hub.cursor();
        if !self.registration.buffer().is_empty() {
            return None;
        }
        let now = Instant::now();
        let is_quiet = now >= self.delivered_at + CHECKPOINT_INTERVAL;
        if is_quiet {
            self.delivered_at = now;
            if head.pos > self.position.pos {
                self.position = head;
            }
        }
        self.timer.as_mut().reset((self.delivered_at + CHECKPOINT_INTERVAL).min(now + left));
        is_quiet.then_some(Item::Checkpoint(self.position))
    }

    fn has_expired(&self) -> bool {
        self.session.has_expired(self.log.ambient.now())
    }

    /// Ends the stream because its session ended, expired or changed its role.
    fn end_session(&mut self) -> Item {
        self.log.metrics.revoked();
        self.phase = Phase::Ended;
        self.pending.clear();
        Item::Ended(StreamEnd::SessionEnded)
    }

    fn resync(&mut self, reason: ResyncReason) -> Item {
        self.log.metrics.resync(reason.label());
        self.phase = Phase::Ended;
        Item::Resync(reason)
    }

    /// Returns the item to deliver for an event, or `None` if the event is not for the caller.
    async fn deliver(&mut self, event: Arc<FeedEvent>) -> Result<Option<Item>, DbError> {
        if self.has_expired() {
            return Ok(Some(self.end_session()));
        }
        let Some(item) = self.authorise_event(event) else { return Ok(None) };
        Ok(self.still_sees(&item).await?.then_some(item))
    }

    /// Moves the stream to an event. Returns the event if it is new and for the caller, judged by
    /// the event alone. Every event that is delivered passes through here.
    fn authorise_event(&mut self, event: Arc<FeedEvent>) -> Option<Item> {
        if event.cursor.pos <= self.position.pos {
            return None;
        }
        self.position = event.cursor;
        let matches_filter =
            self.filter.as_ref().is_none_or(|filter| filter.matches_event(&event.event));
        let actor = Actor::Account(self.session.identity());
        if !matches_filter || !policy::sees_event(&actor, &event.event) {
            return self.access_revoked(&event).filter(|_| matches_filter);
        }
        self.counted.delivered();
        self.delivered_at = Instant::now();
        Some(Item::Event(event))
    }

    /// Returns [`Item::AccessRevoked`] if an event that the caller may not see removed the caller
    /// from its ticket. Ends the stream of that ticket.
    fn access_revoked(&mut self, event: &FeedEvent) -> Option<Item> {
        let ticket = event.event.ticket()?;
        if ticket.event.removed_participant() != Some(self.session.identity().id) {
            return None;
        }
        self.log.metrics.revoked();
        if self.kind == StreamKind::Ticket {
            self.phase = Phase::Ended;
            self.pending.clear();
        }
        Some(Item::AccessRevoked { ticket: ticket.id, cursor: event.cursor })
    }

    /// Returns whether the caller can never lose access to an event's ticket: staff, and the
    /// customer who opened it.
    fn always_sees(&self, event: &FeedEvent) -> bool {
        let identity = self.session.identity();
        let reporter = event.event.ticket().map(|ticket| ticket.reporter);
        identity.role.is_staff() || reporter == Some(identity.id)
    }

    /// Returns whether the caller may still see an event that was visible when it happened. Asks
    /// the database for participants: they may have been removed by an event that comes later. The
    /// account's streams that receive the event together share the answer.
    async fn still_sees(&mut self, item: &Item) -> Result<bool, DbError> {
        let Item::Event(event) = item else { return Ok(true) };
        let Some(ticket) = event.event.ticket() else { return Ok(true) };
        if self.always_sees(event) {
            return Ok(true);
        }
        let (log, identity, id) = (self.log.clone(), self.session.identity(), ticket.id);
        let read = async move {
            let asking =
                async { sees_ticket(&mut *log.database.read().await?, identity, id).await };
            log.access.get((identity.id, id)).get(asking).await
        };
        // Boxed, because most streams never get here and should be small.
        Box::pin(detached_read(read)).await.inspect_err(|_| self.phase = Phase::Ended)
    }
}
