//! Lists of tickets: their sort orders and the positions in them.

use super::{
    clock::Timestamp,
    ids::TicketId,
    page::Direction,
    ticket::{Priority, Ticket},
};

/// What a list is sorted by. Ties are sorted by id, in the same direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketSort {
    /// The time the ticket was opened.
    CreatedAt,
    /// The time of the last change that the customer can see.
    UpdatedAt,
    /// The priority. Ascending order runs from lowest to highest.
    Priority,
    /// The time since which the ticket waits for support. Tickets that do not wait come
    /// last in both directions.
    WaitingSince,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketListOrder {
    /// What the list is sorted by.
    pub sort: TicketSort,
    /// Whether it starts with the largest value.
    pub descending: bool,
}

impl TicketListOrder {
    /// Returns whether a page that is counted from this end of the list is read from the largest
    /// value on.
    pub fn reads_descending(self, direction: Direction) -> bool {
        self.descending != (direction == Direction::Backward)
    }
}

/// The position of a ticket in a sorted list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketKey {
    /// In a list sorted by [`TicketSort::CreatedAt`] or [`TicketSort::UpdatedAt`].
    Time(Timestamp, TicketId),
    /// In a list sorted by [`TicketSort::Priority`].
    Priority(Priority, TicketId),
    /// In a list sorted by [`TicketSort::WaitingSince`]. `None` if the ticket does not wait.
    Waiting(Option<Timestamp>, TicketId),
}

impl TicketKey {
    /// Returns the position of a ticket in a list with this sort order.
    pub fn of(ticket: &Ticket, sort: TicketSort) -> Self {
        match sort {
            TicketSort::CreatedAt => Self::Time(ticket.created_at, ticket.id),
            TicketSort::UpdatedAt => Self::Time(ticket.updated_at, ticket.id),
            TicketSort::Priority => Self::Priority(ticket.priority, ticket.id),
            TicketSort::WaitingSince => Self::Waiting(ticket.waiting_since, ticket.id),
        }
    }
}
