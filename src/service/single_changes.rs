//! The changes that are made one by one.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use parking_lot::Mutex;

use super::{grouping::Waiting, ticket_writes::Change};
use crate::domain::ids::TicketId;

/// The changes that are made one by one, of each ticket in turn: a ticket that others keep locked holds
/// one connection, however many changes wait for it.
#[derive(Default)]
pub(super) struct SingleChanges(Mutex<HashMap<TicketId, VecDeque<Waiting<Change>>>>);

impl SingleChanges {
    /// Adds a change. Returns whether the caller must start the task that makes those of its ticket.
    pub(super) fn push(&self, waiting: Waiting<Change>) -> bool {
        match self.0.lock().entry(waiting.call.id) {
            Entry::Occupied(mut queue) => {
                queue.get_mut().push_back(waiting);
                false
            }
            Entry::Vacant(queue) => {
                queue.insert(VecDeque::from([waiting]));
                true
            }
        }
    }

    /// Returns the next change of a ticket. `None` if there is none: then the task must end.
    pub(super) fn next(&self, id: TicketId) -> Option<Waiting<Change>> {
        let mut queues = self.0.lock();
        let next = queues.get_mut(&id).and_then(VecDeque::pop_front);
        if next.is_none() {
            queues.remove(&id);
        }
        next
    }

    /// Returns how many changes of a ticket wait.
    pub(super) fn count(&self, id: TicketId) -> usize {
        self.0.lock().get(&id).map_or(0, VecDeque::len)
    }

    /// Removes the first `count` changes of a ticket.
    pub(super) fn take(&self, id: TicketId, count: usize) -> Vec<Waiting<Change>> {
        self.0.lock().get_mut(&id).map(|queue| queue.drain(..count).collect()).unwrap_or_default()
    }
}
