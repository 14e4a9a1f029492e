//! Participants: the customers with whom a ticket is shared. `ticket_invitation` adds them.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, authorise_account,
    session::ensure_unchanged, ticket::public_event,
};
use crate::{
    db::{event, notification, ticket as tickets},
    domain::{
        actor::Actor,
        ids::{AccountId, TicketId},
        policy::{Action, Resource},
        ticket::Ticket,
    },
};

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
    let editor = authorise_account(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let found = tickets::lock_participants(db, id).await?;
            let mut ticket = found.ok_or(ServiceError::NotFound)?;
            ensure_unchanged(actor, db, now).await?;
            authorise(actor, Action::ViewTicket, Resource::from(&ticket))?;
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

fn opened_ticket() -> UserError {
    UserError::new(
        "accountId",
        UserErrorCode::Invalid,
        "This customer opened the ticket and cannot be removed from it.",
    )
}
