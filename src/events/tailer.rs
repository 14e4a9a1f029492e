//! Publishes the feed to the hub, once per node: the events that its node has placed, and those of
//! others, which it reads.
//!
//! It remembers the marks of what it has read, and continues only if the feed still has them. If it
//! has not, the feed was rewound to an earlier state, even if it has grown since: the tailer opens a
//! new epoch before it publishes anything.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time;

use super::{hub::Hub, presence::Presence, task::survive_panics};
use crate::{
    db::{
        Connection, Database, DbError,
        feed::{self, FeedMark},
        feed_hints::FeedHints,
        listen::{self, Heard},
        placing::PlacedEvents,
    },
    domain::clock::Ambient,
};

/// The number of events that are read at once.
const PAGE: i64 = 1_000;
/// How often the feed is read without a hint. Hints can be lost.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// The pause after the database has failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The number of marks that are remembered, one for each page. Cursors before the first of them are
/// not good after the feed was rewound.
const MAX_MARKS: usize = 10_000;

pub(super) struct Tailer {
    database: Database,
    ambient: Ambient,
    hub: Arc<Hub>,
    /// Wakes the tailer when the feed may have grown.
    hints: Arc<FeedHints>,
    /// Receives who has a ticket open.
    presence: Arc<Presence>,
}

/// The marks of what was read, oldest first.
type Marks = VecDeque<FeedMark>;

impl Tailer {
    pub(super) fn new(
        database: Database,
        ambient: Ambient,
        hub: Arc<Hub>,
        hints: Arc<FeedHints>,
        presence: Arc<Presence>,
    ) -> Self {
        Self { database, ambient, hub, hints, presence }
    }

    /// Publishes events until the future is dropped.
    pub(super) async fn run(self) {
        let (hints, hub) = (Arc::clone(&self.hints), Arc::clone(&self.hub));
        let presence = Arc::clone(&self.presence);
        let on_heard = |heard: Heard<'_>| match heard {
            // The node passes on what it has placed.
            Heard::Feed(Some(hint)) if hint.node == hints.node || hint.head <= hub.cursor().pos => {
            }
            Heard::Feed(_) => hints.grown(),
            Heard::Presence(announcement) => presence.receive(announcement),
        };
        tokio::join!(listen::listen(&self.database, on_heard), self.follow());
    }

    async fn follow(&self) {
        let mut marks = Marks::new();
        let mut failed = false;
        loop {
            let hinted = time::timeout(POLL, self.hints.woken()).await.is_ok();
            let publish = async {
                let waiting = self.hints.take();
                let published = self.publish_placed(waiting.placed, &mut marks);
                if hinted && published && !waiting.read && !failed {
                    return Ok(());
                }
                self.catch_up(&mut marks, failed || !hinted).await
            };
            failed = match survive_panics(publish).await {
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

    /// Publishes events that this node has placed. Returns whether nothing needs to be read because
    /// of them: they follow what was read before, mark by mark, in an epoch that the hub knows.
    fn publish_placed(&self, mut placed: Vec<PlacedEvents>, marks: &mut Marks) -> bool {
        placed.sort_by_key(|events| events.after.pos);
        for PlacedEvents { after, page, .. } in placed {
            let pos = self.hub.cursor().pos;
            let follows = after.pos == pos && marks.back() == Some(&after);
            let known = |epoch| self.hub.knows_epoch(epoch);
            if !follows || !page.events.iter().all(|event| known(event.cursor.epoch)) {
                return false;
            }
            if let Err(error) = self.hub.publish(page.events) {
                tracing::warn!(%error, position = pos, "publishing placed events failed");
                return false;
            }
            remember(marks, page.end);
        }
        true
    }

    /// Publishes the events after the hub's head. `check_epochs` is whether to check first if the
    /// feed was rewound.
    async fn catch_up(&self, marks: &mut Marks, mut check_epochs: bool) -> Result<(), DbError> {
        let mut connection = self.database.read().await?;
        loop {
            if check_epochs {
                let epochs = feed::epochs(&mut connection).await?;
                self.hub.set_epochs(epochs, feed::head(&mut connection).await?);
            }
            let read = self.read_so_far(&mut connection, marks).await?;
            let Some(page) = feed::continuing(&mut connection, read, PAGE).await? else {
                drop(connection);
                self.open_epoch(marks).await?;
                connection = self.database.read().await?;
                check_epochs = true;
                continue;
            };
            if page.events.iter().any(|event| !self.hub.knows_epoch(event.cursor.epoch)) {
                check_epochs = true;
                continue;
            }
            let full = page.events.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            self.hub.publish(page.events)?;
            remember(marks, page.end);
            if !full {
                return Ok(());
            }
            check_epochs = false;
        }
    }

    /// Returns the hub's head with its mark: the remembered one, or the one in the database if the
    /// hub has just begun there or was rewound to it.
    async fn read_so_far(
        &self,
        connection: &mut Connection,
        marks: &mut Marks,
    ) -> Result<FeedMark, DbError> {
        let pos = self.hub.cursor().pos;
        while marks.back().is_some_and(|read| read.pos > pos) {
            marks.pop_back();
        }
        match marks.back() {
            Some(&read) if read.pos == pos => Ok(read),
            _ => {
                let read = FeedMark { pos, mark: feed::mark_at(connection, pos).await? };
                remember(marks, read);
                Ok(read)
            }
        }
    }

    /// Opens an epoch after the last position that the feed still has as it was read, unless
    /// another node or the sequencer has opened one that this node does not know yet.
    async fn open_epoch(&self, marks: &Marks) -> Result<(), DbError> {
        let (now, tag) = (self.ambient.now(), i32::from_be_bytes(self.ambient.bytes()));
        let (hub, marks) = (&self.hub, marks.iter().copied().collect::<Vec<_>>());
        let opened = self
            .database
            .write_without_events(async |db| {
                let head = feed::lock_head(db).await?;
                if feed::open_epoch_if_rewound(db, head, tag, now).await? {
                    return Ok(Some(head));
                }
                let epochs = feed::epochs(db).await?;
                if epochs.iter().any(|epoch| !hub.knows_epoch(epoch.tag)) {
                    return Ok(None);
                }
                let common = feed::last_common(db, &marks).await?;
                feed::open_epoch(db, common, tag, now).await?;
                Ok(Some(common))
            })
            .await?;
        if let Some(after) = opened {
            tracing::warn!(after, tag, "the feed was rewound: opened a new epoch");
        }
        Ok(())
    }
}

fn remember(marks: &mut Marks, read: FeedMark) {
    if marks.back().is_some_and(|last| last.pos == read.pos) {
        return;
    }
    if marks.len() == MAX_MARKS {
        marks.pop_front();
    }
    marks.push_back(read);
}
