//! Unsubscribing from a ticket's mails with the link in one of them. The link needs no sign-in,
//! because mail programs follow it automatically.

use super::{ServiceError, Services};
use crate::{
    db::{delivery, ticket, unsubscription},
    domain::{account::Locale, delivery::Delivery, ids::TicketId, policy::TicketScope},
};

/// The subscription that a link ends: to the mails about a ticket, at an e-mail address.
pub struct MailSubscription {
    /// The language of the mail with the link.
    pub locale: Locale,
    /// The ticket's number with its prefix.
    pub number: String,
    ticket_id: TicketId,
    address: String,
}

/// Returns the subscription that a link's token refers to.
///
/// # Errors
/// Returns [`ServiceError::NotFound`] if the token is forged or its mail no longer exists.
pub async fn find(services: &Services, token: &str) -> Result<MailSubscription, ServiceError> {
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
    Ok(MailSubscription {
        locale,
        number: services.number_prefix().format(number),
        ticket_id,
        address,
    })
}

/// Stops mail about the ticket to the address that the link was sent to. Can be repeated.
///
/// # Errors
/// Returns the errors of [`find`].
pub async fn unsubscribe(
    services: &Services,
    token: &str,
) -> Result<MailSubscription, ServiceError> {
    let found = find(services, token).await?;
    let mut connection = services.database.read().await?;
    let now = services.ambient.now();
    unsubscription::insert(&mut connection, found.ticket_id, &found.address, now).await?;
    Ok(found)
}
