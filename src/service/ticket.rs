//! Tickets: finding, opening and changing them.

pub(super) use super::change::public_event;
use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, authorise_account, change,
    idempotency::{IdempotentCall, fingerprint},
    merged, opening,
    seen_up_to::{SeenUpTo, check_nothing_said},
    session::ensure_unchanged,
    ticket_writes::{Change, CountedWrite, Made, Opening, Write},
    upload::{self, Upload},
    validation::Validation,
};
use crate::{
    db::{
        Connection, account,
        event::{self, NewTicketEvent},
        ticket as tickets,
    },
    domain::{
        actor::Actor,
        clock::Timestamp,
        ids::{AccountId, CategoryId, TicketId},
        policy::{self, Action, Resource},
        text::{Body, IdempotencyKey, Summary},
        ticket::{Changes, IllegalMove, LastComments, Priority, Status, Ticket, TicketNumber},
        ticket_filter::{TicketCount, TicketListFilter},
    },
};

/// A ticket to open.
pub struct NewTicket {
    /// The customer for whom staff open the ticket, or `None` if it is the actor's own.
    pub customer: Option<AccountId>,
    /// The category, or `None` if the caller sent an id that is not a category's.
    pub category_id: Option<CategoryId>,
    /// The subject, on one line.
    pub summary: String,
    /// The description.
    pub description: String,
    /// The files attached to the description.
    pub attachments: Vec<Upload>,
    /// The closed ticket that this one follows up.
    pub follow_up_to: Option<TicketId>,
    /// Makes the call safe to repeat.
    pub idempotency_key: Option<String>,
}

/// Changes to a ticket. `None` leaves a field unchanged.
#[derive(Default)]
pub struct TicketChanges {
    /// The new status.
    pub status: Option<Status>,
    /// The new priority.
    pub priority: Option<Priority>,
    /// The new assignee. `Some(None)` unassigns the ticket.
    pub assignee: Option<Option<AccountId>>,
    /// The new category.
    pub category: Option<CategoryId>,
    /// The new summary.
    pub summary: Option<String>,
    /// The version that the caller has read. If the ticket has changed since, nothing changes.
    pub expected_version: Option<i32>,
    /// The last event that the caller has seen. If others have commented since, nothing changes.
    pub seen_up_to: Option<SeenUpTo>,
}

/// Returns the number of tickets per category and status.
///
/// # Errors
/// Returns an error if the actor is not staff.
pub async fn counts(
    actor: &Actor,
    services: &Services,
    selection: &TicketListFilter,
) -> Result<Vec<TicketCount>, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    let read = async |db: &mut _| tickets::list::counts(db, selection).await;
    Ok(match &selection.search {
        Some(_) => services.database.read_within(services.settings.search_timeout, read).await?,
        None => read(&mut *services.database.read().await?).await?,
    })
}

/// Returns the tickets with these ids that the actor may see, in no particular order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let scope = policy::ticket_scope(actor);
    Ok(tickets::by_ids(&mut *services.database.read().await?, scope, ids).await?)
}

/// Returns the ticket with an id.
///
/// # Errors
/// Returns an error if the ticket does not exist or the actor may not see it.
pub async fn by_id(
    actor: &Actor,
    services: &Services,
    id: TicketId,
) -> Result<Ticket, ServiceError> {
    let found = by_ids(actor, services, &[id]).await?;
    found.into_iter().next().ok_or(ServiceError::NotFound)
}

/// Returns the ticket with a number, written with its prefix, like `CS-234567`.
///
/// # Errors
/// Returns an error if the ticket does not exist or the actor may not see it.
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

/// Opens a ticket, as a customer or for one.
///
/// # Errors
/// Returns an error if nobody is signed in or the actor may not open tickets for customers, and user
/// errors if the input is invalid.
pub async fn create(
    actor: &Actor,
    services: &Services,
    new: NewTicket,
) -> Result<Ticket, ServiceError> {
    create_with_id(actor, services, TicketId(services.ambient.uuid()), new).await
}

