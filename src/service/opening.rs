//! Opening tickets. Those that are opened at the same time are written together (`grouping.rs`).

use std::collections::HashMap;

use super::{
    ServiceError, Services, UserError, UserErrorCode,
    change::public_event,
    grouping::{Waiting, repeated, submit},
    queued::Opening,
    rate_limit::{count_creation, creation_bucket},
};
use crate::{
    db::{
        Connection, DbError, category,
        event::{self, NewTicketEvent, TicketOpening},
    },
    domain::{
        event::TicketEvent,
        ids::{CategoryId, TicketId},
        ticket::{Ticket, TicketNumber},
    },
};

/// Opens a ticket together with others. Returns it with its number.
///
/// # Errors
/// Returns a user error if the category does not accept tickets, and
/// [`ServiceError::TooFrequent`] if the account has opened too many tickets within a minute.
pub(super) async fn open(services: &Services, opening: Opening) -> Result<Ticket, ServiceError> {
    let all = services.clone();
    submit(&services.openings, opening, move |group| process(all.clone(), group)).await
}

async fn process(services: Services, group: Vec<Waiting<Opening>>) {
    let opened = match open_together(&services, &group).await {
        Ok(opened) => opened,
        Err(error) if error.is_unavailable() => {
            // Whether they were opened is unknown, so they must not be opened again.
            for waiting in group {
                waiting.answer(Err(repeated(&error)));
            }
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "opening a group of tickets failed; opening them one by one");
            HashMap::new()
        }
    };
    let mut lost = Vec::new();
    for waiting in group {
        match opened.get(&waiting.call.ticket.id) {
            Some(&number) => {
                let ticket = waiting.call.opened(number);
                waiting.answer(Ok(ticket));
            }
            None => lost.push(waiting),
        }
    }
    tokio::spawn(async move {
        for waiting in lost {
            open_alone(&services, waiting).await;
        }
    });
}

async fn open_together(
    services: &Services,
    group: &[Waiting<Opening>],
) -> Result<HashMap<TicketId, TicketNumber>, DbError> {
    let events = group.iter().map(|waiting| waiting.call.event()).collect::<Vec<_>>();
    let new = group.iter().zip(&events).map(|(waiting, event)| TicketOpening {
        ticket: &waiting.call.ticket,
        event,
        counted: creation_bucket(services, waiting.call.creation),
    });
    let mut connection = services.database.read().await?;
    let opened = event::open(&mut connection, &new.collect::<Vec<_>>()).await?;
    services.database.announce_commit();
    Ok(opened)
}

async fn open_alone(services: &Services, waiting: Waiting<Opening>) {
    let opening = &waiting.call;
    let opened = services.database.write(async |db| {
        count_creation(services, db, opening.creation).await?;
        require_category(db, opening.ticket.category_id).await?;
        open_checked(db, opening).await
    });
    let opened = opened.await;
    waiting.answer(opened);
}

/// Opens a ticket in a transaction that has counted it and has checked its category.
pub(super) async fn open_checked(
    db: &mut Connection,
    opening: &Opening,
) -> Result<Ticket, ServiceError> {
    let event = opening.event();
    let new = TicketOpening { ticket: &opening.ticket, event: &event, counted: None };
    let opened = event::open(db, &[new]).await?;
    let number = opened.get(&opening.ticket.id).copied();
    Ok(opening.opened(number.ok_or_else(unknown_category)?))
}

impl Opening {
    fn event(&self) -> NewTicketEvent {
        let event = TicketEvent::TicketCreated {};
        public_event(event, self.creation.account, self.ticket.created_at)
    }

    /// Returns the ticket as it was opened.
    fn opened(&self, number: TicketNumber) -> Ticket {
        Ticket { number, events: 1, ..self.ticket.clone() }
    }
}

/// Checks that a category accepts tickets, and prevents changes to it until the transaction ends.
pub(super) async fn require_category(
    db: &mut Connection,
    id: CategoryId,
) -> Result<(), ServiceError> {
    let category = category::lock_shared(db, id).await?.ok_or_else(unknown_category)?;
    if category.retired_at.is_some() {
        return Err(UserError::new(
            "categoryId",
            UserErrorCode::CategoryRetired,
            "This category no longer accepts tickets. Choose one of `categories`.",
        )
        .into());
    }
    Ok(())
}

/// Creates the error for a category that does not exist.
pub(super) fn unknown_category() -> UserError {
    UserError::new(
        "categoryId",
        UserErrorCode::NotFound,
        "This category does not exist. Choose one of `categories`.",
    )
}
