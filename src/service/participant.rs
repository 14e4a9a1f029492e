//! Participants: the customers with whom a ticket is shared.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise,
    rate_limit::{self, Limit},
    ticket::{lock, public_event},
};
use crate::{
    db::{account, event, notification},
    domain::{
        account::{EmailAddress, Role},
        actor::Actor,
        ids::{AccountId, TicketId},
        policy::{Action, Resource},
        session::ClientOrigin,
        ticket::{MAX_PARTICIPANTS, MAX_PAST_PARTICIPANTS, Status, Ticket, TooManyParticipants},
    },
};

/// Adds the customer with an e-mail address to a ticket. Does nothing if they are already a
/// participant. Addresses without a customer are rate limited, so that nobody can use this to
/// find out who is a customer.
///
/// # Errors
/// Returns an error if the actor may not see or share the ticket. Returns user errors if no
/// customer has the address, the ticket is closed or it has too many participants, and
/// [`ServiceError::RateLimited`] after too many unknown addresses.
pub async fn add(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    email: &str,
    origin: &ClientOrigin,
) -> Result<Ticket, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let editor = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let email = EmailAddress::lookup(email)
        .map_err(|error| UserError::text("email", "The e-mail address", error))?;
    let subject = editor.0.to_string();
    let attempt = rate_limit::count(services, Limit::Address, Some(&subject), origin).await?;
    let now = services.ambient.now();
    let email = &email;
    let added: Result<Ticket, ServiceError> = services
        .database
        .write(async |db| {
            let mut ticket = lock(actor, db, id).await?;
            authorise(actor, Action::ManageParticipants, Resource::from(&ticket))?;
            if ticket.status == Status::Closed {
                return Err(ticket_closed().into());
            }
            let found = account::by_email(db, email).await?.map(|(account, _)| account);
            let found = found.filter(|it| it.role == Role::Customer && it.disabled_at.is_none());
            let account = found.ok_or_else(unknown_customer)?;
            let added = ticket.add_participant(account.id, now).map_err(too_many_participants)?;
            if let Some(added) = added {
                let added = public_event(added, editor, now);
                event::save_with_events(db, &mut ticket, &[added]).await?;
            }
            Ok(ticket)
        })
        .await;
    let ticket = added?;
    rate_limit::refund(services, attempt).await?;
    Ok(ticket)
}

/// Removes a participant from a ticket. Participants may remove themselves. Anybody else must
/// be allowed to share the ticket. Does nothing if the customer is not a participant. Returns
/// the ticket, or `None` if the actor may no longer see it.
///
/// # Errors
/// Returns an error if the actor may not see the ticket or may not remove the participant, and
/// a user error if the customer opened the ticket.
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
                return Err(opened_ticket().into());
            }
            if let Some(removed) = ticket.remove_participant(account, now) {
                notification::delete_for_ticket(db, account, id).await?;
                let removed = public_event(removed, editor, now);
                event::save_with_events(db, &mut ticket, &[removed]).await?;
            }
            let seen = authorise(actor, Action::ViewTicket, Resource::from(&ticket)).is_ok();
            Ok(seen.then_some(ticket))
        })
        .await
}

fn ticket_closed() -> UserError {
    UserError::new(
        "ticketId",
        UserErrorCode::TicketClosed,
        "This ticket is closed and can no longer be shared. Open a follow-up and share that.",
    )
}

fn unknown_customer() -> UserError {
    UserError::new(
        "email",
        UserErrorCode::NotFound,
        "No customer has this e-mail address. Ask the customer which address they sign in with.",
    )
}

fn too_many_participants(limit: TooManyParticipants) -> UserError {
    let message = match limit {
        TooManyParticipants::Current => format!(
            "A ticket can have at most {MAX_PARTICIPANTS} participants. Remove one first, or open \
             a new ticket."
        ),
        TooManyParticipants::Past => format!(
            "This ticket has {MAX_PAST_PARTICIPANTS} former participants, the maximum. Open a new \
             ticket and share that."
        ),
    };
    UserError::new("ticketId", UserErrorCode::TooMany, message)
}

fn opened_ticket() -> UserError {
    UserError::new(
        "accountId",
        UserErrorCode::Invalid,
        "This customer opened the ticket and cannot be removed from it.",
    )
}
