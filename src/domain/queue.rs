//! What staff pick their tickets by, in lists and in live streams.

use super::{
    clock::Timestamp,
    event::{Event, EventData, Subject},
    ids::{AccountId, CategoryId},
    search::SearchQuery,
    ticket::{Priority, Status, Ticket},
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

/// Where a ticket stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketState {
    /// Its category.
    pub category: CategoryId,
    /// Its status.
    pub status: Status,
    /// Its priority.
    pub priority: Priority,
    /// Who works on it.
    pub assignee: Option<AccountId>,
}

impl TicketState {
    /// Where a ticket stands now.
    pub fn of(ticket: &Ticket) -> Self {
        Self {
            category: ticket.category_id,
            status: ticket.status,
            priority: ticket.priority,
            assignee: ticket.assignee_id,
        }
    }

    /// Where it stood before an event after which it stands so.
    pub fn before(self, event: &EventData) -> Self {
        match *event {
            EventData::StatusChanged { from, .. } => Self { status: from, ..self },
            EventData::PriorityChanged { from, .. } => Self { priority: from, ..self },
            EventData::AssigneeChanged { from, .. } => Self { assignee: from, ..self },
            EventData::CategoryChanged { from, .. } => Self { category: from, ..self },
            _ => self,
        }
    }
}

impl TicketFilter {
    /// Whether an event is about a ticket that fitted before or after it: whoever follows
    /// a filter sees tickets come and go. Depends on nothing but the event. An event that
    /// does not tell how its ticket stood fits: an older version wrote it.
    pub fn fits(&self, event: &Event) -> bool {
        let Subject::Ticket { reporter, .. } = event.subject else { return false };
        if self.reporter.is_some_and(|required| required != reporter) {
            return false;
        }
        let Some(after) = event.state else { return true };
        let before = event.data.as_ref().map_or(after, |data| after.before(data));
        self.includes(after) || self.includes(before)
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
        clock::Timestamp,
        event::Audience,
        ids::{EventId, TicketId},
    };

    const SALES: CategoryId = CategoryId(Uuid::from_u128(1));
    const SUPPORT: CategoryId = CategoryId(Uuid::from_u128(2));
    const ANNA: AccountId = AccountId(Uuid::from_u128(3));
    const MARTA: AccountId = AccountId(Uuid::from_u128(4));

    fn event(data: EventData) -> Event {
        Event {
            id: EventId(1),
            subject: Subject::Ticket { id: TicketId(Uuid::nil()), reporter: ANNA },
            audience: Audience::Participants,
            actor_id: None,
            data: Some(data),
            state: Some(TicketState {
                category: SALES,
                status: Status::WorkingOnIt,
                priority: Priority::High,
                assignee: Some(MARTA),
            }),
            participants: vec![],
            occurred_at: Timestamp::default(),
        }
    }

    #[test]
    fn tickets_are_seen_to_come_and_go() {
        let sales = TicketFilter { categories: Some(vec![SALES]), ..TicketFilter::default() };
        let support = TicketFilter { categories: Some(vec![SUPPORT]), ..TicketFilter::default() };
        let moved = event(EventData::CategoryChanged { from: SUPPORT, to: SALES });
        assert!(sales.fits(&moved) && support.fits(&moved));
        let reworded = event(EventData::SummaryChanged {});
        assert!(sales.fits(&reworded) && !support.fits(&reworded));

        let open = TicketFilter { assignee: Some(None), ..TicketFilter::default() };
        let hers = TicketFilter { assignee: Some(Some(MARTA)), ..TicketFilter::default() };
        let taken = event(EventData::AssigneeChanged { from: None, to: Some(MARTA) });
        assert!(open.fits(&taken) && hers.fits(&taken));
        assert!(!open.fits(&reworded) && hers.fits(&reworded));

        let resolved = TicketFilter { statuses: Some(vec![Status::Resolved]), ..sales.clone() };
        let reopened =
            event(EventData::StatusChanged { from: Status::Resolved, to: Status::WorkingOnIt });
        assert!(resolved.fits(&reopened) && !resolved.fits(&moved));
        let low = TicketFilter { priorities: Some(vec![Priority::Low]), ..sales.clone() };
        let raised = event(EventData::PriorityChanged { from: Priority::Low, to: Priority::High });
        assert!(low.fits(&raised) && !low.fits(&moved));

        let of = |reporter| TicketFilter { reporter: Some(reporter), ..TicketFilter::default() };
        assert!(of(ANNA).fits(&moved) && !of(MARTA).fits(&moved));
        let none = TicketFilter { statuses: Some(vec![]), ..TicketFilter::default() };
        assert!(!none.fits(&moved) && none.fits(&Event { state: None, ..moved.clone() }));
        let account = Event { subject: Subject::Account(ANNA), state: None, ..moved };
        assert!(!TicketFilter::default().fits(&account));
    }
}
