//! One caller's live stream of notifications.
//!
//! A notification has the position of its event in the feed. The planner moves its offset in the
//! transaction that stores notifications, so all notifications up to the offset are stored. One that
//! is stored later, because its event was set aside, is delivered late: before the event after the
//! offset. A client that resumes before that event receives it a second time. The stream reads from
//! its own position to the offset, again and again, and misses nothing. It reads when it is woken
//! (`notified.rs`) and before each checkpoint. When its caller has read something, it delivers a
//! checkpoint with the new counts.

use std::collections::VecDeque;

use tokio::time;

use super::{
    buffer::ControlSignal,
    continuity::{is_in_history, resync_after_rewind},
    error::SubscribeError,
    item::{CHECKPOINT_INTERVAL, ResyncReason},
    log::EventLog,
    notified::NotificationWaker,
    registration::Registration,
    session::{StreamSession, require_identity},
    topic::Topic,
    unread_counts::UnreadCounts,
};
use crate::{
    db::{
        DbError,
        consumer::{self, NOTIFICATIONS},
        feed,
        notification::{self, DeliveredNotification},
    },
    domain::{
        actor::{Actor, Identity},
        cursor::{Cursor, StartCursor},
        ids::{AccountId, NotificationId},
        notification::Notification,
        policy::{self, TicketScope},
        unread::TicketReader,
    },
    metrics::{CountedStream, StreamKind},
};

/// The largest number of notifications that are read at once.
const PAGE: usize = 200;

/// The largest number of late notifications that a new stream leaves out.
const MAX_LATE: i64 = 1_000;

/// An item of a stream of notifications.
#[derive(Debug)]
pub enum NotificationItem {
    /// A notification.
    Added {
        /// The cursor after which the stream can be resumed.
        cursor: Cursor,
        /// The notification.
        notification: Notification,
        /// The current counts.
        counts: UnreadCounts,
    },
    /// Everything up to this position was delivered.
    Checkpoint {
        /// The cursor after which the stream can be resumed.
        cursor: Cursor,
        /// The current counts.
        counts: UnreadCounts,
    },
    /// The stream cannot continue without a gap, and ends here.
    Resync(ResyncReason),
    /// The session ended or its role changed, and the stream ends here.
    SessionEnded,
}

/// A stream of one caller's notifications.
pub struct NotificationStream {
    log: EventLog,
    session: StreamSession,
    registration: Registration,
    waker: NotificationWaker,
    /// Whether there may be notifications after those that were read.
    unread: bool,
    /// Whether a checkpoint is due because the caller has read something.
    has_read: bool,
    /// The epoch of the cursors. A rewind that this has not processed yet may have begun another.
    epoch: i32,
    /// The position in the feed up to which notifications were delivered.
    position: i64,
    /// The late notifications that are not delivered again, until the position passes theirs.
    late: Vec<(i64, NotificationId)>,
    /// Notifications that were read and not delivered yet.
    pending: VecDeque<DeliveredNotification>,
    /// The counts of those that were read together, except the last one.
    counts: Option<UnreadCounts>,
    phase: Phase,
    counted: CountedStream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The stream delivers what its caller missed, and then a checkpoint.
    CatchingUp,
    /// The stream delivers new notifications.
    Live,
    /// The stream cannot continue without a gap.
    Resync(ResyncReason),
    /// The stream has ended.
    Ended,
}

impl EventLog {
    /// Begins a stream of the actor's notifications: after a cursor, or from now on.
    ///
    /// # Errors
    /// The actor is not signed in or must configure a second factor; the cursor is beyond the end
    /// of the feed; the database failed.
    pub async fn notifications(
        &self,
        actor: &Actor,
        after: Option<StartCursor>,
    ) -> Result<NotificationStream, SubscribeError> {
        let identity = require_identity(actor)?;
        let (registration, head) = Registration::new(&self.hub, vec![Topic::Account(identity.id)]);
        // Before anything is read: what is stored later wakes the stream.
        let waker = self.notified.watch(identity.id);
        let (session, notified_up_to, late) = {
            let (mut connection, now) = (self.database.read().await?, self.ambient.now());
            let authorised =
                StreamSession::authorise(&mut connection, identity, now, head.pos).await?;
            let notified_up_to = consumer::offset(&mut connection, NOTIFICATIONS).await?;
            let late = match after {
                // Those that were stored before the stream begins.
                None => {
                    notification::late(&mut connection, identity.id, notified_up_to, MAX_LATE)
                        .await?
                }
                Some(_) => vec![],
            };
            (authorised, notified_up_to, late)
        };
        let kind = StreamKind::Notifications;
        let resync = match after {
            Some(after) => self.check_continuity(kind, after.feed, notified_up_to).await?,
            None => None,
        };
        Ok(NotificationStream {
            log: self.clone(),
            session,
            registration,
            waker,
            unread: false,
            has_read: false,
            epoch: head.epoch,
            // Not the end of the feed: the notifications of its last events may not be stored yet.
            position: after
                .map_or(notified_up_to, |after| after.notified_up_to.min(notified_up_to)),
            late,
            pending: VecDeque::new(),
            counts: None,
            phase: resync.map_or(Phase::CatchingUp, Phase::Resync),
            counted: self.metrics.subscriber(kind),
        })
    }
}

impl NotificationStream {
    /// Waits for the next item. Returns `None` after the stream has ended.
    ///
    /// # Errors
    /// The database failed. The stream has ended, and can be resumed after its last cursor.
    pub async fn next(&mut self) -> Result<Option<NotificationItem>, DbError> {
        let next = self.advance().await;
        if next.is_err() {
            self.phase = Phase::Ended;
        }
        next
    }

