//! Tickets.

use super::{
    ServiceError, Services, UserError, UserErrorCode,
    attachment::{self, Upload},
    authorise,
    error::Review,
    follow_up,
    idempotency::{IdempotentCall, fingerprint},
};
use crate::{
    db::{
        Connection, account, category,
        event::{self, NewTicketEvent},
        ticket as tickets,
    },
    domain::{
        actor::Actor,
        clock::Timestamp,
        event::{Audience, TicketEvent},
        ids::{AccountId, CategoryId, TicketId},
        page::{Page, Slice},
        policy::{self, Action, Resource},
        queue::{TicketCount, TicketSelection},
        text::{Body, IdempotencyKey, Summary},
        ticket::{Changes, IllegalMove, Priority, Status, Ticket, TicketNumber},
        ticket_list::{TicketKey, TicketSort},
    },
};

/// A ticket to be opened.
pub struct NewTicket {
    /// What it is sorted into; `None`: an id that can't be one.
    pub category_id: Option<CategoryId>,
    /// What it is about, in a line.
    pub summary: String,
    /// What it is about.
    pub description: String,
    /// The files that come with it.
    pub attachments: Vec<Upload>,
    /// The closed ticket that it goes on from.
    pub follow_up_to: Option<TicketId>,
    /// The caller's key for repeating the call.
    pub idempotency_key: Option<String>,
}

/// What is to change about a ticket; `None` leaves a field as it is.
#[derive(Default)]
pub struct TicketChanges {
    /// The new status.
    pub status: Option<Status>,
    /// The new priority.
    pub priority: Option<Priority>,
    /// The new assignee; `Some(None)` takes the present one off.
    pub assignee: Option<Option<AccountId>>,
    /// The new category.
    pub category: Option<CategoryId>,
    /// The new summary.
    pub summary: Option<String>,
    /// The version that the caller has seen.
    pub expected_version: Option<i32>,
}

/// A page of the tickets that the actor may see.
///
/// # Errors
/// Nobody is signed in.
pub async fn page(
    actor: &Actor,
    services: &Services,
    selection: &TicketSelection,
    sort: TicketSort,
    descending: bool,
    page: &Page<TicketKey>,
) -> Result<Slice<Ticket>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let scope = policy::ticket_scope(actor);
    let mut connection = services.database.read().await?;
    Ok(tickets::list::page(&mut connection, scope, selection, sort, descending, page).await?)
}

/// How many tickets there are of each category and status.
///
/// # Errors
/// Not staff.
pub async fn counts(
    actor: &Actor,
    services: &Services,
    selection: &TicketSelection,
) -> Result<Vec<TicketCount>, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    Ok(tickets::list::counts(&mut *services.database.read().await?, selection).await?)
}

/// The tickets of some ids that the actor may see, in no order.
///
/// # Errors
/// Nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let scope = policy::ticket_scope(actor);
    Ok(tickets::by_ids(&mut *services.database.read().await?, scope, ids).await?)
}

/// The ticket of an id.
///
/// # Errors
/// There is none that the actor may see.
pub async fn by_id(
    actor: &Actor,
    services: &Services,
    id: TicketId,
) -> Result<Ticket, ServiceError> {
    let found = by_ids(actor, services, &[id]).await?;
    found.into_iter().next().ok_or(ServiceError::NotFound)
}

/// The ticket of a number as people write it.
///
/// # Errors
/// There is none that the actor may see.
pub async fn by_number(
    actor: &Actor,
    services: &Services,
    number: &str,
) -> Result<Ticket, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let number = services.number_prefix().read(number).ok_or(ServiceError::NotFound)?;
    let scope = policy::ticket_scope(actor);
    let found = tickets::by_number(&mut *services.database.read().await?, scope, number).await?;
    found.ok_or(ServiceError::NotFound)
}

/// Opens a ticket.
///
/// # Errors
/// Nobody is signed in; errors of the input.
pub async fn create(
    actor: &Actor,
    services: &Services,
    new: NewTicket,
) -> Result<Ticket, ServiceError> {
    create_as(actor, services, TicketId(services.ambient.uuid()), new).await
}

