//! The audit trail: the events about an account.

use super::{ServiceError, Services, authorise};
use crate::{
    db::{
        Connection, DbError, account, audit,
        event::{self, NewAccountEvent},
    },
    domain::{
        actor::Actor,
        audit::AuditEntry,
        clock::Timestamp,
        event::AccountEvent,
        ids::{AccountId, EventId},
        page::{Page, Slice},
        policy::{Action, Resource},
    },
};

/// Returns a page of the actor's own audit trail, newest first.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn own(
    actor: &Actor,
    services: &Services,
    page: &Page<EventId>,
) -> Result<Slice<AuditEntry>, ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    Ok(audit::page(&mut *services.database.read().await?, id, page).await?)
}

/// Returns a page of an account's audit trail, newest first.
///
/// # Errors
/// Returns an error if the actor is not an admin or the account does not exist.
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

/// Appends an event to an account's audit trail. Call this in the transaction that makes the
/// change.
pub(super) async fn record(
    db: &mut Connection,
    account: AccountId,
    actor_id: Option<AccountId>,
    event: AccountEvent,
    now: Timestamp,
) -> Result<(), DbError> {
    let event = NewAccountEvent { event, actor_id, occurred_at: now };
    event::append_to_account(db, account, &[event]).await
}
