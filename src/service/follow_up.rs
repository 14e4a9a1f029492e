//! Follow-ups: tickets that continue closed ones.

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

/// How many follow-ups of a ticket are listed at most.
const MAX_LISTED: i64 = 50;

/// Returns the follow-ups of these tickets that the actor may see: of each ticket the oldest 50,
/// oldest first.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let scope = policy::ticket_scope(actor);
    Ok(follow_up::of_tickets(&mut *services.database.read().await?, scope, ids, MAX_LISTED).await?)
}

/// Checks that a new ticket may follow up another one, and prevents changes to that until the
/// transaction ends.
///
/// # Errors
/// Returns a user error if the actor may not see the other ticket, or it is not closed.
pub(super) async fn require_closed(
    actor: &Actor,
    db: &mut Connection,
    id: TicketId,
) -> Result<(), ServiceError> {
    // Checked first: nobody waits for a ticket that they may not see.
    visible(actor, db, id).await?;
    tickets::lock_shared(db, id).await?;
    let predecessor = visible(actor, db, id).await?;
    if predecessor.status != Status::Closed {
        let message = "This ticket is not closed. Comment on it instead of opening a follow-up.";
        return Err(UserError::new("followUpToId", UserErrorCode::Invalid, message).into());
    }
    Ok(())
}

async fn visible(actor: &Actor, db: &mut Connection, id: TicketId) -> Result<Ticket, ServiceError> {
    let found = tickets::by_ids(db, policy::ticket_scope(actor), &[id]).await?;
    found.into_iter().next().ok_or_else(|| {
        let message = "This ticket does not exist, or you may not see it.";
        UserError::new("followUpToId", UserErrorCode::NotFound, message).into()
    })
}
