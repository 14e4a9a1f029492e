//! Merging: a ticket is closed and continues in another one.

use chrono::TimeDelta;

use super::{clock::Timestamp, ids::TicketId, status::Status};

/// How long a merge can be undone.
pub const UNMERGE_WITHIN: TimeDelta = TimeDelta::hours(24);
/// The maximum number of tickets that are merged into the same one.
pub const MAX_MERGED_TICKETS: usize = 50;

/// That a ticket was merged into another, and what it was like before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The ticket that was merged.
    pub ticket_id: TicketId,
    /// The ticket that it was merged into.
    pub into_id: TicketId,
    /// When it was merged.
    pub merged_at: Timestamp,
    /// The status that it had.
    pub status: Status,
    /// Since when it had been waiting for support, or `None` if it had not.
    pub waiting_since: Option<Timestamp>,
    /// When it had been resolved, or `None` if its status was not resolved.
    pub resolved_at: Option<Timestamp>,
}

impl Merge {
    /// Returns whether the merge can still be undone.
    pub fn can_be_undone(&self, now: Timestamp) -> bool {
        now - self.merged_at < UNMERGE_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_merge_can_be_undone_for_a_day() {
        let merge = Merge {
            ticket_id: TicketId(Uuid::from_u128(1)),
            into_id: TicketId(Uuid::from_u128(2)),
            merged_at: Timestamp::default(),
            status: Status::Resolved,
            waiting_since: None,
            resolved_at: None,
        };
        let after = |time| merge.can_be_undone(merge.merged_at + time);
        assert!(after(UNMERGE_WITHIN - TimeDelta::milliseconds(1)));
        assert!(!after(UNMERGE_WITHIN));
    }
}
