//! What others have said on a ticket since its author has read it.

use super::{ServiceError, UserError, UserErrorCode};
use crate::{
    db::{Connection, comment, unread},
    domain::{actor::Actor, ids::EventId, policy, ticket::Ticket},
};

/// How many comments of others are returned at most.
pub const MAX_MEANWHILE: i64 = 20;

/// The last event of a ticket that an author has seen. The inner value is `None` if there is no such
/// event.
#[derive(Clone, Copy, Debug)]
pub struct SeenUpTo(pub Option<EventId>);

/// Checks that nobody else has commented on a locked ticket since an event, as far as the actor may
/// see it.
///
/// # Errors
/// Returns [`ServiceError::AnsweredMeanwhile`] with the first of those comments, or a user error if
/// the ticket has no such event that the actor may see.
pub(super) async fn check_nothing_said(
    actor: &Actor,
    db: &mut Connection,
    ticket: &Ticket,
    SeenUpTo(event): SeenUpTo,
) -> Result<(), ServiceError> {
    let reader = policy::reader(actor).ok_or(ServiceError::Unauthenticated)?;
    let event = event.ok_or_else(unknown_event)?;
    let seen = unread::event_seq(db, ticket.id, event, reader).await?.ok_or_else(unknown_event)?;
    if seen == ticket.events {
        return Ok(());
    }
    let comments = comment::of_others_since(db, ticket.id, seen, reader, MAX_MEANWHILE).await?;
    if comments.is_empty() {
        return Ok(());
    }
    Err(ServiceError::AnsweredMeanwhile { ticket: Box::new(ticket.clone()), comments })
}

fn unknown_event() -> UserError {
    UserError::new(
        "seenUpTo",
        UserErrorCode::NotFound,
        "The ticket has no such event or comment, or you may not see it. Pass the `id` of an event \
         in its timeline, or of one of its comments.",
    )
}
