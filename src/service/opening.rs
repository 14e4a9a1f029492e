//! Opening tickets. Those that are opened at the same time are written together (`grouping.rs`).

use std::mem;

use futures_util::{StreamExt as _, stream};

use super::{
    ServiceError, Services, UserError, UserErrorCode,
    change::public_event,
    follow_up,
    grouping::{Turn, Waiting, log_failure, repeated, submit},
    rate_limit::{count_write, too_frequent, uncount_write, write_bucket},
    session::ensure_unchanged,
    ticket_writes::{Made, Opening},
    upload,
    used_terms::UsedTerms,
};
use crate::{
    db::{
        Connection, DbError, account, category,
        event::{self, FullBuckets, NewTicketEvent, Opened, Terms, TicketOpening},
    },
    domain::{
        account::Role,
        event::TicketEvent,
        ids::{AccountId, CategoryId},
        ticket::{Ticket, TicketNumber},
    },
};

/// Opens a ticket, together with others if it refers to none of them. Returns it with its number, or
/// the result of an earlier equal call.
///
/// # Errors
/// Returns a user error if the category does not accept tickets, the customer cannot have any, the
/// ticket to follow up is not closed, a file cannot be attached or the key was used with another
/// input, and [`ServiceError::TooFrequent`] if the account has opened too
/// many tickets within a minute.
pub(super) async fn open(services: &Services, opening: Opening) -> Result<Made, ServiceError> {
    if opening.refers_to_others() {
        return open_alone(services, &opening).await;
    }
    let all = services.clone();
    submit(&services.openings, opening, move |group, turn| process(all.clone(), group, turn)).await
}

async fn process(services: Services, group: Vec<Waiting<Opening>>, mut turn: Turn<Opening>) {
    let (group, mut lost) = separate(group);
    turn.wait().await;
    let opened = open_together(&services, &group).await;
    turn.end().await;
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) if error.is_unavailable() => {
            // Whether they were opened is unknown, so they must not be opened again.
            for waiting in group {
                waiting.answer(Err(repeated(&error)));
            }
            return open_singly(services, lost);
        }
        Err(error) => {
            log_failure(&error);
            Opened::default()
        }
    };
    for waiting in group {
        let opening = &waiting.call;
        if let Some(&number) = opened.numbers.get(&opening.ticket.id) {
            let ticket = opening.opened(number);
            waiting.answer(Ok(Made::Now(Box::new(ticket))));
        } else if let Some(error) = refused(&services, opening, &opened.full) {
            waiting.answer(Err(error));
        } else {
            lost.push(waiting);
        }
    }
    open_singly(services, lost);
}

/// Separates calls that use the key or a file of an earlier one: those are made after it.
fn separate(group: Vec<Waiting<Opening>>) -> (Vec<Waiting<Opening>>, Vec<Waiting<Opening>>) {
    let mut used = UsedTerms::default();
    group.into_iter().partition(|waiting| used.add(&waiting.call.terms()))
}

/// Returns the error for an opening whose bucket is full, if that is certain: the result of an
/// earlier equal call is returned in spite of it.
fn refused(services: &Services, opening: &Opening, full: &FullBuckets) -> Option<ServiceError> {
    let bucket = write_bucket(services, opening.counted)?;
    let wait = full.wait(&bucket, opening.ticket.created_at)?;
    let is_certain = opening.call.key.is_none();
    is_certain.then(|| too_frequent(services, opening.counted, wait))
}

/// Opens tickets each in a transaction. Those that wait for others hold few connections.
fn open_singly(services: Services, lost: Vec<Waiting<Opening>>) {
    tokio::spawn(stream::iter(lost).for_each_concurrent(None, move |waiting| {
        let services = services.clone();
        async move {
            let Ok(_permit) = services.single_openings.acquire().await else { return };
            if !waiting.is_given_up() {
                let opened = open_alone(&services, &waiting.call).await;
                waiting.answer(opened);
            }
        }
    }));
}

