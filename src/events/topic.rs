//! The topics under which streams receive events.

use crate::domain::{
    event::{AccountSubject, Event, SessionEffect, Subject, TicketSubject},
    ids::{AccountId, CategoryId, TicketId},
};

/// What a stream registers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// The events of one ticket.
    Ticket(TicketId),
    /// The events of the tickets that a customer opened or participates in, and those that
    /// remove the customer from a ticket.
    Customer(AccountId),
    /// The events of all tickets.
    AllTickets,
    /// The events of the tickets in a category. An event that moves a ticket belongs to the old
    /// and to the new category.
    Category(CategoryId),
    /// The events of tickets whose category at the time is unknown.
    UnknownCategory,
    /// The events of an account that end sessions or change their rights.
    Account(AccountId),
}

/// Returns the topics of an event. A topic may be returned more than once.
pub(super) fn topics_of(event: &Event) -> impl Iterator<Item = Topic> {
    let (fixed, participants) = match &event.subject {
        Subject::Ticket(ticket) => {
            let (old, new) = categories(ticket);
            let fixed = [
                Some(Topic::Ticket(ticket.id)),
                Some(Topic::Customer(ticket.reporter)),
                Some(Topic::AllTickets),
                Some(new),
                (old != new).then_some(old),
                ticket.event.removed_participant().map(Topic::Customer),
            ];
            (fixed, ticket.participants.as_slice())
        }
        // Most events of accounts, such as a sign-in, end no stream. They wake nobody.
        Subject::Account(account) => {
            let topic = ends_streams(account).then_some(Topic::Account(account.id));
            ([topic, None, None, None, None, None], [].as_slice())
        }
        Subject::Unreadable => ([None; 6], [].as_slice()),
    };
    fixed.into_iter().flatten().chain(participants.iter().copied().map(Topic::Customer))
}

/// Returns the topics of the ticket's category before and after an event.
fn categories(ticket: &TicketSubject) -> (Topic, Topic) {
    let old = ticket.state.and_then(|state| state.before(&ticket.event));
    match (old, ticket.state) {
        (Some(old), Some(new)) => (Topic::Category(old.category), Topic::Category(new.category)),
        _ => (Topic::UnknownCategory, Topic::UnknownCategory),
    }
}

/// Returns whether an event of an account may end the streams of the account.
pub(super) fn ends_streams(account: &AccountSubject) -> bool {
    account.event.session_effect() != SessionEffect::Unchanged
}
