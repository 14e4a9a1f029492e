//! Participants: the customers with whom a ticket is shared. `ticket_invitation` adds them.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, authorise_account,
    session::ensure_unchanged,
    ticket::{public_event, require_visible},
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
/// a user error if `account` is `None` or the customer opened the ticket.
pub async fn remove(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    account: Option<AccountId>,
) -> Result<Option<Ticket>, ServiceError> {
    let editor = authorise_account(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            require_visible(actor, db, id).await?;
            let found = tickets::lock_participants(db, id).await?;
            let mut ticket = found.ok_or(ServiceError::NotFound)?;
            ensure_unchanged(actor, db, now).await?;
            authorise(actor, Action::ViewTicket, Resource::from(&ticket))?;
            if account != Some(editor) {
                authorise(actor, Action::ManageParticipants, Resource::from(&ticket))?;
            }
            let account = account.ok_or_else(unknown_account)?;
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

fn unknown_account() -> UserError {
    let message = "`accountId` is not the id of an account.";
    UserError::new("accountId", UserErrorCode::NotFound, message)
}

fn opened_ticket() -> UserError {
    UserError::new(
        "accountId",
        UserErrorCode::Invalid,
        "This customer opened the ticket and cannot be removed from it.",
    )
}
