//! Gives committed events their places in the feed. Runs on every node; the lock
//! on the feed's head makes them take turns, and none of them leads.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time};

use crate::{
    db::{Database, DbError, feed, listen},
    domain::clock::Ambient,
};

/// So many events a transaction: bounds how long the head is locked.
const BATCH: i64 = 1_000;
/// Commits that come this close together share a round.
const DEBOUNCE: Duration = Duration::from_millis(1);
/// Covers a writer on any node that was killed between its commit and its wake-up.
const POLL: Duration = Duration::from_millis(250);
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Sequencer {
    database: Database,
    ambient: Ambient,
    /// Wakes this node's tailer, sooner than the notification does.
    hint: Arc<Notify>,
}

impl Sequencer {
    pub(super) fn new(database: Database, ambient: Ambient, hint: Arc<Notify>) -> Self {
        Self { database, ambient, hint }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(&self) {
        // After a failure the database may be another one, restored: look whole.
        let mut look_whole = false;
        loop {
            let woken = time::timeout(POLL, self.database.committed()).await.is_ok();
            if woken {
                time::sleep(DEBOUNCE).await;
            }
            let round = async {
                if woken || look_whole || self.has_pending().await? {
                    self.place_all().await?;
                }
                Ok::<_, DbError>(())
            };
            look_whole = match round.await {
                Ok(()) => false,
                Err(error) => {
                    tracing::warn!(%error, "the sequencer failed and tries again");
                    time::sleep(RETRY_AFTER).await;
                    true
                }
            };
        }
    }

    /// The position after everything that is committed now.
    pub(super) async fn present(&self) -> Result<i64, DbError> {
        if self.has_pending().await? {
            self.place_all().await?;
        }
        feed::head(&mut *self.database.read().await?).await
    }

    async fn has_pending(&self) -> Result<bool, DbError> {
        feed::has_pending(&mut *self.database.read().await?).await
    }

    /// Places what is pending, batch by batch, and tells of it.
    pub(super) async fn place_all(&self) -> Result<(), DbError> {
        while self.place_batch().await? == BATCH {}
        Ok(())
    }

    async fn place_batch(&self) -> Result<i64, DbError> {
        let (now, tag) = (self.ambient.now(), i32::from_be_bytes(self.ambient.bytes()));
        let placed = self
            .database
            .write_without_events(async |db| {
                let head = feed::lock_head(db).await?;
                if feed::open_epoch_if_rewound(db, head, tag, now).await? {
                    tracing::info!(head, "a new epoch of the feed begins");
                }
                feed::place_pending(db, head, BATCH).await
            })
            .await?;
        if placed > 0 {
            self.hint.notify_one();
            listen::notify(&mut *self.database.read().await?).await?;
        }
        Ok(placed)
    }
}
