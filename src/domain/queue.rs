//! What staff pick their tickets by, in lists and in live streams.

use super::{
    clock::Timestamp,
    event::{Event, TicketState},
    ids::{AccountId, CategoryId},
    search::SearchQuery,
    status::{Priority, Status},
    unread::Reader,
};

/// Which tickets a list or stream is narrowed to; `None` leaves a field open.
#[derive(Clone, Debug, Default)]
pub struct TicketFilter {
    /// Any of these statuses.
    pub statuses: Option<Vec<Status>>,
    /// Any of these priorities.
    pub priorities: Option<Vec<Priority>>,
    /// In any of these categories.
    pub categories: Option<Vec<CategoryId>>,
    /// Assigned to this account; `Some(None)`: to nobody.
    pub assignee: Option<Option<AccountId>>,
    /// Opened by this account.
    pub reporter: Option<AccountId>,
}

/// Which tickets a list is narrowed to: by what a stream can be narrowed to as well, and by
/// what no event tells.
#[derive(Clone, Debug, Default)]
pub struct TicketSelection {
    /// What a stream can be narrowed to.
    pub filter: TicketFilter,
    /// Waiting for support since then at the latest.
    pub waiting_since: Option<Timestamp>,
    /// With these words.
    pub search: Option<SearchQuery>,
    /// Unread by somebody, or not.
    pub unread: Option<(Reader, bool)>,
}

/// How many tickets of a category have a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketCount {
    /// The category.
    pub category: CategoryId,
    /// The status.
    pub status: Status,
    /// How many.
    pub count: i64,
}

impl TicketFilter {
    /// Whether an event concerns a ticket that matched the filter before or after it, so
    /// that a stream shows tickets come and go. Depends on the event alone. An event whose
    /// state before or after it is not known matches.
    pub fn matches(&self, event: &Event) -> bool {
        let Some(ticket) = event.ticket() else { return false };
        if self.reporter.is_some_and(|reporter| reporter != ticket.reporter) {
            return false;
        }
        let Some(after) = ticket.state else { return true };
        self.includes(after)
            || after.before(&ticket.event).is_none_or(|before| self.includes(before))
    }

    fn includes(&self, state: TicketState) -> bool {
        fn any<T: PartialEq>(required: Option<&Vec<T>>, value: &T) -> bool {
            required.is_none_or(|required| required.contains(value))
        }
        any(self.statuses.as_ref(), &state.status)
            && any(self.priorities.as_ref(), &state.priority)
            && any(self.categories.as_ref(), &state.category)
            && self.assignee.is_none_or(|required| required == state.assignee)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        event::{AccountEvent, AccountSubject, Audience, Subject, TicketEvent, TicketSubject},
        ids::{EventId, TicketId},
    };

    const SALES: CategoryId = CategoryId(Uuid::from_u128(1));
    const SUPPORT: CategoryId = CategoryId(Uuid::from_u128(2));
    const ANNA: AccountId = AccountId(Uuid::from_u128(3));
    const MARTA: AccountId = AccountId(Uuid::from_u128(4));

    fn happened(event: TicketEvent) -> TicketSubject {
        TicketSubject {
            id: TicketId(Uuid::nil()),
            reporter: ANNA,
            participants: vec![],
            state: Some(TicketState {
                category: SALES,
                status: Status::WorkingOnIt,
                priority: Priority::High,
                assignee: Some(MARTA),
            }),
            audience: Audience::Participants,
            event,
        }
    }

    fn logged(subject: Subject) -> Event {
        Event { id: EventId(1), actor_id: None, occurred_at: Timestamp::default(), subject }
    }

    fn event(event: TicketEvent) -> Event {
        logged(Subject::Ticket(happened(event)))
    }

    #[test]
    fn a_filter_matches_tickets_that_enter_or_leave_it() {
        let sales = TicketFilter { categories: Some(vec![SALES]), ..TicketFilter::default() };
        let support = TicketFilter { categories: Some(vec![SUPPORT]), ..TicketFilter::default() };
        let moved = event(TicketEvent::CategoryChanged { from: SUPPORT, to: SALES });
        assert!(sales.matches(&moved) && support.matches(&moved));
        let reworded = event(TicketEvent::SummaryChanged {});
        assert!(sales.matches(&reworded) && !support.matches(&reworded));

        let open = TicketFilter { assignee: Some(None), ..TicketFilter::default() };
        let hers = TicketFilter { assignee: Some(Some(MARTA)), ..TicketFilter::default() };
        let assigned = event(TicketEvent::AssigneeChanged { from: None, to: Some(MARTA) });
        assert!(open.matches(&assigned) && hers.matches(&assigned));
        assert!(!open.matches(&reworded) && hers.matches(&reworded));

        let resolved = TicketFilter { statuses: Some(vec![Status::Resolved]), ..sales.clone() };
        let reopened =
            event(TicketEvent::StatusChanged { from: Status::Resolved, to: Status::WorkingOnIt });
        assert!(resolved.matches(&reopened) && !resolved.matches(&moved));
        let low = TicketFilter { priorities: Some(vec![Priority::Low]), ..sales.clone() };
        let raised =
            event(TicketEvent::PriorityChanged { from: Priority::Low, to: Priority::High });
        assert!(low.matches(&raised) && !low.matches(&moved));

        let of = |reporter| TicketFilter { reporter: Some(reporter), ..TicketFilter::default() };
        assert!(of(ANNA).matches(&moved) && !of(MARTA).matches(&moved));
    }

    #[test]
    fn a_filter_matches_events_whose_state_is_not_known() {
        let nothing = TicketFilter { statuses: Some(vec![]), ..TicketFilter::default() };
        let reworded = happened(TicketEvent::SummaryChanged {});
        assert!(!nothing.matches(&logged(Subject::Ticket(reworded.clone()))));
        let stateless = TicketSubject { state: None, ..reworded };
        assert!(nothing.matches(&logged(Subject::Ticket(stateless))));
        assert!(nothing.matches(&event(TicketEvent::Unknown)));
    }

    #[test]
    fn a_filter_matches_no_event_about_an_account() {
        let event = AccountEvent::PasswordChanged {};
        let account = logged(Subject::Account(AccountSubject { id: ANNA, event }));
        assert!(!TicketFilter::default().matches(&account));
    }
}
