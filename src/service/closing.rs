//! Closing resolved tickets automatically.

use super::{
    ServiceError, Services, authorise,
    each_ticket::{BATCH, Changed, change_each},
};
use crate::{
    db::{
        closing,
        event::{self, NewTicketEvent},
    },
    domain::{
        actor::Actor,
        clock::Timestamp,
        event::Audience,
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
    let (mut changed, mut last) = (Changed::default(), None);
    loop {
        let due = {
            let mut connection = services.database.read().await?;
            closing::due(&mut connection, until, last, BATCH).await?
        };
        let Some(&furthest) = due.last() else { return changed.result() };
        last = Some(furthest);
        let tickets = due.into_iter().map(|due| due.ticket).collect();
        change_each(tickets, &mut changed, |ids| close(actor, services, until, ids)).await?;
    }
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
                let events =
                    ticket.close_if_resolved(now).into_iter().map(|event| NewTicketEvent {
                        event,
                        audience: Audience::Participants,
                        actor_id: actor.account_id(),
                        occurred_at: now,
                    });
                let events = events.collect::<Vec<_>>();
                event::save_with_events(db, ticket, &events).await?;
            }
            Ok(tickets.len())
        })
        .await
}