/// Opens a ticket under a given id: demo data has tickets that examples refer to.
///
/// # Errors
/// As [`create`]; the id is taken.
pub(super) async fn create_as(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    new: NewTicket,
) -> Result<Ticket, ServiceError> {
    authorise(actor, Action::CreateTicket, Resource::Desk)?;
    let reporter = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut review = Review::default();
    let summary = review.text("summary", "The summary", Summary::parse(&new.summary));
    let description = review.text("description", "The description", Body::parse(&new.description));
    let key = new.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
    let key = review.text("idempotencyKey", "The idempotency key", key);
    attachment::review(&mut review, &new.attachments);
    if new.category_id.is_none() {
        review.note(unknown_category());
    }
    let reviewed = summary.zip(description).zip(key).zip(new.category_id);
    let (((summary, description), key), category_id) = review.finish(reviewed)?;

    let input = category_id.0.to_string();
    let files = attachment::fingerprints(&new.attachments);
    let follow_up_to = new.follow_up_to.map(|id| id.0.to_string());
    let mut fields = vec![input.as_str(), summary.as_str(), description.as_str()];
    fields.extend(follow_up_to.as_deref());
    fields.extend(files.iter().map(String::as_str));
    let fingerprint = fingerprint("createTicket", &fields);
    let call = &IdempotentCall { account: reporter, key, fingerprint };
    let uploads = new.attachments.as_slice();
    let now = services.ambient.now();
    let ticket = &Ticket {
        id,
        // Given out below, in the transaction.
        number: TicketNumber(0),
        category_id,
        reporter_id: reporter,
        participant_ids: vec![],
        past_participant_ids: vec![],
        assignee_id: None,
        summary: summary.into_string(),
        description: description.into_string(),
        status: Status::WaitingForSupport,
        priority: Priority::Medium,
        version: 1,
        created_at: now,
        updated_at: now,
        waiting_since: Some(now),
        resolved_at: None,
        follow_up_to: new.follow_up_to,
    };
    services
        .database
        .write(async |db| {
            if let Some(earlier) = call.earlier_result(db, ticket.id.0, now).await? {
                let scope = policy::ticket_scope(actor);
                let found = tickets::by_ids(db, scope, &[TicketId(earlier)]).await?;
                return found.into_iter().next().ok_or(ServiceError::NotFound);
            }
            require_category(db, category_id).await?;
            if let Some(predecessor) = ticket.follow_up_to {
                follow_up::require_closed(actor, db, predecessor).await?;
            }
            let ticket = Ticket { number: tickets::next_number(db).await?, ..ticket.clone() };
            tickets::insert(db, &ticket).await?;
            attachment::tie(db, reporter, uploads, ticket.id, None).await?;
            let created = public_event(TicketEvent::TicketCreated {}, reporter, now);
            event::save_with_events(db, &ticket, &[created]).await?;
            Ok(ticket)
        })
        .await
}

/// Changes a ticket.
///
/// # Errors
/// A ticket that the actor may not see; fields that a customer may not set;
/// errors of the input; a status that the table doesn't allow; a stale version.
pub async fn update(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    changes: TicketChanges,
) -> Result<Ticket, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let editor = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let now = services.ambient.now();
    let changes = &changes;
    services
        .database
        .write(async |db| {
            let mut ticket = lock(actor, db, id).await?;
            authorise(actor, Action::Converse, Resource::from(&ticket))?;
            if triages(changes) {
                authorise(actor, Action::Triage, Resource::from(&ticket))?;
            }
            refuse_stale(&ticket, changes.expected_version)?;
            let reviewed = reviewed(db, Some(ticket.category_id), changes).await?;
            let by = policy::standing(actor, &ticket);
            let changed = ticket.apply(reviewed, by, now).map_err(illegal)?;
            record(db, &ticket, changed, editor, now).await?;
            Ok(ticket)
        })
        .await
}

/// Writes down how a locked ticket stands after a change, and the events that tell of it.
pub(super) async fn record(
    db: &mut Connection,
    ticket: &Ticket,
    changed: Vec<TicketEvent>,
    editor: AccountId,
    now: Timestamp,
) -> Result<(), ServiceError> {
    if changed.is_empty() {
        return Ok(());
    }
    let events =
        changed.into_iter().map(|event| public_event(event, editor, now)).collect::<Vec<_>>();
    Ok(event::save_with_events(db, ticket, &events).await?)
}

