//! The history of a ticket, straight from the event log.

use std::collections::HashMap;

use super::{ServiceError, Services, authorise};
use crate::{
    db::timeline,
    domain::{
        actor::Actor,
        cursor::Cursor,
        event::FeedEvent,
        ids::{AccountId, EventId, TicketId},
        page::{Page, Slice},
        policy::{self, Action, Resource},
    },
};

/// A page of the history of each of some tickets, given with their reporters and
/// participants, oldest first: of what the actor may see. `fallback` is the cursor of
/// events that have no place in the feed yet.
///
/// # Errors
/// Nobody is signed in; a ticket that the actor may not see.
pub async fn pages(
    actor: &Actor,
    services: &Services,
    tickets: &[(TicketId, AccountId, &[AccountId])],
    page: &Page<EventId>,
    fallback: Cursor,
) -> Result<HashMap<TicketId, Slice<FeedEvent>>, ServiceError> {
    for &(_, reporter, participants) in tickets {
        authorise(actor, Action::ViewTicket, Resource::Ticket { reporter, participants })?;
    }
    let ids = tickets.iter().map(|&(id, ..)| id).collect::<Vec<_>>();
    let internal = policy::sees_internal(actor);
    let mut connection = services.database.read().await?;
    Ok(timeline::pages(&mut connection, &ids, internal, page, fallback).await?)
}
