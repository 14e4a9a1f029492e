//! The deliveries of mails about tickets, for staff.

use super::{ServiceError, Services, authorise};
use crate::{
    db::delivery,
    domain::{
        actor::Actor,
        delivery::Delivery,
        ids::TicketId,
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