/// Opens a ticket with a given id. The demo data has tickets that examples refer to.
///
/// # Errors
/// Returns the errors of [`create`], and a database error if the id is in use.
pub(super) async fn create_with_id(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    new: NewTicket,
) -> Result<Ticket, ServiceError> {
    authorise(actor, Action::CreateTicket, Resource::Desk)?;
    if new.customer.is_some() {
        authorise(actor, Action::CreateTicketForCustomer, Resource::Desk)?;
    }
    let author = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let (valid, key) = validate(&new)?;
    let call = IdempotentCall { account: author, key, fingerprint: valid.fingerprint(&new) };
    let now = services.ambient.now();
    let ticket = valid.into_ticket(id, new.customer.unwrap_or(author), new.follow_up_to, now);
    let counted = CountedWrite { kind: Write::Ticket, actor: *actor, account: author };
    let files = upload::ids(&new.attachments);
    let opening = Opening { ticket, counted, call, files, customer: new.customer };
    match opening::open(services, opening).await? {
        Made::Now(ticket) => Ok(*ticket),
        Made::Earlier(id) => by_id(actor, services, TicketId(id)).await,
    }
}

/// The validated fields of a [`NewTicket`].
struct ValidTicket {
    category_id: CategoryId,
    summary: Summary,
    description: Body,
}

fn validate(new: &NewTicket) -> Result<(ValidTicket, Option<IdempotencyKey>), ServiceError> {
    let mut validation = Validation::default();
    let summary = validation.text("summary", "The summary", Summary::parse(&new.summary));
    let description =
        validation.text("description", "The description", Body::parse(&new.description));
    let key = validation.idempotency_key(new.idempotency_key.as_deref());
    upload::validate(&mut validation, &new.attachments);
    if new.category_id.is_none() {
        validation.add(opening::unknown_category());
    }
    let input = summary.zip(description).zip(new.category_id).zip(key);
    let (((summary, description), category_id), key) = validation.finish(input)?;
    Ok((ValidTicket { category_id, summary, description }, key))
}

impl ValidTicket {
    fn fingerprint(&self, new: &NewTicket) -> [u8; 32] {
        let category = self.category_id.0.to_string();
        let files = upload::fingerprints(&new.attachments);
        let follow_up_to = new.follow_up_to.map(|id| id.0.to_string());
        let customer = new.customer.map(|id| format!("for {}", id.0));
        let mut fields = vec![category.as_str(), self.summary.as_str(), self.description.as_str()];
        fields.extend(customer.as_deref());
        fields.extend(follow_up_to.as_deref());
        fields.extend(files.iter().map(String::as_str));
        fingerprint("createTicket", &fields)
    }

    fn into_ticket(
        self,
        id: TicketId,
        reporter_id: AccountId,
        follow_up_to: Option<TicketId>,
        now: Timestamp,
    ) -> Ticket {
        Ticket {
            id,
            // Assigned in the transaction.
            number: TicketNumber(0),
            category_id: self.category_id,
            reporter_id,
            participant_ids: vec![],
            past_participant_ids: vec![],
            assignee_id: None,
            summary: self.summary.into_string(),
            description: self.description.into_string(),
            status: Status::WaitingForSupport,
            priority: Priority::Medium,
            version: 1,
            created_at: now,
            updated_at: now,
            waiting_since: Some(now),
            resolved_at: None,
            follow_up_to,
            events: 0,
            last_comments: Some(LastComments::default()),
            account_changes: None,
        }
    }
}

/// Changes a ticket.
///
/// # Errors
/// Returns an error if the actor may not see the ticket, may not change one of these fields, or
/// the ticket has changed since `expected_version`, or others have commented since `seen_up_to`, and
/// [`ServiceError::TooFrequent`] if a customer has made too many changes within a minute.
/// Returns user errors if the input is invalid or the status cannot change this way.
pub async fn update(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    changes: TicketChanges,
) -> Result<Ticket, ServiceError> {
    match try_update(actor, services, id, changes).await {
        Err(error) => Err(merged::explain(actor, services, (id, "ticketId"), error).await),
        updated => updated,
    }
}

