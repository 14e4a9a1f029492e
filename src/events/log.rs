//! The event log as its readers see it. `subscription.rs`, `notification.rs` and `session_watch.rs`
//! add the methods that open live streams.

use std::{ops::Deref, sync::Arc};

use tokio::sync::{Mutex, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    announcer::Announcer, hub::Hub, keyed::Keyed, notified::NotifiedAccounts, presence::Presence,
    replay_turns::ReplayTurns, sequencer::Sequencer, shared_read::SharedRead, tailer::Tailer,
    unread_counts::SharedCounts,
};
use crate::{
    db::{Database, DbError, consumer, feed, feed_hints::FeedHints, notification},
    domain::{
        clock::Ambient,
        cursor::{Cursor, StartCursor},
        event::Event,
        ids::{AccountId, TicketId},
    },
    metrics::Metrics,
};

/// The largest number of events whose recipients are looked up. If more were planned at once, every
/// notification stream is woken.
const MAX_ANNOUNCED: i64 = 5_000;

/// The event log. Clones are handles to the same log. Each stream has one, so it is small.
#[derive(Clone)]
pub struct EventLog(Arc<Parts>);

/// The parts of the event log, which all handles share.
pub struct Parts {
    pub(super) database: Database,
    /// The database with connections that requests and streams don't use.
    pub(super) background: Database,
    pub(super) ambient: Ambient,
    pub(super) hub: Arc<Hub>,
    hints: Arc<FeedHints>,
    pub(super) sequencer: Arc<Sequencer>,
    /// Limits the replays that read the database.
    pub(super) replay_turns: ReplayTurns,
    /// Wakes the notification streams of this node.
    pub(super) notified: Arc<NotifiedAccounts>,
    /// In which the notification streams of an account read the database.
    pub(super) notification_turns: Keyed<AccountId, Mutex<()>>,
    pub(super) unread_counts: SharedCounts,
    /// Whether an account may see a ticket, for its streams.
    pub(super) access: Keyed<(AccountId, TicketId), SharedRead<bool>>,
    pub(super) presence: Arc<Presence>,
    pub(super) metrics: Metrics,
}

impl Deref for EventLog {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl EventLog {
    /// Opens the log, and starts this node's sequencer and tailer on `background`. They run until
    /// `stop` is cancelled. Streams read `database`. `on_event` is called with each event that may
    /// end streams, before any stream receives it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn open(
        database: Database,
        background: Database,
        ambient: Ambient,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        on_event: impl Fn(&Event) + Send + Sync + 'static,
        metrics: Metrics,
    ) -> Result<Self, DbError> {
        let hints = Arc::new(FeedHints::new(&ambient));
        let sequencer = Sequencer::new(background.clone(), ambient.clone(), Arc::clone(&hints));
        // Opens the first epoch of a new database, and a new epoch of a restored one.
        sequencer.place_all().await?;
        let presence = Arc::new(Presence::new(&ambient));
        let on_event = {
            let presence = Arc::clone(&presence);
            move |event: &Event| {
                on_event(event);
                presence.on_event(event);
            }
        };
        let (hub, notified_up_to) = {
            let mut connection = database.read().await?;
            let notified_up_to = consumer::offset(&mut connection, consumer::NOTIFICATIONS).await?;
            let head = feed::head(&mut connection).await?;
            let epochs = feed::epochs(&mut connection).await?;
            (Hub::new(head, epochs, Box::new(on_event), metrics.clone()), notified_up_to)
        };
        let log = Self(Arc::new(Parts {
            database,
            background,
            ambient,
            hub: Arc::new(hub),
            hints,
            sequencer: Arc::new(sequencer),
            replay_turns: ReplayTurns::new(),
            notified: Arc::new(NotifiedAccounts::new(notified_up_to)),
            notification_turns: Keyed::default(),
            unread_counts: SharedCounts::default(),
            access: Keyed::default(),
            presence,
            metrics,
        }));
        log.start_tasks(tasks, stop);
        Ok(log)
    }

    fn start_tasks(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let (stopped, sequencer) = (stop.clone(), Arc::clone(&self.sequencer));
        let announcer = Announcer::new(self.background.clone(), Arc::clone(&self.hints));
        tasks.spawn(async move {
            let sequencing = stopped.run_until_cancelled(sequencer.run());
            tokio::join!(sequencing, announcer.run(&stopped));
            announcer.finish().await;
        });
        let (database, ambient) = (self.background.clone(), self.ambient.clone());
        let (hub, presence) = (Arc::clone(&self.hub), Arc::clone(&self.presence));
        let hints = Arc::clone(&self.hints);
        let tailer = Tailer::new(database, ambient, hub, hints, presence);
        let stopped = stop.clone();
        let tailing = Box::pin(tailer.run());
        tasks.spawn(async move { stopped.run_until_cancelled(tailing).await });
        let (stopped, presence) = (stop.clone(), Arc::clone(&self.presence));
        let database = self.background.clone();
        tasks.spawn(async move { stopped.run_until_cancelled(presence.run(&database)).await });
    }

    /// Returns the way to this node's tailer, for writers that place their events.
    pub fn hints(&self) -> &Arc<FeedHints> {
        &self.hints
    }

    /// Watches the position up to which this node has published the feed. A change is a hint that
    /// the feed has grown.
    pub fn watch_head(&self) -> watch::Receiver<i64> {
        self.hub.watch_head()
    }

    /// Announces that notifications are stored up to a position, and late ones if this node has
    /// `processed` something although the position is the same. Wakes the streams of this node whose
    /// accounts may have new ones. Takes one statement however many streams there are, and none if
    /// there is no stream or nothing new.
    ///
    /// # Errors
    /// The database failed, and no stream was woken. Announce the same position again.
    pub async fn announce_notifications(&self, up_to: i64, processed: bool) -> Result<(), DbError> {
        let accounts = match self.notified.announced() {
            Some(after) if up_to - after > MAX_ANNOUNCED => None,
            Some(after) if up_to > after => {
                let mut connection = self.background.read().await?;
                Some(notification::recipients_between(&mut connection, after, up_to).await?)
            }
            Some(_) if processed => None,
            _ => Some(vec![]),
        };
        self.notified.announce(up_to, accounts.as_deref());
        Ok(())
    }

    /// Wakes the notification streams that an account has on this node: it has read something, and
    /// their counts are outdated.
    pub fn announce_read(&self, account: AccountId) {
        self.notified.announce_read(account);
    }

    /// Returns the cursor up to which this node has published the feed. Everything that is read
    /// afterwards includes the events up to it: a stream that starts there may repeat some of what
    /// was read, and misses nothing.
    pub fn cursor(&self) -> Cursor {
        self.hub.cursor()
    }

    /// Returns the same cursor for a client that also reads notifications.
    pub fn start(&self) -> StartCursor {
        let notified_up_to = self.notified.up_to();
        StartCursor { feed: self.cursor(), notified_up_to }
    }
}
