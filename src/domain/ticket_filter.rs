//! Filters of tickets, for lists and for live streams of a queue. Lists apply them in SQL, in
//! `conditions` of `db/ticket/list.rs`; streams apply them here, in [`TicketFilter::matches_event`].

use super::{
    clock::Timestamp,
    event::{Event, TicketState},
    ids::{AccountId, CategoryId},
    search::SearchQuery,
    status::{Priority, Status},
    unread::TicketReader,
};

/// A filter that lists and live streams support. `None` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketFilter {
    /// Tickets with any of these statuses.
    pub statuses: Option<Vec<Status>>,
    /// Tickets with any of these priorities.
    pub priorities: Option<Vec<Priority>>,
    /// Tickets in any of these categories.
    pub categories: Option<Vec<CategoryId>>,
    /// Tickets assigned to this account. `Some(None)` matches unassigned tickets.
    pub assignee: Option<Option<AccountId>>,
    /// Tickets that are not assigned to this account.
    pub unless_assigned_to: Option<AccountId>,
    /// Tickets that this account opened.
    pub reporter: Option<AccountId>,
}

/// A filter that only lists support: its additional conditions cannot be decided from an event.
/// `None` matches everything.
#[derive(Clone, Debug, Default)]
pub struct TicketListFilter {
    /// The conditions that live streams support too.
    pub filter: TicketFilter,
    /// Tickets that have been waiting for support since this time or longer.
    pub waiting_since: Option<Timestamp>,
    /// Tickets that match this search.
    pub search: Option<SearchQuery>,
    /// Tickets that are unread for a person, or those that are not if the flag is false.
    pub unread: Option<(TicketReader, bool)>,
}

/// The number of tickets in a category that have a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketCount {
    /// The category.
    pub category: CategoryId,
    /// The status.
    pub status: Status,
    /// The number of tickets.
    pub count: i64,
}

impl TicketListFilter {
    /// Returns whether the filter matches everything.
    pub fn is_empty(&self) -> bool {
        let Self { filter, waiting_since: None, search: None, unread: None } = self else {
            return false;
        };
        *filter == TicketFilter::default()
    }
}

impl TicketFilter {
    /// Returns whether an event is about a ticket that matched the filter before or after it, so
    /// that a stream shows tickets that enter or leave a queue. Decided from the event alone. An
    /// event matches if the ticket's state before or after it is unknown.
    pub fn matches_event(&self, event: &Event) -> bool {
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
            && self.unless_assigned_to.is_none_or(|other| state.assignee != Some(other))
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
        assert!(sales.matches_event(&moved) && support.matches_event(&moved));
        let reworded = event(TicketEvent::SummaryChanged {});
        assert!(sales.matches_event(&reworded) && !support.matches_event(&reworded));

        let open = TicketFilter { assignee: Some(None), ..TicketFilter::default() };
        let hers = TicketFilter { assignee: Some(Some(MARTA)), ..TicketFilter::default() };
        let assigned = event(TicketEvent::AssigneeChanged { from: None, to: Some(MARTA) });
        assert!(open.matches_event(&assigned) && hers.matches_event(&assigned));
        assert!(!open.matches_event(&reworded) && hers.matches_event(&reworded));
        let others = TicketFilter { unless_assigned_to: Some(MARTA), ..TicketFilter::default() };
        assert!(others.matches_event(&assigned) && !others.matches_event(&reworded));

        let resolved = TicketFilter { statuses: Some(vec![Status::Resolved]), ..sales.clone() };
        let reopened =
            event(TicketEvent::StatusChanged { from: Status::Resolved, to: Status::WorkingOnIt });
        assert!(resolved.matches_event(&reopened) && !resolved.matches_event(&moved));
        let low = TicketFilter { priorities: Some(vec![Priority::Low]), ..sales.clone() };
        let raised =
            event(TicketEvent::PriorityChanged { from: Priority::Low, to: Priority::High });
        assert!(low.matches_event(&raised) && !low.matches_event(&moved));

        let of = |reporter| TicketFilter { reporter: Some(reporter), ..TicketFilter::default() };
        assert!(of(ANNA).matches_event(&moved) && !of(MARTA).matches_event(&moved));
    }

    #[test]
    fn a_filter_matches_events_whose_state_is_not_known() {
        let nothing = TicketFilter { statuses: Some(vec![]), ..TicketFilter::default() };
        let reworded = happened(TicketEvent::SummaryChanged {});
        assert!(!nothing.matches_event(&logged(Subject::Ticket(reworded.clone()))));
        let stateless = TicketSubject { state: None, ..reworded };
        assert!(nothing.matches_event(&logged(Subject::Ticket(stateless))));
        assert!(nothing.matches_event(&event(TicketEvent::Unknown)));
    }

    #[test]
    fn a_filter_matches_no_event_about_an_account() {
        let event = AccountEvent::PasswordChanged {};
        let account = logged(Subject::Account(AccountSubject { id: ANNA, event }));
        assert!(!TicketFilter::default().matches_event(&account));
    }
}
