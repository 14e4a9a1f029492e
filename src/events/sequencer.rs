//! Places pending events in the feed: gives each its position. Most events are placed by the
//! statement that appends them (`db/placing.rs`).
//!
//! A sequencer runs on every node. The lock on the feed's head makes them take turns; there is no
//! leader.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time;

use super::{shared_read::SharedRead, task::survive_panics};
use crate::{
    db::{Connection, Database, DbError, feed, feed_hints::FeedHints, placing},
    domain::{budget::RequestBudget, clock::Ambient},
};

/// The largest number of events that are placed in one transaction. Limits how long the head is
/// locked.
const BATCH: i64 = 1_000;
/// How many events are placed before the room of the pending ones is freed. Autovacuum would do it
/// once a minute, while a busy desk places a hundred thousand.
const VACUUM_AFTER: usize = 5_000;
/// How often to check for pending events that no commit on this node announced: those of a node
/// that was killed between a commit and waking its sequencer.
const POLL: Duration = Duration::from_millis(250);
/// The pause after the database has failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Sequencer {
    database: Database,
    ambient: Ambient,
    /// Passes what was placed on to this node's tailer.
    hints: Arc<FeedHints>,
    /// How many events this node has placed since it last freed their room.
    unvacuumed: AtomicUsize,
    catching_up: SharedRead<i64>,
}

impl Sequencer {
    pub(super) fn new(database: Database, ambient: Ambient, hints: Arc<FeedHints>) -> Self {
        let catching_up = SharedRead::default();
        Self { database, ambient, hints, unvacuumed: AtomicUsize::new(0), catching_up }
    }

    /// Places events until the future is dropped.
    pub(super) async fn run(&self) {
        // After a failure the database may have been restored. Placing events notices that, so it
        // is done even if none is pending.
        let mut failed = false;
        loop {
            let woken = time::timeout(POLL, self.database.committed()).await.is_ok();
            let all = woken || failed;
            let place = async { if all { self.place_all().await } else { self.place_any().await } };
            failed = match survive_panics(place).await {
                Ok(()) => false,
                Err(error) => {
                    tracing::warn!(%error, "placing events in the feed failed; retrying");
                    time::sleep(RETRY_AFTER).await;
                    true
                }
            };
        }
    }

    /// Places all events that are committed by now, and returns the end of the feed. Many streams
    /// that begin at the same time place and read together. What is pending does not use up the budget of the
    /// request that begins a stream.
    pub(super) async fn catch_up(&self) -> Result<i64, DbError> {
        let catching_up = async {
            // Boxed: each stream would carry its state, and few find anything pending.
            let placing = Box::pin(self.place_any());
            let placed = RequestBudget::unlimited().run(placing).await;
            placed.unwrap_or_else(|exceeded| Err(exceeded.into()))?;
            feed::head(&mut *self.database.read().await?).await
        };
        self.catching_up.get(catching_up).await
    }

    /// Places the pending events, if there are any. Locks nothing if there are none.
    async fn place_any(&self) -> Result<(), DbError> {
        let pending = feed::has_pending(&mut *self.database.read().await?).await?;
        if pending { self.place_all().await } else { Ok(()) }
    }

    /// Places the pending events in batches. Opens a new epoch first if the database was restored.
    pub(super) async fn place_all(&self) -> Result<(), DbError> {
        while self.place_batch().await? {}
        Ok(())
    }

    /// Places up to a batch of events. Returns whether there may be more.
    async fn place_batch(&self) -> Result<bool, DbError> {
        let placing = self.hints.placing(&self.ambient);
        let mut connection = self.database.read().await?;
        let in_doubt = InDoubt(&self.hints);
        let placed = placing::place_pending(&mut connection, BATCH, placing).await?;
        mem::forget(in_doubt);
        let Some(placed) = placed else {
            if feed::is_rewound(&mut connection).await? {
                drop(connection);
                self.open_epoch_if_rewound().await?;
                return Ok(true);
            }
            // Another sequencer has placed what this one has seen.
            return feed::has_pending(&mut connection).await;
        };
        let (count, waited) = (placed.page.events.len(), placed.waited);
        self.hints.placed(placed);
        drop(connection);
        self.vacuum_if_due(count);
        Ok(waited || count >= usize::try_from(BATCH).unwrap_or(usize::MAX))
    }

    /// Frees the room of events that were placed, after many of them. Does not wait for it: an open
    /// snapshot can make it slow.
    fn vacuum_if_due(&self, placed: usize) {
        if self.unvacuumed.fetch_add(placed, Ordering::Relaxed) + placed < VACUUM_AFTER {
            return;
        }
        self.unvacuumed.store(0, Ordering::Relaxed);
        let database = self.database.clone();
        tokio::spawn(async move {
            let vacuum = async { feed::vacuum_pending(&mut *database.read().await?).await };
            if let Err(error) = vacuum.await {
                tracing::warn!(%error, "freeing the room of placed events failed");
            }
        });
    }

    /// Opens a new epoch if the database was restored and no other node has opened one.
    async fn open_epoch_if_rewound(&self) -> Result<(), DbError> {
        let (now, tag) = (self.ambient.now(), i32::from_be_bytes(self.ambient.bytes()));
        let open = async |db: &mut Connection| {
            let head = feed::lock_head(db).await?;
            let opened = feed::open_epoch_if_rewound(db, head, tag, now).await?;
            Ok(opened.then_some(head))
        };
        if let Some(head) = self.database.write_without_events(open).await? {
            tracing::info!(head, tag, "opened a new epoch of the feed");
        }
        Ok(())
    }
}

/// A statement that places events. If it fails, or its caller is gone before the answer, they may be placed
/// all the same, and nobody else tells this node.
struct InDoubt<'h>(&'h FeedHints);

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        self.0.in_doubt();
    }
}
