//! Pages of timelines, and comments, that are kept in memory.
//!
//! The events of a ticket never change, and neither does what they refer to: a ticket's counter of
//! events grows with everything that happens to it. What is kept is found by that counter, which
//! every request reads with the ticket, so it is no older than the ticket, on whatever node
//! something has happened.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use super::page::{TimelinePage, TimelineRequest};
use crate::domain::{
    comment::Comment,
    ids::{CommentId, TicketId},
};

/// How long something is kept at most.
const MAX_AGE: Duration = Duration::from_hours(1);
/// About how many bytes an event and a comment without its text take.
const EVENT_BYTES: usize = 256;
const COMMENT_BYTES: usize = 128;

/// What a page depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::service) struct PageKey {
    pub(super) ticket: TicketId,
    /// The ticket's counter of events.
    pub(super) events: i64,
    /// Whether the page contains what only staff may see.
    pub(super) internal: bool,
    pub(super) request: TimelineRequest,
    /// The epoch of the feed: after a restore, the counter may have the same values again.
    pub(super) epoch: i32,
}

/// What a comment depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::service) struct CommentKey {
    pub(super) id: CommentId,
    /// The counter of events of its ticket.
    pub(super) events: i64,
    /// The epoch of the feed, as for a page.
    pub(super) epoch: i32,
}

/// Pages of timelines, and comments. Clones share them.
#[derive(Clone)]
pub(in crate::service) struct TimelineCache(Cache<Key, Kept>);

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Page(PageKey),
    Comment(CommentKey),
}

#[derive(Clone)]
enum Kept {
    Page(Arc<TimelinePage>),
    Comment(Arc<Comment>),
}

impl TimelineCache {
    /// Creates an empty cache of at most this many bytes.
    pub(in crate::service) fn new(max_bytes: usize) -> Self {
        let cache = Cache::builder().max_capacity(max_bytes as u64).time_to_live(MAX_AGE);
        Self(cache.weigher(|_, kept: &Kept| kept.weight()).build())
    }

    /// Returns about how many bytes the cache takes.
    pub(in crate::service) fn bytes(&self) -> u64 {
        self.0.weighted_size()
    }

    pub(super) fn page(&self, key: PageKey) -> Option<Arc<TimelinePage>> {
        match self.0.get(&Key::Page(key)) {
            Some(Kept::Page(page)) => Some(page),
            _ => None,
        }
    }

    pub(super) fn insert_page(&self, key: PageKey, page: Arc<TimelinePage>) {
        self.0.insert(Key::Page(key), Kept::Page(page));
    }

    pub(super) fn comment(&self, key: CommentKey) -> Option<Arc<Comment>> {
        match self.0.get(&Key::Comment(key)) {
            Some(Kept::Comment(comment)) => Some(comment),
            _ => None,
        }
    }

    pub(super) fn insert_comment(&self, key: CommentKey, comment: Arc<Comment>) {
        self.0.insert(Key::Comment(key), Kept::Comment(comment));
    }
}

/// Returns about how many bytes a comment takes.
pub(in crate::service) fn comment_bytes(comment: &Comment) -> usize {
    COMMENT_BYTES + comment.body.len()
}

impl Kept {
    /// Returns about how many bytes this takes.
    fn weight(&self) -> u32 {
        let bytes = EVENT_BYTES
            + match self {
                Self::Page(page) => {
                    let comments = page.comments.iter().map(|it| comment_bytes(it)).sum::<usize>();
                    comments + EVENT_BYTES * page.events.items.len()
                }
                Self::Comment(comment) => comment_bytes(comment),
            };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}
