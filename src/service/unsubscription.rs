//! Having had enough of a ticket's mails, by the link in any of them. Who has the
//! link may use it: it stands in the mail, and mail programs follow it by themselves.

use super::{ServiceError, Services};
use crate::{
    db::{delivery, ticket, unsubscription},
    domain::{account::Locale, delivery::Delivery, ids::TicketId, policy::TicketScope},
};

/// What a link is about.
pub struct Subscription {
    /// The language of the mail that it was in.
    pub locale: Locale,
    /// The ticket's number, as people see it.
    pub number: String,
    ticket_id: TicketId,
    address: String,
}

/// What a link's token is about.
///
/// # Errors
/// It was not signed here; the mail that it was in is gone.
pub async fn find(services: &Services, token: &str) -> Result<Subscription, ServiceError> {
    let key = services.signing_key.as_ref().ok_or(ServiceError::NotFound)?;
    let id = key.verify_delivery(token).ok_or(ServiceError::NotFound)?;
    let mut connection = services.database.read().await?;
    let found = delivery::by_id(&mut connection, id).await?.ok_or(ServiceError::NotFound)?;
    let Delivery { ticket_id: Some(ticket_id), locale, address, .. } = found else {
        return Err(ServiceError::NotFound);
    };
    let scope = TicketScope::All;
    let tickets = ticket::by_ids(&mut connection, scope, &[ticket_id]).await?;
    let number = tickets.first().ok_or(ServiceError::NotFound)?.number;
    Ok(Subscription { locale, number: services.number_prefix().format(number), ticket_id, address })
}

/// Ends the mails about the ticket to the address that the link was sent to.
///
/// # Errors
/// As [`find`].
pub async fn unsubscribe(services: &Services, token: &str) -> Result<Subscription, ServiceError> {
    let found = find(services, token).await?;
    let mut connection = services.database.read().await?;
    let now = services.ambient.now();
    unsubscription::insert(&mut connection, found.ticket_id, &found.address, now).await?;
    Ok(found)
}
