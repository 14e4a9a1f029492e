//! The statuses and priorities of tickets.

use async_graphql::Enum;

use crate::domain::ticket::{Priority, Status};

/// The status of a ticket.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "Status")]
pub enum TicketStatus {
    /// The next step is support's. Every new ticket starts here.
    WaitingForSupport,
    /// Support is working on the ticket.
    WorkingOnIt,
    /// The next step is the customer's.
    WaitingForCustomer,
    /// Finished, but not permanently. A public comment by a customer moves the ticket back to
    /// `WAITING_FOR_SUPPORT`, and the customer who opened it can do the same with `updateTicket`.
    /// Otherwise it closes automatically after 14 days, unless the operator has configured
    /// another period or none.
    Resolved,
    /// Finished permanently. A follow-up ticket can continue it: see
    /// `CreateTicketInput.followUpToId`.
    Closed,
}

/// How urgent a ticket is.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "Priority")]
pub enum TicketPriority {
    /// Not urgent at all.
    Lowest,
    /// Less urgent than most.
    Low,
    /// The priority of every new ticket.
    Medium,
    /// More urgent than most.
    High,
    /// The most urgent.
    Highest,
}
