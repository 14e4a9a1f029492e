//! Closing resolved tickets automatically.

use super::{
    ServiceError, Services, authorise,
    change::public_event,
    each_ticket::{BATCH, change_all},
};
use crate::{
    db::{closing, event},
    domain::{
        actor::Actor,
        clock::Timestamp,
        ids::TicketId,
        policy::{Action, Resource},
    },
};

/// Closes the tickets that were resolved long enough ago, if the installation is configured to.
/// Returns how many. Several nodes may run this at the same time. Tickets that another
/// transaction has locked are skipped until the next run.
///
/// # Errors
/// Returns an error if the actor is not the system, the database failed, or some of the tickets could
/// not be closed. The others are.
pub async fn close_resolved(actor: &Actor, services: &Services) -> Result<usize, ServiceError> {
    authorise(actor, Action::Triage, Resource::Desk)?;
    let Some(after) = services.settings.close_resolved_after else { return Ok(0) };
    let until = services.ambient.now() - after;
    let due = |after| async move {
        let mut connection = services.database.read().await?;
        closing::due(&mut connection, until, after, BATCH).await
    };
    change_all(due, |ids| close(actor, services, until, ids)).await
}

/// Closes those of the tickets that were resolved at `until` or earlier and are not locked.
async fn close(
    actor: &Actor,
    services: &Services,
    until: Timestamp,
    ids: Vec<TicketId>,
) -> Result<usize, ServiceError> {
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let mut tickets = closing::lock_resolved(db, until, &ids).await?;
            for ticket in &mut tickets {
                let events = ticket.close_if_resolved(now).into_iter();
                let events = events.map(|event| public_event(event, actor.account_id(), now));
                let events = events.collect::<Vec<_>>();
                event::save_with_events(db, ticket, &events).await?;
            }
            Ok(tickets.len())
        })
        .await
}
