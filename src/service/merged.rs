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
    let codes = [UserErrorCode::TicketClosed, UserErrorCode::IllegalTransition];
    if !codes.into_iter().any(|code| error.has_code(code)) {
        return error;
    }
    let number = async { continues_in(services, &mut *services.database.read().await?, id).await };
    match number.await {
        Ok(Some(number)) => continues(&number).into(),
        // The first error is still true.
        Ok(None) | Err(_) => error,
    }
}

fn continues(number: &str) -> UserError {
    let message = format!(
        "This ticket was merged into {number} and continues there. Write in {number} instead. If you \
         cannot open it, accept the invitation to it first."
    );
    UserError::new("ticketId", UserErrorCode::TicketMerged, message)
}
