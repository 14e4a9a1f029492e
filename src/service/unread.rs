//! Which tickets people have read, and up to which event.

use std::collections::HashSet;

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, rate_limit,
    ticket_writes::{CountedWrite, Write},
};
use crate::{
    db::{ticket as tickets, unread},
    domain::{
        actor::Actor,
        ids::{EventId, TicketId},
        policy::{self, Action, Resource},
        ticket::Ticket,
        unread::{TicketCounts, TicketReader},
    },
};

/// Up to where a ticket is marked as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpTo {
    /// Up to its latest event.
    Now,
    /// Up to this event, or `None` if the caller sent an id that is not an event's.
    Event(Option<EventId>),
}

/// A ticket that was marked as read.
#[derive(Debug)]
pub struct Marked {
    /// The ticket.
    pub ticket: Ticket,
    /// Whether the mark has moved.
    pub has_changed: bool,
}

/// Returns which of these tickets the actor may see and has not read.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn among(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<HashSet<TicketId>, ServiceError> {
    let reader = reader(actor)?;
    let scope = policy::ticket_scope(actor);
    Ok(unread::among(&mut *services.database.read().await?, scope, reader, ids).await?)
}

/// Returns how many of the actor's tickets are open, and how many are unread. Those of a
/// customer are the tickets that they opened or participate in, those of staff the tickets that
/// are assigned to them.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn counts(actor: &Actor, services: &Services) -> Result<TicketCounts, ServiceError> {
    let reader = reader(actor)?;
    Ok(unread::counts(&mut *services.database.read().await?, reader).await?)
}

/// Marks a ticket as read by the actor. Events that they have read before stay read.
///
/// # Errors
/// Returns an error if the actor may not see the ticket, and a user error if the event is not
/// one of the ticket's that they may see. Returns [`ServiceError::TooFrequent`] if a customer has set
/// too many marks within a minute.
pub async fn mark_read(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    up_to: UpTo,
) -> Result<Marked, ServiceError> {
    let reader = reader(actor)?;
    let mut connection = services.database.read().await?;
    let scope = policy::ticket_scope(actor);
    let found = tickets::by_ids(&mut connection, scope, &[id]).await?;
    let ticket = found.into_iter().next().ok_or(ServiceError::NotFound)?;
    let position = match up_to {
        UpTo::Now => None,
        UpTo::Event(event) => {
            let event = event.ok_or_else(unknown_event)?;
            let position = unread::event_seq(&mut connection, id, event, reader).await?;
            Some(position.ok_or_else(unknown_event)?)
        }
    };
    let counted = CountedWrite { kind: Write::Mark, actor: *actor, account: reader.account };
    rate_limit::count_write(services, &mut connection, counted).await?;
    let has_changed = unread::mark_read(&mut connection, id, reader, position).await?;
    if !has_changed {
        rate_limit::uncount_write(services, &mut connection, counted).await?;
    }
    Ok(Marked { ticket, has_changed })
}

fn unknown_event() -> UserError {
    UserError::new(
        "upTo",
        UserErrorCode::NotFound,
        "The ticket has no such event, or you may not see it. Pass the `id` of an event in its \
         timeline.",
    )
}

fn reader(actor: &Actor) -> Result<TicketReader, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    policy::reader(actor).ok_or(ServiceError::Unauthenticated)
}
