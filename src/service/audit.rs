//! The audit trail: what happened to an account.

use super::{ServiceError, Services, authorise};
use crate::{
    db::{account, audit},
    domain::{
        actor::Actor,
        audit::AuditEntry,
        ids::{AccountId, EventId},
        page::{Page, Slice},
        policy::{Action, Resource},
    },
};

/// A page of what happened to the actor's own account, newest first.
///
/// # Errors
/// Nobody is signed in.
pub async fn own(
    actor: &Actor,
    services: &Services,
    page: &Page<EventId>,
) -> Result<Slice<AuditEntry>, ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    Ok(audit::page(&mut *services.database.read().await?, id, page).await?)
}

/// A page of what happened to an account, newest first.
///
/// # Errors
/// Not an admin; no such account.
pub async fn of_account(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
    page: &Page<EventId>,
) -> Result<Slice<AuditEntry>, ServiceError> {
    authorise(actor, Action::ViewAudit, Resource::Desk)?;
    let id = id.ok_or(ServiceError::NotFound)?;
    let mut connection = services.database.read().await?;
    if account::by_ids(&mut connection, &[id]).await?.is_empty() {
        return Err(ServiceError::NotFound);
    }
    Ok(audit::page(&mut connection, id, page).await?)
}
