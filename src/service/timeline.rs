//! The timeline of a ticket, read from the event log.

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

/// Returns a page of each ticket's events that the actor may see, oldest first. A ticket is
/// passed as its id, the customer who opened it, and its participants. Events that have no
/// position in the feed yet get the cursor `fallback`.
///
/// # Errors
/// Returns an error if the actor may not see one of the tickets.
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