    async fn advance(&mut self) -> Result<Option<NotificationItem>, DbError> {
        loop {
            match self.phase {
                Phase::Ended => return Ok(None),
                Phase::Resync(reason) => return Ok(Some(self.resync(reason))),
                Phase::CatchingUp | Phase::Live => {}
            }
            if let Some(item) = self.process_signals() {
                return Ok(Some(item));
            }
            if let Some(next) = self.pending.pop_front() {
                return self.deliver(next).await.map(Some);
            }
            if self.read_pending().await? {
                continue;
            }
            if self.phase == Phase::CatchingUp || self.has_read {
                self.phase = Phase::Live;
                self.has_read = false;
                return self.checkpoint().await.map(Some);
            }
            self.wait().await;
        }
    }

    /// Ends the stream if the session has ended or the feed was rewound too far.
    fn process_signals(&mut self) -> Option<NotificationItem> {
        let mut revoked = self.session.has_expired(self.log.ambient.now());
        while let Some(signal) = self.registration.buffer().take_signal() {
            match signal {
                ControlSignal::AccountEvent(event) => revoked |= self.session.is_ended_by(&event),
                ControlSignal::RewoundTo(pos) => {
                    // It has read of the epoch before, and whether it could continue in it.
                    if self.epoch == self.log.cursor().epoch {
                        continue;
                    }
                    if let Some(reason) = resync_after_rewind(self.position, pos) {
                        return Some(self.resync(reason));
                    }
                    self.epoch = self.log.cursor().epoch;
                    // What was read may have been undone.
                    self.pending.clear();
                    self.unread = true;
                }
            }
        }
        revoked.then(|| {
            self.log.metrics.revoked();
            self.phase = Phase::Ended;
            NotificationItem::SessionEnded
        })
    }

    fn resync(&mut self, reason: ResyncReason) -> NotificationItem {
        self.log.metrics.resync(reason.label());
        self.phase = Phase::Ended;
        NotificationItem::Resync(reason)
    }

    async fn deliver(&mut self, next: DeliveredNotification) -> Result<NotificationItem, DbError> {
        let DeliveredNotification { late_pos, notification } = next;
        match late_pos {
            Some(late_pos) => self.late.push((late_pos, notification.id)),
            None => self.advance_to(notification.pos),
        }
        let cursor = self.cursor();
        self.counted.delivered();
        // Counting reads all of an account's own tickets.
        let counts = match self.counts.take().filter(|_| !self.pending.is_empty()) {
            Some(counts) => counts,
            None => self.counts().await?,
        };
        self.counts = (!self.pending.is_empty()).then_some(counts);
        Ok(NotificationItem::Added { cursor, notification, counts })
    }

    async fn checkpoint(&self) -> Result<NotificationItem, DbError> {
        Ok(NotificationItem::Checkpoint { cursor: self.cursor(), counts: self.counts().await? })
    }

    /// Reads the notifications that were stored since. Returns whether there are any.
    async fn read_pending(&mut self) -> Result<bool, DbError> {
        if self.phase == Phase::Live && !self.unread {
            return Ok(false);
        }
        let (account, scope) = scope(self.session.identity());
        let own = self.log.notification_turns.get(account);
        // The account's other streams were woken too, and leave connections to everybody else.
        let _turn = own.lock().await;
        let mut connection = self.log.database.read().await?;
        let delivered = self.late.iter().map(|(_, id)| *id).collect::<Vec<_>>();
        let stored = notification::following(
            &mut connection,
            account,
            scope,
            self.position,
            &delivered,
            PAGE,
        )
        .await?;
        if stored.epoch != self.epoch {
            let epochs = feed::epochs(&mut connection).await?;
            // Otherwise a rewind is about to end the stream: its cursors must not seem good.
            if is_in_history(self.cursor(), &epochs) {
                self.epoch = stored.epoch;
            }
        }
        self.unread = stored.has_more;
        if stored.notifications.is_empty() {
            self.advance_to(self.position.max(stored.until));
        }
        self.pending = stored.notifications.into();
        self.counts = None;
        Ok(!self.pending.is_empty())
    }

    fn advance_to(&mut self, position: i64) {
        self.position = position;
        self.late.retain(|(late_pos, _)| *late_pos > position);
    }

    /// Waits until there may be something to do. If the stream was quiet for a while, it reads what
    /// is stored once more, and then delivers a checkpoint.
    async fn wait(&mut self) {
        let left = self.session.time_left(self.log.ambient.now());
        tokio::select! {
            has_read = self.waker.woken() => {
                // Also for a mark: it delays the timed checkpoint, which reads what no wake tells of.
                self.unread = true;
                self.has_read |= has_read;
            }
            () = self.registration.buffer().filled() => {}
            () = time::sleep(CHECKPOINT_INTERVAL.min(left)) => {
                if left > CHECKPOINT_INTERVAL {
                    self.phase = Phase::CatchingUp;
                }
            }
        }
    }

    async fn counts(&self) -> Result<UnreadCounts, DbError> {
        let identity = self.session.identity();
        let (_, scope) = scope(identity);
        self.log.unread_counts.read(&self.log.database, reader(identity), scope).await
    }

    fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, pos: self.position }
    }
}

fn scope(identity: Identity) -> (AccountId, TicketScope) {
    (identity.id, policy::ticket_scope(&Actor::Account(identity)))
}

fn reader(identity: Identity) -> TicketReader {
    let is_staff = policy::sees_internal(&Actor::Account(identity));
    TicketReader { account: identity.id, is_staff }
}
