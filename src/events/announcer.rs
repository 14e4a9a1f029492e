//! Tells other nodes that this node has placed events.
//!
//! NOTIFY is a statement of its own: in the transaction of a write, it would make all commits of the
//! server take turns.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::time;

use super::{tailer::POLL, task::survive_panics};
use crate::db::{Database, DbError, feed, feed_hints::FeedHints};

/// How often events are announced at most. Those that are placed in between are announced together.
const EVERY: Duration = Duration::from_millis(10);
/// The pause after the database has failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Announcer {
    database: Database,
    hints: Arc<FeedHints>,
}

impl Announcer {
    pub(super) fn new(database: Database, hints: Arc<FeedHints>) -> Self {
        Self { database, hints }
    }

    /// Announces what this node places, until the future is dropped.
    pub(super) async fn run(&self) {
        loop {
            self.hints.unannounced().await;
            while let Err(error) = survive_panics(self.announce()).await {
                tracing::warn!(%error, "announcing events to other nodes failed; retrying");
                time::sleep(RETRY_AFTER).await;
            }
            time::sleep(EVERY).await;
        }
    }

    /// Announces what was placed before the node stops. It does not try for long: other nodes look for
    /// themselves after [`POLL`].
    pub(super) async fn finish(&self) {
        if self.hints.unannounced().now_or_never().is_some() {
            let _ = time::timeout(POLL, survive_panics(self.announce())).await;
        }
    }

    async fn announce(&self) -> Result<(), DbError> {
        feed::announce_head(&mut *self.database.read().await?, self.hints.node).await
    }
}
