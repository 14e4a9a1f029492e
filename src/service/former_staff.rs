//! Tickets of members of staff who lost access: they go back to the queue.

use super::{ServiceError, Services, authorise};
use crate::{
    db::{
        Connection, account,
        event::{self, NewTicketEvent},
        former_staff,
    },
    domain::{
        account::Account,
        actor::Actor,
        event::Audience,
        ids::AccountId,
        policy::{Action, Resource},
        ticket::Ticket,
    },
};

/// How many tickets one transaction unassigns. All of them stay locked until it ends.
const BATCH: i64 = 20;
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
    let mut returned = 0;
    while let Some(batch) = return_batch(services, account).await? {
        returned += batch;
    }
    Ok(returned)
}

/// Waits until somebody loses access through this node.
pub async fn until_needed(services: &Services) {
    services.former_staff.notified().await;
}

/// Unassigns some tickets of an account. Returns how many, or `None` if it has no others.
async fn return_batch(
    services: &Services,
    account: AccountId,
) -> Result<Option<usize>, ServiceError> {
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let Some(actor_id) = former_staff::lock(db, account).await? else { return Ok(None) };
            let mut tickets = tickets_to_return(db, account).await?;
            for ticket in &mut tickets {
                let events = ticket.unassign(now).into_iter().map(|event| NewTicketEvent {
                    event,
                    audience: Audience::Participants,
                    actor_id,
                    occurred_at: now,
                });
                let events = events.collect::<Vec<_>>();
                event::save_with_events(db, ticket, &events).await?;
            }
            if tickets.is_empty() {
                former_staff::delete(db, account).await?;
                return Ok(None);
            }
            Ok(Some(tickets.len()))
        })
        .await
}

/// Locks the next tickets of an account, unless it has access again.
async fn tickets_to_return(
    db: &mut Connection,
    id: AccountId,
) -> Result<Vec<Ticket>, ServiceError> {
    // Locked, so that who loses access again meanwhile is recorded again.
    let found = account::lock_shared(db, id).await?;
    if found.iter().any(Account::is_active_staff) {
        return Ok(vec![]);
    }
    Ok(former_staff::lock_tickets(db, id, BATCH).await?)
}
