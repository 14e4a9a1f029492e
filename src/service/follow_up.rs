//! Tickets that go on from closed ones.

use super::{ServiceError, Services, UserError, UserErrorCode, authorise};
use crate::{
    db::{Connection, follow_up, ticket as tickets},
    domain::{
        actor::Actor,
        ids::TicketId,
        policy::{self, Action, Resource},
        ticket::{Status, Ticket},
    },
};

/// So many follow-ups of a ticket are listed.
const LISTED: i64 = 50;

/// The first 50 follow-ups of each of some tickets that the actor may see, oldest first.
///
/// # Errors
/// Nobody is signed in.
pub async fn of(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let scope = policy::ticket_scope(actor);
    Ok(follow_up::of_tickets(&mut *services.database.read().await?, scope, ids, LISTED).await?)
}

/// Sees that a new ticket can go on from another.
pub(super) async fn require_closed(
    actor: &Actor,
    db: &mut Connection,
    id: TicketId,
) -> Result<(), ServiceError> {
    let found = tickets::by_ids(db, policy::ticket_scope(actor), &[id]).await?;
    let Some(predecessor) = found.into_iter().next() else {
        let message = "There is no such ticket that you may see.";
        return Err(UserError::new("followUpToId", UserErrorCode::NotFound, message).into());
    };
    if predecessor.status != Status::Closed {
        let message = "This ticket is not closed: comment on it instead of opening a follow-up.";
        return Err(UserError::new("followUpToId", UserErrorCode::Invalid, message).into());
    }
    Ok(())
}