async fn open_together(services: &Services, group: &[Waiting<Opening>]) -> Result<Opened, DbError> {
    let events = group.iter().map(|waiting| waiting.call.event()).collect::<Vec<_>>();
    let new = group.iter().zip(&events).map(|(waiting, event)| TicketOpening {
        ticket: &waiting.call.ticket,
        event,
        counted: write_bucket(services, waiting.call.counted),
        terms: waiting.call.terms(),
    });
    let mut connection = services.database.read().await?;
    let placing = services.placing();
    let opened = event::open(&mut connection, &new.collect::<Vec<_>>(), placing).await;
    let mut opened = opened.inspect_err(|_| services.announce_failure())?;
    services.announce(mem::take(&mut opened.placement));
    opened.unwritten.uncount(&mut connection).await;
    Ok(opened)
}

/// Opens a ticket alone, in a transaction.
async fn open_alone(services: &Services, opening: &Opening) -> Result<Made, ServiceError> {
    let now = opening.ticket.created_at;
    let mut connection = services.database.read().await?;
    if let Some(earlier) = opening.call.find_earlier_result(&mut connection, now).await? {
        return Ok(Made::Earlier(earlier));
    }
    // The transaction counts the opening before it locks anything. Other openings of the account would
    // wait with it for what others keep locked.
    opening.check(&mut connection).await?;
    drop(connection);
    let opened = services
        .database
        .write(async |db| {
            count_write(services, db, opening.counted).await?;
            opening.check(db).await?;
            ensure_unchanged(&opening.counted.actor, db, services.ambient.now()).await?;
            open_checked(services, db, opening).await
        })
        .await;
    opening.or_earlier(services, opened).await
}

/// Opens a ticket in a transaction that has counted and checked it, or returns the result of an
/// earlier equal call.
async fn open_checked(
    services: &Services,
    db: &mut Connection,
    opening: &Opening,
) -> Result<Made, ServiceError> {
    let Opening { ticket, counted, call, files, .. } = opening;
    upload::lock(db, files).await?;
    if let Some(earlier) = call.earlier_result(db, ticket.id.0, ticket.created_at).await? {
        uncount_write(services, db, *counted).await?;
        return Ok(Made::Earlier(earlier));
    }
    let event = opening.event();
    let new = TicketOpening { ticket, event: &event, counted: None, terms: Terms::default() };
    let opened = event::open(db, &[new], None).await?;
    let number = opened.numbers.get(&ticket.id).copied().ok_or_else(unknown_category)?;
    upload::attach(db, counted.account, files, ticket.id, None).await?;
    Ok(Made::Now(Box::new(opening.opened(number))))
}

impl Opening {
    /// Whether the ticket is opened for a customer or follows up another one, which only a transaction
    /// of its own can check.
    fn refers_to_others(&self) -> bool {
        self.customer.is_some() || self.ticket.follow_up_to.is_some()
    }

    /// Checks what the ticket refers to, and prevents changes to it until the transaction ends.
    async fn check(&self, db: &mut Connection) -> Result<(), ServiceError> {
        if let Some(customer) = self.customer {
            require_customer(db, customer).await?;
        }
        require_category(db, self.ticket.category_id).await?;
        if let Some(predecessor) = self.ticket.follow_up_to {
            follow_up::require_closed(&self.counted.actor, db, predecessor).await?;
        }
        Ok(())
    }

    fn event(&self) -> NewTicketEvent {
        let event = TicketEvent::TicketCreated {};
        public_event(event, self.counted.account, self.ticket.created_at)
    }

    /// Returns the outcome of a transaction, or the result of an earlier equal call if the account
    /// has reached its limit.
    async fn or_earlier(
        &self,
        services: &Services,
        opened: Result<Made, ServiceError>,
    ) -> Result<Made, ServiceError> {
        let now = self.ticket.created_at;
        match opened {
            Err(error) => {
                self.call.in_spite_of_limit(&services.database, error, now).await.map(Made::Earlier)
            }
            opened => opened,
        }
    }

    /// Returns the ticket as it was opened.
    fn opened(&self, number: TicketNumber) -> Ticket {
        Ticket { number, events: 1, ..self.ticket.clone() }
    }
}

async fn require_customer(db: &mut Connection, id: AccountId) -> Result<(), ServiceError> {
    let found = account::lock_shared(db, id).await?;
    if found.is_some_and(|it| it.role == Role::Customer && it.disabled_at.is_none()) {
        return Ok(());
    }
    let message = "There is no customer with this id whose account is active.";
    Err(UserError::new("customerId", UserErrorCode::NotFound, message).into())
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
