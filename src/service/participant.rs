//! The customers who take part in a ticket besides the one who opened it.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise,
    rate_limit::{self, Limited},
    ticket::{lock, public_event},
};
use crate::{
    db::{account, event, notification},
    domain::{
        account::{EmailAddress, Role},
        actor::Actor,
        ids::{AccountId, TicketId},
        policy::{Action, Resource},
        session::Origin,
        ticket::{MAX_PARTICIPANTS, Status, Ticket},
    },
};

/// Lets the customer of an e-mail address take part in a ticket; where they do already,
/// nothing changes. Addresses that no customer has are counted, so that this is no way
/// to find out who is one.
///
/// # Errors
/// A ticket that the actor may not see, or that is not theirs to share; an address that no
/// customer has; a closed ticket; as many participants as can be; too many tries.
pub async fn add(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    email: &str,
    origin: &Origin,
) -> Result<Ticket, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let editor = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let email = EmailAddress::parse(email)
        .map_err(|error| UserError::text("email", "The e-mail address", error))?;
    let tries =
        rate_limit::count(services, Limited::Address, Some(&editor.0.to_string()), origin).await?;
    let now = services.ambient.now();
    let email = &email;
    let added: Result<Ticket, ServiceError> = services
        .database
        .write(async |db| {
            let mut ticket = lock(actor, db, id).await?;
            authorise(actor, Action::ManageParticipants, Resource::from(&ticket))?;
            if ticket.status == Status::Closed {
                return Err(closed().into());
            }
            let found = account::by_email(db, email).await?.map(|(account, _)| account);
            let found = found.filter(|it| it.role == Role::Customer && it.disabled_at.is_none());
            let account = found.ok_or_else(unknown)?;
            let added = ticket.add_participant(account.id, now).map_err(|_| too_many())?;
            if let Some(added) = added {
                let added = public_event(added, editor, now);
                event::save_with_events(db, &ticket, &[added]).await?;
            }
            Ok(ticket)
        })
        .await;
    let ticket = added?;
    rate_limit::refund(services, tries).await?;
    Ok(ticket)
}

/// Lets a customer take part in a ticket no longer, by somebody whose ticket it is, by
/// staff or by themselves; where they don't, nothing changes. Gives the ticket, if the
/// actor still sees it.
///
/// # Errors
/// A ticket that the actor may not see, or in which it is not theirs to say who takes part.
pub async fn remove(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    account: AccountId,
) -> Result<Option<Ticket>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let editor = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let mut ticket = lock(actor, db, id).await?;
            if account != editor {
                authorise(actor, Action::ManageParticipants, Resource::from(&ticket))?;
            }
            if account == ticket.reporter_id {
                return Err(reporter().into());
            }
            if let Some(removed) = ticket.remove_participant(account, now) {
                notification::delete_for_ticket(db, account, id).await?;
                let removed = public_event(removed, editor, now);
                event::save_with_events(db, &ticket, &[removed]).await?;
            }
            let seen = authorise(actor, Action::ViewTicket, Resource::from(&ticket)).is_ok();
            Ok(seen.then_some(ticket))
        })
        .await
}

fn closed() -> UserError {
    UserError::new(
        "ticketId",
        UserErrorCode::TicketClosed,
        "This ticket is closed: nobody can be added to it any more.",
    )
}

fn unknown() -> UserError {
    UserError::new(
        "email",
        UserErrorCode::NotFound,
        "No customer has this e-mail address. Ask them for the one that they sign in with.",
    )
}

fn too_many() -> UserError {
    let message = format!(
        "{MAX_PARTICIPANTS} customers can take part in a ticket at a time, and 200 may have left it. \
         Remove one first, or open a new ticket."
    );
    UserError::new("ticketId", UserErrorCode::TooMany, message)
}

fn reporter() -> UserError {
    UserError::new(
        "accountId",
        UserErrorCode::Invalid,
        "The one who opened the ticket can't be removed from it.",
    )
}
