//! Reads the feed, once a node, and publishes it to the hub.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time};

use super::hub::Hub;
use crate::db::{Database, DbError, feed, listen};

const PAGE: i64 = 1_000;
/// Hints may be lost; the feed is looked at this often without one.
const POLL: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Tailer {
    database: Database,
    hub: Arc<Hub>,
    hint: Arc<Notify>,
}

impl Tailer {
    pub(super) fn new(database: Database, hub: Arc<Hub>, hint: Arc<Notify>) -> Self {
        Self { database, hub, hint }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let hint = Arc::clone(&self.hint);
        tokio::join!(listen::listen(&self.database, || hint.notify_one()), self.follow());
    }

    async fn follow(&self) {
        let mut look_whole = false;
        loop {
            let hinted = time::timeout(POLL, self.hint.notified()).await.is_ok();
            look_whole = match self.catch_up(look_whole || !hinted).await {
                Ok(()) => false,
                Err(error) => {
                    tracing::warn!(%error, "the tailer failed and tries again");
                    time::sleep(RETRY_AFTER).await;
                    true
                }
            };
        }
    }

    /// Publishes what the feed has after the hub's head. `look_whole`: also sees
    /// whether the feed was rewound.
    async fn catch_up(&self, look_whole: bool) -> Result<(), DbError> {
        let mut connection = self.database.read().await?;
        let mut look_whole = look_whole;
        loop {
            if look_whole {
                self.hub.set_epochs(feed::epochs(&mut connection).await?);
            }
            let after = self.hub.cursor().pos;
            let page = feed::following(&mut connection, after, PAGE).await?;
            let full = page.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            if page.iter().any(|event| !self.hub.knows_epoch(event.cursor.epoch)) {
                look_whole = true;
                continue;
            }
            self.hub.publish(page)?;
            if !full {
                return Ok(());
            }
            look_whole = false;
        }
    }
}
