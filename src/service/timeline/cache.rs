//! Pages of timelines that are kept in memory.
//!
//! The events of a ticket never change, and neither does what they refer to: a ticket's counter of
//! events grows with everything that happens to it. A page is found by that counter, which every
//! request reads with the ticket, so no page is older than its ticket, on whatever node something
//! has happened.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use super::page::{TimelinePage, TimelineRequest};
use crate::domain::ids::TicketId;

/// How long a page is kept at most.
const MAX_AGE: Duration = Duration::from_hours(1);
/// What an event takes in memory, without texts.
const EVENT_BYTES: usize = 512;

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

/// Pages of timelines. Clones share them.
#[derive(Clone)]
pub(in crate::service) struct TimelineCache(Cache<PageKey, Arc<TimelinePage>>);

impl TimelineCache {
    /// Creates an empty cache of at most this many bytes.
    pub(in crate::service) fn new(max_bytes: usize) -> Self {
        let cache = Cache::builder().max_capacity(max_bytes as u64).time_to_live(MAX_AGE);
        Self(cache.weigher(|_, page| weight(page)).build())
    }

    pub(super) fn get(&self, key: &PageKey) -> Option<Arc<TimelinePage>> {
        self.0.get(key)
    }

    pub(super) fn insert(&self, key: PageKey, page: Arc<TimelinePage>) {
        self.0.insert(key, page);
    }
}

/// Returns about how many bytes a page takes.
fn weight(page: &Arc<TimelinePage>) -> u32 {
    let texts = page.comments.iter().map(|comment| comment.body.len()).sum::<usize>();
    let bytes = texts + EVENT_BYTES * (1 + page.events.items.len());
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
