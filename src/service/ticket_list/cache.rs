//! The tickets in lists of staff that are kept in memory.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use crate::{
    db::ticket::list::EntryVersion,
    domain::{ids::TicketId, ticket::Ticket},
};

/// About how many bytes all tickets take at most.
const MAX_BYTES: u64 = 32 << 20;
/// How long a ticket is kept at most.
const MAX_AGE: Duration = Duration::from_hours(1);

/// The tickets that are kept. Clones share them.
#[derive(Clone)]
pub(in crate::service) struct TicketCache(Cache<TicketId, Kept>);

/// A ticket as it was read.
#[derive(Clone)]
struct Kept {
    state: TicketState,
    ticket: Arc<Ticket>,
}

/// The state in which a ticket was read. If it has the same state later, it is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TicketState {
    pub(super) version: EntryVersion,
    /// The epoch of the feed: after a restore, entries may have the same versions again.
    pub(super) epoch: i32,
}

impl TicketCache {
    /// Returns a ticket, if it is kept in this state.
    pub(super) fn get(&self, id: TicketId, state: TicketState) -> Option<Arc<Ticket>> {
        self.0.get(&id).filter(|kept| kept.state == state).map(|kept| kept.ticket)
    }

    pub(super) fn insert(&self, ticket: Arc<Ticket>, state: TicketState) {
        self.0.insert(ticket.id, Kept { state, ticket });
    }
}

impl Default for TicketCache {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MAX_BYTES).time_to_live(MAX_AGE);
        let size = |kept: &Kept| size_of::<Kept>() + kept.ticket.size();
        let weight = move |_: &TicketId, kept: &Kept| u32::try_from(size(kept)).unwrap_or(u32::MAX);
        Self(cache.weigher(weight).build())
    }
}