async fn try_update(
    actor: &Actor,
    services: &Services,
    id: TicketId,
    changes: TicketChanges,
) -> Result<Ticket, ServiceError> {
    let editor = authorise_account(actor)?;
    let now = services.ambient.now();
    // Customers may change neither: the decision says so, without waiting for the ticket.
    if !actor.is_staff() || changes.assignee.is_none() && changes.category.is_none() {
        let actor = *actor;
        let seen_up_to = changes.seen_up_to.map(|seen| (actor, seen));
        let decide = Box::new(move |ticket: &mut Ticket| {
            check_changeable(&actor, ticket, &changes)?;
            Ok(apply(&actor, ticket, parse(&changes)?, (editor, now))?)
        });
        let counted = CountedWrite { kind: Write::Change, actor, account: editor };
        let (comment, call, files) = (None, None, vec![]);
        let change = Change { id, now, comment, counted, seen_up_to, call, files, decide };
        return match change::make(services, change).await? {
            Made::Now(ticket) => Ok(*ticket),
            Made::Earlier(_) => Err(ServiceError::NotFound),
        };
    }
    let changes = &changes;
    services
        .database
        .write(async |db| {
            let mut ticket = tickets::lock(db, id).await?.ok_or(ServiceError::NotFound)?;
            ensure_unchanged(actor, db, now).await?;
            check_changeable(actor, &ticket, changes)?;
            if let Some(seen) = changes.seen_up_to {
                check_nothing_said(actor, db, &ticket, seen).await?;
            }
            let changes = validate_changes(db, Some(&ticket), changes).await?;
            let events = apply(actor, &mut ticket, changes, (editor, now))?;
            event::save_with_events(db, &mut ticket, &events).await?;
            Ok(ticket)
        })
        .await
}

/// Checks that the actor may change these fields of a ticket, and has read its current version.
fn check_changeable(
    actor: &Actor,
    ticket: &Ticket,
    changes: &TicketChanges,
) -> Result<(), ServiceError> {
    authorise(actor, Action::ViewTicket, Resource::from(ticket))?;
    authorise(actor, Action::Converse, Resource::from(ticket))?;
    if requires_triage(changes) {
        authorise(actor, Action::Triage, Resource::from(ticket))?;
    }
    check_expected_version(ticket, changes.expected_version)
}

/// Checks that the actor may set the fields of a ticket that staff alone may set. Call this before
/// refusing a malformed id in one of them.
///
/// # Errors
/// Returns an error if the actor may not see the ticket or is not staff.
pub async fn require_triage(
    actor: &Actor,
    services: &Services,
    id: TicketId,
) -> Result<(), ServiceError> {
    let ticket = by_id(actor, services, id).await?;
    authorise(actor, Action::Triage, Resource::from(&ticket))
}

/// Applies changes to a ticket, and returns their events.
pub(super) fn apply(
    actor: &Actor,
    ticket: &mut Ticket,
    changes: Changes,
    (editor, now): (AccountId, Timestamp),
) -> Result<Vec<NewTicketEvent>, UserError> {
    let by = policy::relation(actor, ticket);
    let changed = ticket.apply(changes, by, now).map_err(illegal_transition)?;
    Ok(changed.into_iter().map(|event| public_event(event, editor, now)).collect())
}

/// Checks that the actor is staff. Call this before validating their arguments.
///
/// # Errors
/// Returns an error if the actor is not staff.
pub fn require_staff(actor: &Actor) -> Result<(), ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)
}

/// Returns whether changes include fields that only staff may change.
fn requires_triage(changes: &TicketChanges) -> bool {
    changes.priority.is_some()
        || changes.assignee.is_some()
        || changes.category.is_some()
        || changes.summary.is_some()
}

