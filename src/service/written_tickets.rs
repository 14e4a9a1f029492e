//! The tickets that this node has just written. The next change of such a ticket is decided without
//! reading it: the statement that writes the change compares the ticket's number of events, and what
//! was decided on a ticket that has changed since, or in another epoch, is decided again.

use std::time::Duration;

use moka::sync::Cache;

use crate::domain::{ids::TicketId, ticket::Ticket};

/// About how many bytes the tickets take at most.
const MAX_BYTES: u64 = 8 << 20;
/// About how many bytes a ticket takes without its texts and participants.
const TICKET_BYTES: usize = 512;
/// How long a ticket is kept.
const MAX_AGE: Duration = Duration::from_mins(1);

/// The tickets. Clones share them.
#[derive(Clone)]
pub(super) struct WrittenTickets(Cache<TicketId, WrittenTicket>);

/// A ticket as it was written.
#[derive(Clone)]
pub(super) struct WrittenTicket {
    pub(super) ticket: Ticket,
    /// The epoch in which it was written.
    pub(super) epoch: i32,
}

impl Default for WrittenTickets {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MAX_BYTES).time_to_live(MAX_AGE);
        Self(cache.weigher(|_, written: &WrittenTicket| weight(&written.ticket)).build())
    }
}

impl WrittenTickets {
    /// Adds a ticket as it was written.
    pub(super) fn add(&self, ticket: Ticket, epoch: i32) {
        // The accounts may have changed since.
        let ticket = Ticket { account_changes: None, ..ticket };
        self.0.insert(ticket.id, WrittenTicket { ticket, epoch });
    }

    /// Takes a ticket out, as this node has last written it.
    pub(super) fn take(&self, id: TicketId) -> Option<WrittenTicket> {
        self.0.remove(&id)
    }
}

fn weight(ticket: &Ticket) -> u32 {
    let people = ticket.participant_ids.len() + ticket.past_participant_ids.len();
    let bytes = ticket.summary.len() + ticket.description.len() + 16 * people + TICKET_BYTES;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
