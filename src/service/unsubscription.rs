//! Unsubscribing from a ticket's mails, and subscribing again: with the link in one of them, or
//! signed in. The link needs no sign-in, because mail programs follow it automatically.

use super::{
    ServiceError, Services, account, authorise, rate_limit,
    ticket_writes::{CountedWrite, Write},
};
use crate::{
    db::{Connection, DbError, account as accounts, delivery, ticket, unsubscription},
    domain::{
        account::{EmailAddress, Locale},
        actor::Actor,
        delivery::Delivery,
        ids::TicketId,
        policy::{self, Action, Resource, TicketScope},
        ticket::Ticket,
    },
};

/// The subscription that a link ends: to the mails about a ticket, of an account or an e-mail address.
pub struct MailSubscription {
    /// The language of the mail with the link.
    pub locale: Locale,
    /// The ticket's number with its prefix.
    pub number: String,
    /// Whether the address receives mail about the ticket.
    pub is_on: bool,
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
    let Delivery { ticket_id: Some(ticket_id), account_id, locale, address, .. } = found else {
        return Err(ServiceError::NotFound);
    };
    // Mail follows an account to another address, and so does the link in an older mail.
    let account = accounts::by_ids(&mut connection, account_id.as_slice()).await?.pop();
    let address = account.map_or(address, |account| account.email.as_str().to_owned());
    let scope = TicketScope::All;
    let tickets = ticket::by_ids(&mut connection, scope, &[ticket_id]).await?;
    let number = tickets.first().ok_or(ServiceError::NotFound)?.number;
    let is_on = !unsubscription::exists(&mut connection, ticket_id, &address).await?;
    Ok(MailSubscription {
        is_on,
        locale,
        number: services.number_prefix().format(number),
        ticket_id,
        address,
    })
}

/// Starts or stops mail about the ticket to the account that the link was sent to, or to the address
/// if it is of no account. Can be repeated.
///
/// # Errors
/// Returns the errors of [`find`].
pub async fn set(
    services: &Services,
    token: &str,
    is_on: bool,
) -> Result<MailSubscription, ServiceError> {
    let found = find(services, token).await?;
    let addresses = if is_on {
        EmailAddress::from_stored(found.address.clone()).spellings()
    } else {
        vec![found.address.clone()]
    };
    let mut connection = services.database.read().await?;
    store(services, &mut connection, found.ticket_id, &addresses, is_on).await?;
    Ok(MailSubscription { is_on, ..found })
}

/// Starts or stops mail about a ticket to the actor. Can be repeated.
///
/// # Errors
/// Returns an error if nobody is signed in, or the actor may not see the ticket, and
/// [`ServiceError::TooFrequent`] if a customer has made too many changes within a minute.
pub async fn set_for_viewer(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    is_on: bool,
) -> Result<Ticket, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let viewer = account::viewer(actor, services).await?;
    let scope = policy::ticket_scope(actor);
    let mut connection = services.database.read().await?;
    let found = ticket::by_ids(&mut connection, scope, &[id]).await?;
    let ticket = found.into_iter().next().ok_or(ServiceError::NotFound)?;
    // An older version may have stored another spelling.
    let spellings = viewer.email.spellings();
    let addresses = if is_on { spellings } else { vec![viewer.email.as_str().to_owned()] };
    let counted = CountedWrite { kind: Write::Change, actor: *actor, account: viewer.id };
    rate_limit::count_write(services, &mut connection, counted).await?;
    if !store(services, &mut connection, ticket.id, &addresses, is_on).await? {
        rate_limit::uncount_write(services, &mut connection, counted).await?;
    }
    Ok(ticket)
}

/// Returns the tickets that the actor may see and gets no mail about, those unsubscribed from last
/// first, at most `limit`.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of_viewer(
    actor: &Actor,
    services: &Services,
    limit: i64,
) -> Result<Vec<Ticket>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let viewer = account::viewer(actor, services).await?;
    let scope = policy::ticket_scope(actor);
    let mut connection = services.database.read().await?;
    let addresses = viewer.email.spellings();
    let ids = unsubscription::of_addresses(&mut connection, scope, &addresses, limit).await?;
    let mut tickets = ticket::by_ids(&mut connection, scope, &ids).await?;
    tickets.sort_by_key(|ticket| ids.iter().position(|id| *id == ticket.id));
    Ok(tickets)
}

/// Starts or stops mail about a ticket to addresses. Returns `false` if nothing changes.
async fn store(
    services: &Services,
    db: &mut Connection,
    ticket: TicketId,
    addresses: &[String],
    is_on: bool,
) -> Result<bool, DbError> {
    if is_on {
        return unsubscription::delete(db, ticket, addresses).await;
    }
    let mut has_changed = false;
    for address in addresses {
        has_changed |= unsubscription::insert(db, ticket, address, services.ambient.now()).await?;
    }
    Ok(has_changed)
}