/// Validates changes: texts, and that the assignee and the category can be set. Those that the ticket
/// `current` has are always valid, even if the category is retired or the assignee has left.
pub(super) async fn validate_changes(
    db: &mut Connection,
    current: Option<&Ticket>,
    changes: &TicketChanges,
) -> Result<Changes, ServiceError> {
    let parsed = parse(changes)?;
    let is_category = |id| current.is_some_and(|ticket| ticket.category_id == id);
    if let Some(category) = changes.category.filter(|&id| !is_category(id)) {
        opening::require_category(db, category).await?;
    }
    let is_assignee = |id| current.is_some_and(|ticket| ticket.assignee_id == Some(id));
    if let Some(assignee) = changes.assignee.flatten().filter(|&id| !is_assignee(id)) {
        require_assignable(db, assignee).await?;
    }
    Ok(parsed)
}

/// Parses the texts of changes.
fn parse(changes: &TicketChanges) -> Result<Changes, UserError> {
    let summary = changes.summary.as_deref().map(Summary::parse).transpose();
    let summary = summary.map_err(|error| UserError::text("summary", "The summary", error))?;
    Ok(Changes {
        status: changes.status,
        priority: changes.priority,
        assignee: changes.assignee,
        category: changes.category,
        summary,
    })
}

/// Locks a ticket and returns it.
///
/// # Errors
/// Returns an error if the ticket does not exist or the actor may not see it, or is no longer who they
/// were.
pub(super) async fn lock(
    actor: &Actor,
    db: &mut Connection,
    id: TicketId,
    now: Timestamp,
) -> Result<Ticket, ServiceError> {
    require_visible(actor, db, id).await?;
    let ticket = tickets::lock(db, id).await?.ok_or(ServiceError::NotFound)?;
    ensure_unchanged(actor, db, now).await?;
    authorise(actor, Action::ViewTicket, Resource::from(&ticket))?;
    Ok(ticket)
}

/// Checks that the actor may see a ticket, without a lock: nobody waits for a ticket that they may not
/// see.
pub(super) async fn require_visible(
    actor: &Actor,
    db: &mut Connection,
    id: TicketId,
) -> Result<(), ServiceError> {
    let is_visible =
        actor.is_staff() || tickets::is_in_scope(db, policy::ticket_scope(actor), id).await?;
    if is_visible { Ok(()) } else { Err(ServiceError::NotFound) }
}

/// Checks that a ticket has not changed since the caller read it.
///
/// # Errors
/// Returns [`ServiceError::Conflict`] if it has.
pub(super) fn check_expected_version(
    ticket: &Ticket,
    expected: Option<i32>,
) -> Result<(), ServiceError> {
    match expected {
        Some(expected) if expected != ticket.version => {
            Err(ServiceError::Conflict(Box::new(ticket.clone())))
        }
        _ => Ok(()),
    }
}

/// Creates the error for a status change that is not allowed.
pub(super) fn illegal_transition(IllegalMove { from, to }: IllegalMove) -> UserError {
    let message = if from == Status::Closed {
        "This ticket is closed permanently. Open a follow-up instead: call `createTicket` with \
         this ticket's id as `followUpToId`."
            .into()
    } else {
        format!(
            "You cannot change this ticket's status from {} to {}.",
            status_name(from),
            status_name(to)
        )
    };
    UserError::new("status", UserErrorCode::IllegalTransition, message)
}

/// Returns the name of a status in the API.
fn status_name(status: Status) -> &'static str {
    match status {
        Status::WaitingForSupport => "WAITING_FOR_SUPPORT",
        Status::WorkingOnIt => "WORKING_ON_IT",
        Status::WaitingForCustomer => "WAITING_FOR_CUSTOMER",
        Status::Resolved => "RESOLVED",
        Status::Closed => "CLOSED",
    }
}

async fn require_assignable(db: &mut Connection, id: AccountId) -> Result<(), ServiceError> {
    // Locked: when the account loses its access after this, the ticket is among those to return.
    if account::lock_shared(db, id).await?.is_some_and(|account| account.is_active_staff()) {
        return Ok(());
    }
    Err(UserError::new(
        "assigneeId",
        UserErrorCode::NotAssignable,
        "Tickets can only be assigned to agents and admins whose account is not disabled.",
    )
    .into())
}
