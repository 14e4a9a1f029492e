//! Tells other nodes that this node has placed events.
//!
//! NOTIFY is a statement of its own: in the transaction of a write, it would make all commits of the
//! server take turns.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::time;
use tokio_util::sync::CancellationToken;

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

    /// Announces what this node places, until it stops. Then [`Announcer::finish`] must be called.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.hints.unannounced()).await.is_some() {
            let pause = match self.announce().await {
                Ok(()) => EVERY,
                Err(error) => {
                    tracing::warn!(%error, "announcing events to other nodes failed; retrying");
                    self.hints.unannounced_again();
                    RETRY_AFTER
                }
            };
            stop.run_until_cancelled(time::sleep(pause)).await;
        }
    }

    /// Announces what was placed until nothing was placed any more.
    pub(super) async fn finish(&self) {
        if self.hints.unannounced().now_or_never().is_some()
            && let Err(error) = self.announce().await
        {
            tracing::warn!(%error, "announcing the last events to other nodes failed");
        }
    }

    /// Announces the end of the feed, in less time than other nodes take to look for themselves. What a
    /// statement in doubt commits after that, they find so too.
    async fn announce(&self) -> Result<(), DbError> {
        let announce =
            async { feed::announce_head(&mut *self.database.read().await?, self.hints.node).await };
        let announced = time::timeout(POLL, survive_panics(announce)).await;
        announced.unwrap_or_else(|_| Err(DbError::Unavailable("it took too long".into())))
    }
}
