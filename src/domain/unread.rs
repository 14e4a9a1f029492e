//! Unread tickets.

use super::ids::AccountId;

/// A person who reads tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketReader {
    /// The person's account.
    pub account: AccountId,
    /// Whether the person is staff. Internal notes count as unread for staff, and their own
    /// tickets are those assigned to them instead of those that they take part in.
    pub is_staff: bool,
}

/// The counts of a person's own tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketCounts {
    /// How many are neither resolved nor closed.
    pub open: i64,
    /// How many have events by others that the person has not read.
    pub unread: i64,
}
