//! Replays: reading the past events of a stream, page by page.

use std::sync::Arc;

use super::{log::EventLog, task::detached_read};
use crate::{
    db::{
        DbError,
        feed::{self, ReplayScope},
    },
    domain::{event::FeedEvent, ids::AccountId},
    metrics::{ReplaySource, ReplayState},
};

/// The number of events in a page. A stream holds at most one page in memory.
const PAGE: usize = 200;
/// How many positions a statement reads. A customer has few events among them, so that a statement
/// that looked for a full page could read the whole distance that a stream replays.
const SPAN: i64 = 5_000;

/// Events in the order of the feed.
pub(super) struct ReplayPage {
    /// The events.
    pub(super) events: Vec<Arc<FeedEvent>>,
    /// The position up to which these are all events in scope.
    pub(super) read_to: i64,
}

impl ReplayPage {
    /// `until` is the position up to which the page was looked for.
    fn new(events: Vec<Arc<FeedEvent>>, until: i64) -> Self {
        let last = events.last().filter(|_| events.len() >= PAGE);
        let read_to = last.map_or(until, |last| last.cursor.pos);
        Self { events, read_to }
    }
}

impl EventLog {
    /// Returns the first page of events in scope with `after` < position ≤ `until`: from memory,
    /// else from the database. `None` if they are not in memory and `memory_only` is true. A page
    /// that does not reach `until` may be empty; the next one follows after where it was read to.
    pub(super) async fn replay(
        &self,
        account: AccountId,
        scope: ReplayScope,
        (after, until): (i64, i64),
        memory_only: bool,
    ) -> Result<Option<ReplayPage>, DbError> {
        if after >= until {
            return Ok(Some(ReplayPage::new(Vec::new(), until)));
        }
        if let Some(page) = self.hub.replay(scope, after, until, PAGE) {
            self.metrics.replay_read(ReplaySource::Memory);
            return Ok(Some(ReplayPage::new(page, until)));
        }
        if memory_only {
            return Ok(None);
        }
        let read = self.clone().replay_from_database(account, scope, after, until);
        // Boxed, because most streams never get here and should be small.
        Box::pin(detached_read(read)).await.map(Some)
    }

    async fn replay_from_database(
        self,
        account: AccountId,
        scope: ReplayScope,
        after: i64,
        until: i64,
    ) -> Result<ReplayPage, DbError> {
        let until = match scope {
            // It reads the events of that ticket alone.
            ReplayScope::Ticket { .. } => until,
            ReplayScope::Customer(_) | ReplayScope::AllTickets => until.min(after + SPAN),
        };
        let waiting = self.metrics.replay(ReplayState::Waiting);
        let read = async {
            drop(waiting);
            let _reading = self.metrics.replay(ReplayState::Reading);
            self.metrics.replay_read(ReplaySource::Database);
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let mut connection = self.database.read().await?;
            feed::replay(&mut connection, scope, after, until, limit).await
        };
        let events = self.replay_turns.run(account, read).await?;
        Ok(ReplayPage::new(events.into_iter().map(Arc::new).collect(), until))
    }
}
