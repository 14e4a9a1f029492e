//! One caller's stream of notifications. A notification has the position of the
//! event that it tells of, and the planner moves how far it has got in the
//! transaction that writes notifications: what lies up to there is complete, so
//! reading from the last position up to there, again and again, misses nothing.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::watch, time};

use super::{
    EventLog, ResyncReason, SubscribeError,
    hub::{Continuity, ControlSignal, SubscriberBuffer, Topic},
    subscription::{Registration, require_identity, revokes},
};
use crate::{
    db::{
        DbError,
        consumer::{self, NOTIFICATIONS},
        feed, notification, session, unread,
    },
    domain::{
        actor::{Actor, Identity},
        clock::Timestamp,
        cursor::Cursor,
        notification::Notification,
        policy,
        unread::{Reader, TicketCounts},
    },
    metrics::{CountedStream, StreamKind},
};

const PAGE: i64 = 200;
/// How far a bell may lie behind and still be caught up with, in positions of the feed.
const SPAN: i64 = 100_000;
/// A quiet stream says so this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// What there is to read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadCounts {
    /// Notifications that were not read.
    pub notifications: i64,
    /// Tickets of the reader's own concern.
    pub tickets: TicketCounts,
}

/// What a bell gives.
#[derive(Debug)]
pub enum NotificationItem {
    /// Something new.
    Added {
        /// From where to go on.
        cursor: Cursor,
        /// What.
        notification: Notification,
        /// How many are unread now, and of tickets.
        counts: UnreadCounts,
    },
    /// All up to here has been given.
    Checkpoint {
        /// From where to go on.
        cursor: Cursor,
        /// How many are unread now, and of tickets.
        counts: UnreadCounts,
    },
    /// The stream can't be continued without a gap, and ends here.
    Resync(ResyncReason),
    /// The session has ended, or its rights have changed: the stream ends here.
    Revoked,
}

/// A stream of one caller's notifications.
pub struct NotificationStream {
    log: EventLog,
    identity: Identity,
    expires_at: Timestamp,
    registration: Registration,
    /// The role that the session has was looked at after this position.
    authorised_at: i64,
    notified_up_to: watch::Receiver<i64>,
    last: i64,
    page: VecDeque<Notification>,
    phase: Phase,
    counted: CountedStream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has been said yet.
    CatchingUp,
    /// The first checkpoint has been given.
    Live,
    /// The stream can't go on.
    Resync(ResyncReason),
    /// Nothing comes any more.
    Ended,
}

impl EventLog {
    /// Begins a stream of the actor's notifications after a cursor, or from now on.
    ///
    /// # Errors
    /// Nobody is signed in; a cursor from the future; the database failed.
    pub async fn notifications(
        &self,
        actor: &Actor,
        after: Option<Cursor>,
    ) -> Result<NotificationStream, SubscribeError> {
        let identity = require_identity(actor)?;
        let buffer = Arc::new(SubscriberBuffer::default());
        let topics = vec![Topic::Account(identity.id)];
        let registration = Registration::new(&self.hub, topics, buffer);
        let authorised_at = self.hub.cursor().pos;
        let mut connection = self.database.read().await?;
        let live = session::live_by_id(&mut connection, identity.session, self.ambient.now())
            .await?
            .filter(|live| live.identity.role == identity.role)
            .ok_or(SubscribeError::Unauthenticated)?;
        let notified_up_to = consumer::offset(&mut connection, NOTIFICATIONS).await?;
        let phase = match after {
            Some(cursor) if self.hub.continuity(cursor) == Continuity::Broken => {
                Phase::Resync(ResyncReason::HistoryRewound)
            }
            Some(cursor)
                if cursor.pos > notified_up_to
                    && cursor.pos > feed::head(&mut connection).await? =>
            {
                return Err(SubscribeError::CursorAhead);
            }
            Some(cursor) if notified_up_to - cursor.pos > SPAN => {
                Phase::Resync(ResyncReason::TooFarBehind)
            }
            _ => Phase::CatchingUp,
        };
        drop(connection);
        // Not the present end of the log: what is on its way there has not been counted.
        let last = after.map_or(notified_up_to, |cursor| cursor.pos);
        Ok(NotificationStream {
            log: self.clone(),
            identity: live.identity,
            expires_at: live.expires_at,
            registration,
            authorised_at,
            notified_up_to: self.notified_up_to.subscribe(),
            last,
            page: VecDeque::new(),
            phase,
            counted: self.metrics.subscriber(StreamKind::Notifications),
        })
    }
}