/// Sees that the actor works the queue.
///
/// # Errors
/// They don't.
pub fn require_queue(actor: &Actor) -> Result<(), ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)
}

fn triages(changes: &TicketChanges) -> bool {
    changes.priority.is_some()
        || changes.assignee.is_some()
        || changes.category.is_some()
        || changes.summary.is_some()
}

/// The changes, where what they refer to exists and their texts fit. A ticket may keep the
/// category that it has now.
pub(super) async fn reviewed(
    db: &mut Connection,
    present: Option<CategoryId>,
    changes: &TicketChanges,
) -> Result<Changes, ServiceError> {
    let summary = changes.summary.as_deref().map(Summary::parse).transpose();
    let summary = summary.map_err(|error| UserError::text("summary", "The summary", error))?;
    if let Some(category) = changes.category.filter(|&category| Some(category) != present) {
        require_category(db, category).await?;
    }
    if let Some(Some(assignee)) = changes.assignee {
        require_assignable(db, assignee).await?;
    }
    Ok(Changes {
        status: changes.status,
        priority: changes.priority,
        assignee: changes.assignee,
        category: changes.category,
        summary,
    })
}

/// The ticket of an id, locked, if the actor may see it.
pub(super) async fn lock(
    actor: &Actor,
    db: &mut Connection,
    id: TicketId,
) -> Result<Ticket, ServiceError> {
    let ticket = tickets::lock(db, id).await?.ok_or(ServiceError::NotFound)?;
    authorise(actor, Action::ViewTicket, Resource::from(&ticket))?;
    Ok(ticket)
}

/// Refuses a change that was decided on looking at an older version.
pub(super) fn refuse_stale(ticket: &Ticket, expected: Option<i32>) -> Result<(), ServiceError> {
    match expected {
        Some(expected) if expected != ticket.version => {
            Err(ServiceError::Conflict(Box::new(ticket.clone())))
        }
        _ => Ok(()),
    }
}

/// An event about a ticket for everybody who may see it.
pub(super) fn public_event(event: TicketEvent, actor: AccountId, now: Timestamp) -> NewTicketEvent {
    NewTicketEvent {
        event,
        audience: Audience::Participants,
        actor_id: Some(actor),
        occurred_at: now,
    }
}

/// A status change that the table doesn't allow, in words.
pub(super) fn illegal(IllegalMove { from, to }: IllegalMove) -> UserError {
    let message = if from == Status::Closed {
        "This ticket is closed, which is final. Open a follow-up instead: `createTicket` with this \
         ticket's id as `followUpToId`."
            .into()
    } else {
        format!("You can't move this ticket from {} to {}.", status_name(from), status_name(to))
    };
    UserError::new("status", UserErrorCode::IllegalTransition, message)
}

/// A status as the API spells it.
fn status_name(status: Status) -> &'static str {
    match status {
        Status::WaitingForSupport => "WAITING_FOR_SUPPORT",
        Status::WorkingOnIt => "WORKING_ON_IT",
        Status::WaitingForCustomer => "WAITING_FOR_CUSTOMER",
        Status::Resolved => "RESOLVED",
        Status::Closed => "CLOSED",
    }
}

async fn require_category(db: &mut Connection, id: CategoryId) -> Result<(), ServiceError> {
    let category = category::lock_shared(db, id).await?.ok_or_else(unknown_category)?;
    if category.retired_at.is_some() {
        return Err(UserError::new(
            "categoryId",
            UserErrorCode::CategoryRetired,
            "This category takes no tickets any more. `categories` lists those that do.",
        )
        .into());
    }
    Ok(())
}

fn unknown_category() -> UserError {
    UserError::new(
        "categoryId",
        UserErrorCode::NotFound,
        "There is no such category. `categories` lists them with their ids.",
    )
}

async fn require_assignable(db: &mut Connection, id: AccountId) -> Result<(), ServiceError> {
    let found = account::by_ids(db, &[id]).await?.into_iter().next();
    if found.is_some_and(|account| account.role.is_staff() && account.disabled_at.is_none()) {
        return Ok(());
    }
    Err(UserError::new(
        "assigneeId",
        UserErrorCode::NotAssignable,
        "Tickets can only be assigned to an agent or admin whose account is not disabled.",
    )
    .into())
}
