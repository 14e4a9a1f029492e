//! What became of a ticket's mails, for staff.

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

/// The last mails about some tickets, oldest first.
///
/// # Errors
/// The actor is not staff.
pub async fn of_tickets(
    actor: &Actor,
    services: &Services,
    tickets: &[TicketId],
) -> Result<Vec<(TicketId, Delivery)>, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    Ok(delivery::of_tickets(&mut *services.database.read().await?, tickets).await?)
}
