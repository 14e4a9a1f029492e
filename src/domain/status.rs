//! Statuses and priorities, and the table of allowed status changes.

use super::account::Locale;

/// The status of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Support must act.
    WaitingForSupport,
    /// Support is acting.
    WorkingOnIt,
    /// The customer must answer.
    WaitingForCustomer,
    /// Done. The customer who opened the ticket may reopen it.
    Resolved,
    /// Done permanently.
    Closed,
}

/// The priority of a ticket, in ascending order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Can wait indefinitely.
    Lowest,
    /// Can wait.
    Low,
    /// The priority of most tickets.
    Medium,
    /// More urgent than most.
    High,
    /// The most urgent.
    Highest,
}

/// How a person relates to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketRelation {
    /// The person is an agent or admin.
    pub staff: bool,
    /// The person opened the ticket.
    pub reporter: bool,
    /// The person takes part in the ticket but did not open it.
    pub participant: bool,
}

impl Status {
    /// All statuses, in the order of a ticket's life.
    pub const ALL: [Self; 5] = [
        Self::WaitingForSupport,
        Self::WorkingOnIt,
        Self::WaitingForCustomer,
        Self::Resolved,
        Self::Closed,
    ];

    /// Returns the name for display.
    pub fn name(self, locale: Locale) -> &'static str {
        use Locale::{En, Ru};
        match (self, locale) {
            (Self::WaitingForSupport, En) => "Waiting for support",
            (Self::WaitingForSupport, Ru) => "Ожидает поддержки",
            (Self::WorkingOnIt, En) => "Working on it",
            (Self::WorkingOnIt, Ru) => "В работе",
            (Self::WaitingForCustomer, En) => "Waiting for customer",
            (Self::WaitingForCustomer, Ru) => "Ожидает клиента",
            (Self::Resolved, En) => "Resolved",
            (Self::Resolved, Ru) => "Решена",
            (Self::Closed, En) => "Closed",
            (Self::Closed, Ru) => "Закрыта",
        }
    }

    /// Returns whether the status is neither resolved nor closed.
    pub fn is_open(self) -> bool {
        matches!(self, Self::WaitingForSupport | Self::WorkingOnIt | Self::WaitingForCustomer)
    }

    /// Returns whether a person may change the status to another one.
    pub fn may_move(self, to: Self, by: TicketRelation) -> bool {
        let ends = matches!(to, Self::Resolved | Self::Closed);
        let staff_may = self.is_open() && (to.is_open() || ends) && self != to;
        let reporter_may =
            (self.is_open() && ends) || (self == Self::Resolved && to == Self::WaitingForSupport);
        (by.staff && staff_may) || (by.reporter && reporter_may)
    }

    /// Returns the status that a public comment changes this one to, if any.
    pub fn after_comment(self, by: TicketRelation) -> Option<Self> {
        let customer = by.reporter || by.participant;
        match self {
            Self::WaitingForSupport if by.staff && !customer => Some(Self::WorkingOnIt),
            Self::WaitingForCustomer | Self::Resolved if customer => Some(Self::WaitingForSupport),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Status::*, *};

    const STRANGER: TicketRelation =
        TicketRelation { staff: false, reporter: false, participant: false };
    const STAFF: TicketRelation = TicketRelation { staff: true, ..STRANGER };
    const REPORTER: TicketRelation = TicketRelation { reporter: true, ..STRANGER };
    const PARTICIPANT: TicketRelation = TicketRelation { participant: true, ..STRANGER };

    #[test]
    fn the_allowed_status_changes_are_exactly_these() {
        let allowed = |by| -> Vec<(Status, Status)> {
            let pairs = Status::ALL.into_iter().flat_map(|from| Status::ALL.map(|to| (from, to)));
            pairs.filter(|&(from, to)| from.may_move(to, by)).collect()
        };
        assert_eq!(
            allowed(STAFF),
            [
                (WaitingForSupport, WorkingOnIt),
                (WaitingForSupport, WaitingForCustomer),
                (WaitingForSupport, Resolved),
                (WaitingForSupport, Closed),
                (WorkingOnIt, WaitingForSupport),
                (WorkingOnIt, WaitingForCustomer),
                (WorkingOnIt, Resolved),
                (WorkingOnIt, Closed),
                (WaitingForCustomer, WaitingForSupport),
                (WaitingForCustomer, WorkingOnIt),
                (WaitingForCustomer, Resolved),
                (WaitingForCustomer, Closed),
            ]
        );
        assert_eq!(
            allowed(REPORTER),
            [
                (WaitingForSupport, Resolved),
                (WaitingForSupport, Closed),
                (WorkingOnIt, Resolved),
                (WorkingOnIt, Closed),
                (WaitingForCustomer, Resolved),
                (WaitingForCustomer, Closed),
                (Resolved, WaitingForSupport),
            ]
        );
        assert_eq!(allowed(PARTICIPANT), []);
        assert_eq!(allowed(STRANGER), []);
    }

    #[test]
    fn a_comment_moves_a_ticket_to_the_side_that_must_act() {
        let moves = |by: TicketRelation| Status::ALL.map(|status| status.after_comment(by));
        assert_eq!(moves(STAFF), [Some(WorkingOnIt), None, None, None, None]);
        for customer in [REPORTER, PARTICIPANT] {
            assert_eq!(
                moves(customer),
                [None, None, Some(WaitingForSupport), Some(WaitingForSupport), None]
            );
        }
    }
}
