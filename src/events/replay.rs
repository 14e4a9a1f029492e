//! Replays: reading the past events of a stream, page by page.

use std::sync::Arc;

use super::{log::EventLog, task::detached_read};
use crate::{
    db::{
        DbError,
        feed::{self, ReplayScope},
    },
    domain::event::FeedEvent,
    metrics::{ReplaySource, ReplayState},
};

/// The number of events in a page. A stream holds at most one page in memory.
const PAGE: usize = 200;

/// The events of a page, in the order of the feed.
pub(super) type ReplayPage = Vec<Arc<FeedEvent>>;

impl EventLog {
    /// Returns the first page of events in scope with `after` < position ≤ `until`: from memory,
    /// else from the database. `None` if they are not in memory and `memory_only` is true.
    pub(super) async fn replay(
        &self,
        scope: ReplayScope,
        after: i64,
        until: i64,
        memory_only: bool,
    ) -> Result<Option<ReplayPage>, DbError> {
        if after >= until {
            return Ok(Some(Vec::new()));
        }
        if let Some(page) = self.hub.replay(scope, after, until, PAGE) {
            self.metrics.replay_read(ReplaySource::Memory);
            return Ok(Some(page));
        }
        if memory_only {
            return Ok(None);
        }
        let read = self.clone().replay_from_database(scope, after, until);
        // Boxed, because most streams never get here and should be small.
        Box::pin(detached_read(read)).await.map(Some)
    }

    async fn replay_from_database(
        self,
        scope: ReplayScope,
        after: i64,
        until: i64,
    ) -> Result<ReplayPage, DbError> {
        let waiting = self.metrics.replay(ReplayState::Waiting);
        // The semaphore is never closed, so a permit always comes.
        let _permit = self.database_replays.acquire().await.ok();
        drop(waiting);
        let _reading = self.metrics.replay(ReplayState::Reading);
        self.metrics.replay_read(ReplaySource::Database);
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let mut connection = self.database.read().await?;
        let page = feed::replay(&mut connection, scope, after, until, limit).await?;
        Ok(page.into_iter().map(Arc::new).collect())
    }
}