impl NotificationStream {
    /// The next item; `None` after the stream has ended.
    ///
    /// # Errors
    /// The database failed; the stream has ended and can be resumed from its last cursor.
    pub async fn next(&mut self) -> Result<Option<NotificationItem>, DbError> {
        let next = self.advance().await;
        if next.is_err() {
            self.phase = Phase::Ended;
        }
        next
    }

    async fn advance(&mut self) -> Result<Option<NotificationItem>, DbError> {
        loop {
            if let Some(item) = self.ended() {
                return Ok(item);
            }
            if let Some(notification) = self.page.pop_front() {
                self.last = notification.pos;
                let cursor = self.cursor();
                self.counted.delivered();
                return Ok(Some(NotificationItem::Added {
                    cursor,
                    notification,
                    counts: self.counts().await?,
                }));
            }
            if self.read_on().await? {
                continue;
            }
            if self.phase == Phase::CatchingUp {
                self.phase = Phase::Live;
                return self.checkpoint().await.map(Some);
            }
            let left = (self.expires_at - self.log.ambient.now()).to_std().unwrap_or_default();
            tokio::select! {
                _ = self.notified_up_to.changed() => {}
                () = self.registration.buffer().filled() => {}
                () = time::sleep(CHECKPOINT_EVERY.min(left)) => {
                    if left > CHECKPOINT_EVERY {
                        return self.checkpoint().await.map(Some);
                    }
                }
            }
        }
    }

    /// Whether the stream ends here, and with what.
    fn ended(&mut self) -> Option<Option<NotificationItem>> {
        match self.phase {
            Phase::Ended => return Some(None),
            Phase::Resync(reason) => {
                self.log.metrics.resync(reason.label());
                self.phase = Phase::Ended;
                return Some(Some(NotificationItem::Resync(reason)));
            }
            Phase::CatchingUp | Phase::Live => {}
        }
        let mut revoked = self.expires_at <= self.log.ambient.now();
        while let Some(signal) = self.registration.buffer().take_signal() {
            match signal {
                ControlSignal::Account(event) => {
                    revoked |= revokes(&self.identity, self.authorised_at, &event);
                }
                ControlSignal::RewoundTo(pos) if pos < self.last => {
                    let reason = ResyncReason::HistoryRewound;
                    self.log.metrics.resync(reason.label());
                    self.phase = Phase::Ended;
                    return Some(Some(NotificationItem::Resync(reason)));
                }
                ControlSignal::RewoundTo(_) => {}
            }
        }
        revoked.then(|| {
            self.log.metrics.revoked();
            self.phase = Phase::Ended;
            Some(NotificationItem::Revoked)
        })
    }

    /// Reads what was notified_up_to since; whether there was any.
    async fn read_on(&mut self) -> Result<bool, DbError> {
        let known = *self.notified_up_to.borrow_and_update();
        if known <= self.last && self.phase == Phase::Live {
            return Ok(false);
        }
        let mut connection = self.log.database.read().await?;
        // This node may not know yet how far another has got.
        let notified_up_to = consumer::offset(&mut connection, NOTIFICATIONS).await?;
        let page = notification::between(
            &mut connection,
            self.identity.id,
            self.last,
            notified_up_to,
            PAGE,
        )
        .await?;
        if page.is_empty() {
            self.last = self.last.max(notified_up_to);
        }
        self.page = page.into();
        Ok(!self.page.is_empty())
    }

    async fn checkpoint(&self) -> Result<NotificationItem, DbError> {
        Ok(NotificationItem::Checkpoint { cursor: self.cursor(), counts: self.counts().await? })
    }

    async fn counts(&self) -> Result<UnreadCounts, DbError> {
        let mut connection = self.log.database.read().await?;
        let actor = Actor::Account(self.identity);
        let reader = Reader { account: self.identity.id, is_staff: policy::sees_internal(&actor) };
        Ok(UnreadCounts {
            notifications: notification::unread(&mut connection, self.identity.id).await?,
            tickets: unread::counts(&mut connection, reader).await?,
        })
    }

    fn cursor(&self) -> Cursor {
        Cursor { epoch: self.log.cursor().epoch, pos: self.last }
    }
}
