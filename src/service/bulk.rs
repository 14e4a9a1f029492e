//! Changes of many tickets at once.

use std::collections::{HashMap, HashSet};

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise,
    ticket::{self, TicketChanges},
};
use crate::{
    db::ticket as tickets,
    domain::{
        actor::Actor,
        ids::TicketId,
        policy::{self, Action, Resource},
        ticket::Ticket,
    },
};

/// At most so many tickets at once.
pub const MAX_TICKETS: usize = 100;

/// What became of one of the tickets.
pub type TicketResult = Result<Ticket, UserError>;

/// Changes many tickets in one transaction, each wholly or not at all: one that can't be
/// changed doesn't keep the others from it. Gives what became of each, in the order of the
/// ids; `None`: an id that names no ticket.
///
/// # Errors
/// Not staff; no ticket, too many, or one twice; an assignee or a category that no ticket can
/// get.
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
            let reviewed = ticket::reviewed(db, None, changes).await?;
            let mut results = HashMap::new();
            for mut ticket in tickets::lock_all(db, known).await? {
                let id = ticket.id;
                authorise(actor, Action::Triage, Resource::from(&ticket))?;
                let by = policy::standing(actor, &ticket);
                let result = match ticket.apply(reviewed.clone(), by, now) {
                    Ok(changed) => {
                        ticket::record(db, &ticket, changed, editor, now).await?;
                        Ok(ticket)
                    }
                    Err(illegal) => Err(ticket::illegal(illegal)),
                };
                results.insert(id, result);
            }
            let result = |id: &Option<TicketId>| id.and_then(|id| results.remove(&id));
            Ok(ids
                .iter()
                .map(result)
                .map(|found| found.unwrap_or_else(|| Err(unknown())))
                .collect())
        })
        .await
}

/// The ids that name tickets, where there are neither none nor too many, and none twice.
fn distinct(ids: &[Option<TicketId>]) -> Result<Vec<TicketId>, UserError> {
    let refused = |code, message| Err(UserError::new("ticketIds", code, message));
    if ids.is_empty() {
        return refused(UserErrorCode::Required, "Name at least one ticket.".to_owned());
    }
    if ids.len() > MAX_TICKETS {
        let message = format!(
            "At most {MAX_TICKETS} tickets can be changed at once; these are {}. Send the others in \
             another request.",
            ids.len()
        );
        return refused(UserErrorCode::TooLong, message);
    }
    let known = ids.iter().copied().flatten().collect::<Vec<_>>();
    if known.iter().collect::<HashSet<_>>().len() < known.len() {
        let message = "The same ticket is there twice. Name each once.".to_owned();
        return refused(UserErrorCode::Invalid, message);
    }
    Ok(known)
}

fn unknown() -> UserError {
    UserError::new(
        "ticketIds",
        UserErrorCode::NotFound,
        "There is no such ticket. Take the others on without it.",
    )
}
