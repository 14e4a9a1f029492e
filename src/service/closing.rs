//! Resolved tickets that close by themselves.

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

/// Tickets a transaction: few, since it holds the locks of all of them.
const BATCH: i64 = 20;

/// Closes the tickets that were resolved long enough ago, if the installation wants that;
/// gives how many. Safe on many nodes: each ticket is closed once, under its lock, and
/// those that somebody holds are left for the next time.
///
/// # Errors
/// Not the system itself; the database failed.
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
