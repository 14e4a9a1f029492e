//! Changing many tickets at once.

use std::collections::{HashMap, HashSet};

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, merged,
    session::ensure_unchanged,
    ticket::{self, TicketChanges},
};
use crate::{
    db::{event, ticket as tickets},
    domain::{
        actor::Actor,
        ids::TicketId,
        policy::{Action, Resource},
        ticket::Ticket,
    },
};

/// How many tickets can be changed at a time.
pub const MAX_TICKETS: usize = 100;

/// The changed ticket, or why it was not changed.
pub type TicketResult = Result<Ticket, UserError>;

/// Applies the same changes to many tickets, in one transaction. A ticket that cannot be
/// changed stays as it is and does not affect the others. Returns a result per id, in the same
/// order. `None` stands for an id that the caller sent and that is not a ticket's.
///
/// # Errors
/// Returns an error if the actor is not staff. Returns user errors if there are no ids, too
/// many or the same one twice, or if the assignee or the category cannot be set.
pub async fn update(
    actor: &Actor,
    services: &Services,
    ids: &[Option<TicketId>],
    changes: &TicketChanges,
) -> Result<Vec<TicketResult>, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    let editor = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let known = &distinct(ids)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let changes = ticket::validate_changes(db, None, changes).await?;
            let (mut results, mut changed) = (HashMap::new(), Vec::new());
            let locked = tickets::lock_all(db, known).await?;
            ensure_unchanged(actor, db, now).await?;
            for mut ticket in locked {
                authorise(actor, Action::Triage, Resource::from(&ticket))?;
                match ticket::apply(actor, &mut ticket, changes.clone(), (editor, now)) {
                    Ok(events) => changed.push((ticket, events)),
                    Err(illegal) => {
                        let merged = (ticket.id, "ticketIds");
                        let error =
                            merged::explain_in(actor, services, db, merged, illegal).await?;
                        results.insert(ticket.id, Err(error));
                    }
                }
            }
            event::save_all_with_events(db, &mut changed).await?;
            results.extend(changed.into_iter().map(|(ticket, _)| (ticket.id, Ok(ticket))));
            let result = |id: &Option<TicketId>| id.and_then(|id| results.remove(&id));
            Ok(ids
                .iter()
                .map(result)
                .map(|found| found.unwrap_or_else(|| Err(unknown_ticket())))
                .collect())
        })
        .await
}

/// Checks the ids and returns those that can be a ticket's.
fn distinct(ids: &[Option<TicketId>]) -> Result<Vec<TicketId>, UserError> {
    let invalid = |code, message| Err(UserError::new("ticketIds", code, message));
    if ids.is_empty() {
        return invalid(UserErrorCode::Required, "Choose at least one ticket.".to_owned());
    }
    if ids.len() > MAX_TICKETS {
        let message = format!(
            "At most {MAX_TICKETS} tickets can be changed at a time. These are {}. Send the others in \
             another request.",
            ids.len()
        );
        return invalid(UserErrorCode::TooLong, message);
    }
    let known = ids.iter().copied().flatten().collect::<Vec<_>>();
    if known.iter().collect::<HashSet<_>>().len() < known.len() {
        let message = "The same ticket is listed twice. List each ticket once.".to_owned();
        return invalid(UserErrorCode::Invalid, message);
    }
    Ok(known)
}

fn unknown_ticket() -> UserError {
    UserError::new(
        "ticketIds",
        UserErrorCode::NotFound,
        "This ticket does not exist. The others are not affected.",
    )
}
