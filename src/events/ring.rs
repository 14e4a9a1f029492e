//! The latest events, in memory. Most replays need no database because of them.

use std::{collections::VecDeque, sync::Arc};

use super::topic::{Topic, topics_of};
use crate::{db::feed::ReplayScope, domain::event::FeedEvent};

/// The number of events that a ring holds. An event holds ids only: about 250 bytes, and 16 for each
/// participant of its ticket, who are at most 50. So a full ring takes at most 11 MB, and less than
/// 3 MB if few tickets are shared.
pub(super) const CAPACITY: usize = 10_000;

/// The latest events of the feed, without gaps.
#[derive(Default)]
pub(super) struct Ring(VecDeque<Arc<FeedEvent>>);

impl Ring {
    /// Adds the event at the next position, and drops the oldest one if the ring is full.
    pub(super) fn push(&mut self, event: Arc<FeedEvent>) {
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    /// Drops all events.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the first `limit` events after a position, without gaps. Empty if the ring does not hold
    /// the next one.
    pub(super) fn following(&self, after: i64, limit: usize) -> Vec<Arc<FeedEvent>> {
        let start = self.0.partition_point(|event| event.cursor.pos <= after);
        let is_next = self.0.get(start).is_some_and(|event| event.cursor.pos == after + 1);
        let limit = if is_next { limit } else { 0 };
        self.0.range(start..).take(limit).cloned().collect()
    }

    /// Returns the first `limit` events in scope with `after` < position ≤ `until`, in order.
    /// `None` if the ring does not hold all events between these positions.
    pub(super) fn replay(
        &self,
        scope: ReplayScope,
        after: i64,
        until: i64,
        limit: usize,
    ) -> Option<Vec<Arc<FeedEvent>>> {
        let (oldest, newest) = (self.0.front()?.cursor.pos, self.0.back()?.cursor.pos);
        if after + 1 < oldest || until > newest {
            return None;
        }
        let start = self.0.partition_point(|event| event.cursor.pos <= after);
        let events = self.0.range(start..).take_while(|event| event.cursor.pos <= until);
        Some(events.filter(|event| in_scope(event, scope)).take(limit).cloned().collect())
    }
}

fn in_scope(event: &FeedEvent, scope: ReplayScope) -> bool {
    let Some(ticket) = event.event.ticket() else { return false };
    match scope {
        ReplayScope::AllTickets => true,
        ReplayScope::Ticket { id, .. } => id == ticket.id,
        ReplayScope::Customer(id) => {
            topics_of(&event.event).any(|topic| topic == Topic::Customer(id))
        }
    }
}
