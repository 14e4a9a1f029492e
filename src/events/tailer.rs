//! Reads the feed, once per node, and publishes it to the hub.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time};

use super::hub::Hub;
use crate::db::{Database, DbError, feed, listen};

/// The number of events that are read at once.
const PAGE: i64 = 1_000;
/// How often the feed is read without a hint. Hints can be lost.
const POLL: Duration = Duration::from_secs(1);
/// The pause after the database has failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Tailer {
    database: Database,
    hub: Arc<Hub>,
    /// Wakes the tailer when the feed may have grown.
    hint: Arc<Notify>,
}

impl Tailer {
    pub(super) fn new(database: Database, hub: Arc<Hub>, hint: Arc<Notify>) -> Self {
        Self { database, hub, hint }
    }

    /// Publishes events until the future is dropped.
    pub(super) async fn run(self) {
        let hint = Arc::clone(&self.hint);
        tokio::join!(listen::listen(&self.database, || hint.notify_one()), self.follow());
    }

    async fn follow(&self) {
        let mut failed = false;
        loop {
            let hinted = time::timeout(POLL, self.hint.notified()).await.is_ok();
            failed = match self.catch_up(failed || !hinted).await {
                Ok(()) => false,
                Err(error) => {
                    let position = self.hub.cursor().pos;
                    tracing::warn!(%error, position, "reading the feed failed; retrying");
                    time::sleep(RETRY_AFTER).await;
                    true
                }
            };
        }
    }

    /// Publishes the events after the hub's head. `check_epochs` is whether to check first if the
    /// feed was rewound.
    async fn catch_up(&self, mut check_epochs: bool) -> Result<(), DbError> {
        let mut connection = self.database.read().await?;
        loop {
            if check_epochs {
                self.hub.set_epochs(feed::epochs(&mut connection).await?);
            }
            let after = self.hub.cursor().pos;
            let page = feed::following(&mut connection, after, PAGE).await?;
            let full = page.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            if page.iter().any(|event| !self.hub.knows_epoch(event.cursor.epoch)) {
                check_epochs = true;
                continue;
            }
            self.hub.publish(page)?;
            if !full {
                return Ok(());
            }
            check_epochs = false;
        }
    }
}
