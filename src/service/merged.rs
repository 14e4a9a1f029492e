//! What a merged ticket no longer accepts, and where to go on instead.

use super::{ServiceError, Services, UserError, UserErrorCode};
use crate::{
    db::{Connection, DbError, merge as merges},
    domain::ids::TicketId,
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
/// continues, if it was merged. Returns other errors unchanged.
pub(super) async fn explain(
    services: &Services,
    id: TicketId,
    error: ServiceError,
) -> ServiceError {
    if !matches!(&error, ServiceError::Invalid(errors) if errors.iter().any(is_about_closed)) {
        return error;
    }
    let number = async { continues_in(services, &mut *services.database.read().await?, id).await };
    match number.await {
        Ok(Some(number)) => continues(&number).into(),
        // The first error is still true.
        Ok(None) | Err(_) => error,
    }
}

/// Replaces an error as [`explain`] does, in a transaction.
///
/// # Errors
/// The database failed.
pub(super) async fn explain_in(
    services: &Services,
    db: &mut Connection,
    id: TicketId,
    error: UserError,
) -> Result<UserError, DbError> {
    if !is_about_closed(&error) {
        return Ok(error);
    }
    let number = continues_in(services, db, id).await?;
    Ok(number.map_or(error, |number| continues(&number)))
}

/// Returns whether an error may be one for a ticket that is closed.
fn is_about_closed(error: &UserError) -> bool {
    matches!(error.code, UserErrorCode::TicketClosed | UserErrorCode::IllegalTransition)
}

fn continues(number: &str) -> UserError {
    let message = format!(
        "This ticket was merged into {number} and continues there. Write in {number} instead. If you \
         cannot open it, accept the invitation to it first."
    );
    UserError::new("ticketId", UserErrorCode::TicketMerged, message)
}
