//! What a merged ticket no longer accepts, and where to go on instead.

use super::{ServiceError, Services, UserError, UserErrorCode};
use crate::{
    db::{
        Connection, DbError, account, merge as merges, ticket as tickets,
        ticket_invitation as invitations,
    },
    domain::{
        actor::Actor,
        ids::TicketId,
        policy::{self, TicketScope},
        ticket::Status,
    },
};

/// Returns the number of the ticket in which a merged one continues, as people write it, or `None` if
/// the ticket was not merged.
pub(super) async fn continues_in(
    services: &Services,
    db: &mut Connection,
    id: TicketId,
) -> Result<Option<String>, DbError> {
    let end = merges::continues_in(db, id).await?;
    Ok(end.map(|(_, number)| services.number_prefix().format(number)))
}

/// Replaces the error for a ticket that is closed by one that names the ticket in which it
/// continues, if it was merged. `field` is the field of the input that names the ticket. Returns other
/// errors unchanged.
pub(super) async fn explain(
    actor: &Actor,
    services: &Services,
    (id, field): (TicketId, &'static str),
    error: ServiceError,
) -> ServiceError {
    if !matches!(&error, ServiceError::Invalid(errors) if errors.iter().any(is_about_closed)) {
        return error;
    }
    let explained =
        async { advice(actor, services, &mut *services.database.read().await?, (id, field)).await };
    match explained.await {
        Ok(Some(explained)) => explained.into(),
        // The first error is still true.
        Ok(None) | Err(_) => error,
    }
}

/// Replaces an error as [`explain`] does, in a transaction.
///
/// # Errors
/// The database failed.
pub(super) async fn explain_in(
    actor: &Actor,
    services: &Services,
    db: &mut Connection,
    merged: (TicketId, &'static str),
    error: UserError,
) -> Result<UserError, DbError> {
    if !is_about_closed(&error) {
        return Ok(error);
    }
    Ok(advice(actor, services, db, merged).await?.unwrap_or(error))
}

/// Returns whether an error may be one for a ticket that is closed.
fn is_about_closed(error: &UserError) -> bool {
    matches!(error.code, UserErrorCode::TicketClosed | UserErrorCode::IllegalTransition)
}

/// Returns the error for a ticket that was merged, which says where the actor can write instead, or
/// `None` if it was not merged.
async fn advice(
    actor: &Actor,
    services: &Services,
    db: &mut Connection,
    (id, field): (TicketId, &'static str),
) -> Result<Option<UserError>, DbError> {
    let Some((end, number)) = merges::continues_in(db, id).await? else { return Ok(None) };
    let number = services.number_prefix().format(number);
    let scope = policy::ticket_scope(actor);
    let next = if tickets::is_in_scope(db, scope, end).await? {
        format!("Write in {number} instead.")
    } else if is_invited(actor, services, db, end).await? {
        format!("Accept the invitation to {number} first, and write there.")
    } else if tickets::is_in_scope(db, scope, id).await? {
        "Open a follow-up: call `createTicket` with this ticket's id as `followUpToId`.".to_owned()
    } else {
        format!("Ask to be invited to {number}.")
    };
    let message = format!("This ticket was merged into {number} and continues there. {next}");
    Ok(Some(UserError::new(field, UserErrorCode::TicketMerged, message)))
}

/// Returns whether the actor can accept an invitation to a ticket.
async fn is_invited(
    actor: &Actor,
    services: &Services,
    db: &mut Connection,
    id: TicketId,
) -> Result<bool, DbError> {
    let found = tickets::by_ids(db, TicketScope::All, &[id]).await?;
    if found.iter().all(|ticket| ticket.status == Status::Closed) {
        return Ok(false);
    }
    let own = account::by_ids(db, actor.account_id().as_slice()).await?;
    let Some(account) = own.first() else { return Ok(false) };
    invitations::is_invited(db, id, &account.email, services.ambient.now()).await
}
