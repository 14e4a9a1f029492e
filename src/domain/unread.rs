//! What somebody has not read yet.

use super::ids::AccountId;

/// Somebody who reads tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Whose account.
    pub account: AccountId,
    /// Whether internal notes are news to them: they are staff, and look after the tickets
    /// that are assigned to them instead of those that they take part in.
    pub is_staff: bool,
}

/// How many tickets are somebody's own concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketCounts {
    /// Neither resolved nor closed.
    pub open: i64,
    /// With something that others did and they have not read.
    pub unread: i64,
}
