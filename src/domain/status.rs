//! Statuses and priorities, and the one table of who may move what.

use super::account::Locale;

/// Where a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Support has to act.
    WaitingForSupport,
    /// Support is acting.
    WorkingOnIt,
    /// The customer has to answer.
    WaitingForCustomer,
    /// Done, and the reporter may take it up again.
    Resolved,
    /// Done for good.
    Closed,
}

/// How urgent a ticket is, from low to high.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Can wait for any time.
    Lowest,
    /// Can wait.
    Low,
    /// As most are.
    Medium,
    /// Before others.
    High,
    /// Before all others.
    Highest,
}

/// In what capacities a person stands to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// They are staff.
    pub staff: bool,
    /// They opened it.
    pub reporter: bool,
    /// They take part in it, without having opened it.
    pub participant: bool,
}

impl Status {
    /// All of them, in the order of a ticket's life.
    pub const ALL: [Self; 5] = [
        Self::WaitingForSupport,
        Self::WorkingOnIt,
        Self::WaitingForCustomer,
        Self::Resolved,
        Self::Closed,
    ];

    /// Its name for people.
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

    /// Neither resolved nor closed.
    pub fn is_open(self) -> bool {
        matches!(self, Self::WaitingForSupport | Self::WorkingOnIt | Self::WaitingForCustomer)
    }

    /// The whole table of who may move a ticket from here to where.
    pub fn may_move(self, to: Self, by: Standing) -> bool {
        let ends = matches!(to, Self::Resolved | Self::Closed);
        let staff_may = self.is_open() && (to.is_open() || ends) && self != to;
        let reporter_may =
            (self.is_open() && ends) || (self == Self::Resolved && to == Self::WaitingForSupport);
        (by.staff && staff_may) || (by.reporter && reporter_may)
    }

    /// Where a public comment moves a ticket that stands here, if anywhere.
    pub fn after_comment(self, by: Standing) -> Option<Self> {
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

    const STRANGER: Standing = Standing { staff: false, reporter: false, participant: false };
    const STAFF: Standing = Standing { staff: true, ..STRANGER };
    const REPORTER: Standing = Standing { reporter: true, ..STRANGER };
    const PARTICIPANT: Standing = Standing { participant: true, ..STRANGER };

    #[test]
    fn the_table_of_moves_is_exactly_this() {
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
    fn comments_move_a_ticket_to_whose_turn_it_is() {
        let moves = |by: Standing| Status::ALL.map(|status| status.after_comment(by));
        assert_eq!(moves(STAFF), [Some(WorkingOnIt), None, None, None, None]);
        for customer in [REPORTER, PARTICIPANT] {
            assert_eq!(
                moves(customer),
                [None, None, Some(WaitingForSupport), Some(WaitingForSupport), None]
            );
        }
    }
}
