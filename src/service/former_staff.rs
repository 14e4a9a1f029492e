//! Tickets of members of staff who lost access: they go back to the queue.

use super::{
    ServiceError, Services, authorise,
    change::public_event,
    each_ticket::{BATCH, change_all},
};
use crate::{
    db::{Connection, DbError, account, event, former_staff},
    domain::{
        account::Account,
        actor::Actor,
        ids::{AccountId, TicketId},
        policy::{Action, Resource},
    },
};

/// How many accounts one run processes.
const MAX_ACCOUNTS: i64 = 100;

/// Unassigns the open tickets of those who lost access as agents or admins. Returns how many.
/// Several nodes may run this at the same time.
///
/// # Errors
/// Returns an error if the actor is not the system.
pub async fn return_tickets(actor: &Actor, services: &Services) -> Result<usize, ServiceError> {
    authorise(actor, Action::Triage, Resource::Desk)?;
    let pending = {
        let mut connection = services.database.read().await?;
        former_staff::insert_missing(&mut connection, services.ambient.now()).await?;
        former_staff::pending(&mut connection, MAX_ACCOUNTS).await?
    };
    let (mut returned, mut failed) = (0, None);
    for account in pending {
        // A ticket that cannot be changed must not hold up those of other accounts.
        match return_all_of(services, account).await {
            Ok(tickets) => returned += tickets,
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(returned), Err)
}

async fn return_all_of(services: &Services, account: AccountId) -> Result<usize, ServiceError> {
    let assigned = |after| async move {
        let mut connection = services.database.read().await?;
        former_staff::assigned_to(&mut connection, account, after, BATCH).await
    };
    let returned = change_all(assigned, |ids| return_some(services, account, ids)).await?;
    finish(services, account).await?;
    Ok(returned)
}

/// Deletes the record of an account that has access again or no tickets to return.
async fn finish(services: &Services, id: AccountId) -> Result<(), ServiceError> {
    let finish = async |db: &mut Connection| {
        if former_staff::lock(db, id).await?.is_some()
            && (has_access(db, id).await?
                || former_staff::assigned_to(db, id, None, 1).await?.is_empty())
        {
            former_staff::delete(db, id).await?;
        }
        Ok(())
    };
    Ok(services.database.write_without_events(finish).await?)
}

/// Whether an account has access as staff. It stays so until the transaction ends: who loses access
/// again meanwhile is recorded again.
async fn has_access(db: &mut Connection, id: AccountId) -> Result<bool, DbError> {
    let found = account::lock_shared(db, id).await?;
    Ok(found.iter().any(Account::is_active_staff))
}

/// Waits until somebody loses access through this node.
pub async fn until_needed(services: &Services) {
    services.former_staff.notified().await;
}

/// Unassigns those of the tickets that are assigned to an account without access. Returns how many.
async fn return_some(
    services: &Services,
    account: AccountId,
    ids: Vec<TicketId>,
) -> Result<usize, ServiceError> {
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let Some(actor_id) = former_staff::lock(db, account).await? else { return Ok(0) };
            if has_access(db, account).await? {
                return Ok(0);
            }
            let mut tickets = former_staff::lock_tickets(db, account, &ids).await?;
            for ticket in &mut tickets {
                let events = ticket.unassign(now).into_iter();
                let events = events.map(|event| public_event(event, actor_id, now));
                let events = events.collect::<Vec<_>>();
                event::save_with_events(db, ticket, &events).await?;
            }
            Ok(tickets.len())
        })
        .await
}
