//! The event log's reading end. Writers append to `events`; the
//! [sequencer](sequencer) gives them their places in the feed; the
//! [tailer](tailer) reads the feed once a node and publishes it to the
//! [hub](hub); a [subscription](subscription) replays what its caller missed and
//! then follows the hub. There is no other door out of the log.

mod hub;
mod notification;
mod sequencer;
mod session_watch;
mod subscription;
mod tailer;
mod task;

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use notification::{NotificationItem, NotificationStream, UnreadCounts};
pub use session_watch::SessionWatch;
pub use subscription::{Item, ResyncReason, Scope, StreamEnd, SubscribeError, Subscription};
pub use task::detached;

use crate::{
    db::{Database, DbError, consumer, feed},
    domain::{clock::Ambient, cursor::Cursor, event::Event},
    metrics::Metrics,
};
use hub::Hub;
use sequencer::Sequencer;

/// So many replays may read the database at once: a storm of reconnections
/// leaves connections for everybody else.
const REPLAYS_AT_ONCE: usize = 8;

/// The way to the events, for whoever subscribes.
#[derive(Clone)]
pub struct EventLog {
    database: Database,
    ambient: Ambient,
    hub: Arc<Hub>,
    sequencer: Arc<Sequencer>,
    replays: Arc<Semaphore>,
    /// Up to where people have been notified_up_to of what happened.
    notified_up_to: Arc<watch::Sender<i64>>,
    metrics: Metrics,
}

impl EventLog {
    /// Opens the log and starts this node's sequencer and tailer, which run until
    /// `stop`. `heed` hears of the events that end streams, wherever they come from,
    /// before any stream does.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn open(
        database: Database,
        ambient: Ambient,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        on_event: impl Fn(&Event) + Send + Sync + 'static,
        metrics: Metrics,
    ) -> Result<Self, DbError> {
        let hint = Arc::new(Notify::new());
        let sequencer =
            Arc::new(Sequencer::new(database.clone(), ambient.clone(), Arc::clone(&hint)));
        // The first round opens the first epoch, or a new one after a restore.
        sequencer.place_all().await?;
        let (hub, notified_up_to) = {
            let mut connection = database.read().await?;
            let notified_up_to = consumer::offset(&mut connection, consumer::NOTIFICATIONS).await?;
            let head = feed::head(&mut connection).await?;
            let epochs = feed::epochs(&mut connection).await?;
            let hub = Hub::new(head, epochs, Box::new(on_event), metrics.clone());
            (Arc::new(hub), Arc::new(watch::Sender::new(notified_up_to)))
        };
        let tailer = tailer::Tailer::new(database.clone(), Arc::clone(&hub), hint);
        let (stopped, running) = (stop.clone(), Arc::clone(&sequencer));
        tasks.spawn(async move { stopped.run_until_cancelled(running.run()).await });
        let stopped = stop.clone();
        tasks.spawn(async move { stopped.run_until_cancelled(tailer.run()).await });
        let replays = Arc::new(Semaphore::new(REPLAYS_AT_ONCE));
        Ok(Self { database, ambient, hub, sequencer, replays, notified_up_to, metrics })
    }

    /// Tells of each move of the feed's head that this node sees: a hint to read on.
    pub fn moves(&self) -> watch::Receiver<i64> {
        self.hub.moves()
    }

    /// Notes that people have been notified_up_to of everything up to a position: wakes those
    /// who show it.
    pub fn set_notified_up_to(&self, pos: i64) {
        self.notified_up_to.send_replace(pos);
    }

    /// How far this node has published. What a request reads after this is at
    /// least as new: a stream from here may repeat it, and misses nothing.
    pub fn cursor(&self) -> Cursor {
        self.hub.cursor()
    }
}
