//! What people have read of tickets, and what they have not.

use std::collections::HashSet;

use super::{ServiceError, Services, UserError, UserErrorCode, authorise};
use crate::{
    db::{ticket as tickets, unread},
    domain::{
        actor::Actor,
        ids::{EventId, TicketId},
        policy::{self, Action, Resource},
        ticket::Ticket,
        unread::{Reader, TicketCounts},
    },
};

/// Up to where a ticket has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpTo {
    /// All that there is now.
    Now,
    /// This event; `None`: an id that can't be one's.
    Event(Option<EventId>),
}

/// Which of some tickets the actor may see and has not read.
///
/// # Errors
/// Nobody is signed in.
pub async fn among(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<HashSet<TicketId>, ServiceError> {
    let reader = reader(actor)?;
    let scope = policy::ticket_scope(actor);
    Ok(unread::among(&mut *services.database.read().await?, scope, reader, ids).await?)
}

/// How many tickets that are the actor's concern are open, and how many unread.
///
/// # Errors
/// Nobody is signed in.
pub async fn counts(actor: &Actor, services: &Services) -> Result<TicketCounts, ServiceError> {
    let reader = reader(actor)?;
    Ok(unread::counts(&mut *services.database.read().await?, reader).await?)
}

/// Notes that the actor has read a ticket. What they had read further stays read.
///
/// # Errors
/// A ticket that the actor may not see; an event that is none of it that they may see.
pub async fn mark_read(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    up_to: UpTo,
) -> Result<Ticket, ServiceError> {
    let reader = reader(actor)?;
    let mut connection = services.database.read().await?;
    let scope = policy::ticket_scope(actor);
    let found = tickets::by_ids(&mut connection, scope, &[id]).await?;
    let ticket = found.into_iter().next().ok_or(ServiceError::NotFound)?;
    let place = match up_to {
        UpTo::Now => None,
        UpTo::Event(event) => {
            let event = event.ok_or_else(unknown)?;
            let place = unread::event_seq(&mut connection, id, event, reader).await?;
            Some(place.ok_or_else(unknown)?)
        }
    };
    unread::mark_read(&mut connection, id, reader, place).await?;
    Ok(ticket)
}

fn unknown() -> UserError {
    UserError::new(
        "upTo",
        UserErrorCode::NotFound,
        "The ticket has no such event that you may see. Pass the `id` of one in its timeline.",
    )
}

fn reader(actor: &Actor) -> Result<Reader, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    policy::reader(actor).ok_or(ServiceError::Unauthenticated)
}
