//! The deliveries of mails: those about a ticket, for staff, and queueing failed ones again.

use super::{ServiceError, Services, UserError, UserErrorCode, authorise};
use crate::{
    db::{
        delivery::{self, FailedMails},
        installation,
    },
    domain::{
        actor::Actor,
        clock::Timestamp,
        delivery::{Delivery, DeliveryState, GIVE_UP_AFTER},
        ids::{DeliveryId, TicketId},
        policy::{Action, Resource},
    },
};

/// Returns the latest mails about these tickets, oldest first, at most 100 per ticket.
///
/// # Errors
/// Returns an error if the actor is not staff.
pub async fn of_tickets(
    actor: &Actor,
    services: &Services,
    tickets: &[TicketId],
) -> Result<Vec<(TicketId, Delivery)>, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    Ok(delivery::of_tickets(&mut *services.database.read().await?, tickets).await?)
}

/// Queues a mail again that could not be sent. One that is queued for later is due at once.
///
/// # Errors
/// Returns an error if the actor is not staff, and a user error if there is no such mail, it was
/// sent or cancelled, or its content was erased.
pub async fn retry(
    actor: &Actor,
    services: &Services,
    id: Option<DeliveryId>,
) -> Result<Delivery, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    let unknown =
        || UserError::new("deliveryId", UserErrorCode::NotFound, "There is no such mail.");
    let id = id.ok_or_else(unknown)?;
    let failed = FailedMails {
        id: Some(id),
        states: DeliveryState::FAILED.into(),
        finished_since: None,
        held_back: true,
    };
    let queued = queue_again(actor, services, &failed).await?;
    let mut connection = services.database.read().await?;
    delivery::hasten(&mut connection, id, services.ambient.now()).await?;
    let found = delivery::by_id(&mut connection, id).await?;
    drop(connection);
    let found = found.ok_or_else(unknown)?;
    if queued == 0
        && let Some(reason) = why_not_queued(&found)
    {
        return Err(UserError::new("deliveryId", UserErrorCode::NotAvailable, reason).into());
    }
    Ok(found)
}

/// Returns why a mail cannot be queued again, or `None` if it is queued.
fn why_not_queued(delivery: &Delivery) -> Option<&'static str> {
    match delivery.state {
        DeliveryState::Queued | DeliveryState::Sending => None,
        DeliveryState::Sent => Some("This mail was sent. It is never sent twice."),
        DeliveryState::Cancelled => Some(
            "This mail was cancelled: its recipient has unsubscribed, has no active account or can \
             no longer see the ticket.",
        ),
        // Another caller queued it, and it has failed again since.
        _ if delivery.ticket_id.is_some() => None,
        DeliveryState::Refused
        | DeliveryState::GivenUp
        | DeliveryState::Unbuildable
        | DeliveryState::Expired => Some(
            "The content of this mail was erased, because it held a code, a link or a security \
             notice. Ask for a new code or link instead.",
        ),
    }
}

/// Queues all mails again that could not be sent, of those that `states` and `finished_since`
/// select. States in which a mail was sent or cancelled select none. Priority mails are left out,
/// because their content was erased. So are mails that a restore has held back, unless `states` names
/// `Expired`: they may have been sent. Returns how many were queued.
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub async fn retry_all(
    actor: &Actor,
    services: &Services,
    states: Option<Vec<DeliveryState>>,
    finished_since: Option<Timestamp>,
) -> Result<usize, ServiceError> {
    authorise(actor, Action::ManageMail, Resource::Desk)?;
    queue_again(actor, services, &failed(states, finished_since)).await
}

/// Returns how many failed mails [`retry_all`] leaves out because their content was erased.
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub async fn count_erased(
    actor: &Actor,
    services: &Services,
    states: Option<Vec<DeliveryState>>,
    finished_since: Option<Timestamp>,
) -> Result<i64, ServiceError> {
    authorise(actor, Action::ManageMail, Resource::Desk)?;
    let failed = failed(states, finished_since);
    Ok(delivery::count_erased(&mut *services.database.read().await?, &failed).await?)
}

fn failed(states: Option<Vec<DeliveryState>>, finished_since: Option<Timestamp>) -> FailedMails {
    let held_back = states.as_ref().is_some_and(|it| it.contains(&DeliveryState::Expired));
    let mut chosen = DeliveryState::FAILED.to_vec();
    if let Some(states) = states {
        chosen.retain(|state| states.contains(state));
    }
    FailedMails { id: None, states: chosen, finished_since, held_back }
}

async fn queue_again(
    actor: &Actor,
    services: &Services,
    failed: &FailedMails,
) -> Result<usize, ServiceError> {
    let now = services.ambient.now();
    let queued = {
        let mut connection = services.database.read().await?;
        delivery::retry(&mut connection, failed, now, now + GIVE_UP_AFTER).await?
    };
    let by = actor.account_id().map(|id| id.0.to_string());
    let by = by.as_deref().unwrap_or("operator");
    for id in &queued {
        tracing::info!(delivery_id = %id.0, by, "a mail was queued again");
    }
    Ok(queued.len())
}

/// Returns the latest mails in some states, newest first.
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub async fn latest(
    actor: &Actor,
    services: &Services,
    states: &[DeliveryState],
    limit: i64,
) -> Result<Vec<Delivery>, ServiceError> {
    authorise(actor, Action::ManageMail, Resource::Desk)?;
    Ok(delivery::latest(&mut *services.database.read().await?, states, limit).await?)
}

/// Switches the installation's mail on or off. While it is off, no mail is planned or sent; queued
/// mails wait until they expire.
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub async fn set_enabled(
    actor: &Actor,
    services: &Services,
    enabled: bool,
) -> Result<(), ServiceError> {
    authorise(actor, Action::ManageMail, Resource::Desk)?;
    installation::set_mail_enabled(&mut *services.database.read().await?, enabled).await?;
    tracing::info!(enabled, "mail was switched on or off");
    Ok(())
}
