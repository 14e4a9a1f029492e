//! Closing resolved tickets automatically.

use super::{ServiceError, Services, authorise};
use crate::{
    db::{
        closing,
        event::{self, NewTicketEvent},
    },
    domain::{
        actor::Actor,
        event::Audience,
        policy::{Action, Resource},
    },
};

/// How many tickets one transaction closes. All of them stay locked until it ends.
const BATCH: i64 = 20;

/// Closes the tickets that were resolved long enough ago, if the installation is configured to.
/// Returns how many. Several nodes may run this at the same time. Tickets that another
/// transaction has locked are skipped until the next run.
///
/// # Errors
/// Returns an error if the actor is not the system.
pub async fn close_resolved(actor: &Actor, services: &Services) -> Result<usize, ServiceError> {
    authorise(actor, Action::Triage, Resource::Desk)?;
    let Some(after) = services.settings.close_resolved_after else { return Ok(0) };
    let mut closed = 0;
    loop {
        let now = services.ambient.now();
        let batch: Result<usize, ServiceError> = services
            .database
            .write(async |db| {
                let mut batch = closing::lock_resolved(db, now - after, BATCH).await?;
                for ticket in &mut batch {
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
                Ok(batch.len())
            })
            .await;
        match batch? {
            0 => return Ok(closed),
            count => closed += count,
        }
    }
}
