//! Comments and internal notes.

use std::sync::Arc;

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, authorise_account, change,
    idempotency::{IdempotentCall, fingerprint},
    merged,
    seen_up_to::SeenUpTo,
    ticket,
    ticket_writes::{Change, CountedWrite, Made, Write},
    upload::{self, Upload},
    validation::Validation,
};
use crate::{
    db::{
        Connection,
        comment::{self, Posted},
        event::NewTicketEvent,
        ticket as tickets, unread,
    },
    domain::{
        actor::Actor,
        clock::Timestamp,
        comment::{Comment, Visibility},
        event::{Event, TicketEvent},
        ids::{CommentId, TicketId},
        policy::{self, Action, Resource},
        text::{Body, IdempotencyKey},
        ticket::{Changes, Status, Ticket},
    },
};

/// A comment or internal note to add.
pub struct NewComment {
    /// The ticket.
    pub ticket_id: TicketId,
    /// The text.
    pub body: String,
    /// Who may read it.
    pub visibility: Visibility,
    /// The ticket's new status, or `None` if the comment may change it automatically.
    pub status: Option<Status>,
    /// The version of the ticket that the author has read. If the ticket has changed since,
    /// nothing is added.
    pub expected_version: Option<i32>,
    /// The last event that the author has seen. If others have commented since, nothing is added.
    pub seen_up_to: Option<SeenUpTo>,
    /// The files attached to the comment.
    pub attachments: Vec<Upload>,
    /// Makes the call safe to repeat.
    pub idempotency_key: Option<String>,
}

/// Returns the comments with these ids that the actor may see, in no particular order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[CommentId],
) -> Result<Vec<Comment>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let found = comment::by_ids(&mut *services.database.read().await?, ids).await?;
    let visible = found.into_iter().filter(|posted| {
        let Posted { comment, reporter, participants } = posted;
        let ticket = Resource::Ticket { reporter: *reporter, participants };
        authorise(actor, Action::ViewTicket, ticket).is_ok()
            && policy::sees_comment(actor, comment.visibility)
    });
    Ok(visible.map(|posted| posted.comment).collect())
}

/// Returns the comment that an event has added, if this node has just posted it and the actor may see
/// it as staff or as the customer who opened the ticket. A participant may have been removed since.
pub fn just_posted(actor: &Actor, services: &Services, event: &Event) -> Option<Arc<Comment>> {
    let of = event.ticket()?;
    let TicketEvent::CommentAdded { comment_id } = of.event else { return None };
    let ticket = Resource::Ticket { reporter: of.reporter, participants: &[] };
    authorise(actor, Action::ViewTicket, ticket).ok()?;
    let comment = services.posted.get(comment_id)?;
    policy::sees_comment(actor, comment.visibility).then_some(comment)
}

/// Returns the last comment of a ticket that the actor may see, if its row has it. The inner
/// `None` means that there is none.
pub fn last_of(actor: &Actor, ticket: &Ticket) -> Option<Option<CommentId>> {
    let last = ticket.last_comments?;
    Some(if policy::sees_internal(actor) { last.any } else { last.public })
}

/// Looks up the last comments of tickets that the actor may see. Tickets without comments are left
/// out.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn last_of_tickets(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<(TicketId, CommentId)>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let (scope, internal) = (policy::ticket_scope(actor), policy::sees_internal(actor));
    let mut connection = services.database.read().await?;
    Ok(comment::last_of_tickets(&mut connection, scope, internal, ids).await?)
}

/// Returns the event that has added a comment, if the actor may see it: what those have seen who have
/// read the ticket up to it.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn seen_up_to(
    actor: &Actor,
    services: &Services,
    ticket: TicketId,
    comment: CommentId,
) -> Result<SeenUpTo, ServiceError> {
    let Some(reader) = policy::reader(actor) else { return Ok(SeenUpTo(None)) };
    let mut db = services.database.read().await?;
    if !tickets::is_in_scope(&mut db, policy::ticket_scope(actor), ticket).await? {
        return Ok(SeenUpTo(None));
    }
    Ok(SeenUpTo(unread::event_of_comment(&mut db, ticket, comment, reader).await?))
}

/// Adds a comment or internal note, and sets the ticket's status if one is requested. Without
/// one, a public comment may change the status automatically, see [`Status::after_comment`].
///
/// # Errors
/// Returns an error if the actor may not see the ticket, is a customer who adds an internal
/// note, the ticket has changed since `expected_version`, or others have commented since
/// `seen_up_to`. Returns user errors if the input
/// is invalid, the ticket is closed or the status cannot change this way.
pub async fn add(
    actor: &Actor,
    services: &Services,
    new: NewComment,
) -> Result<(Arc<Comment>, Ticket), ServiceError> {
    let author_id = authorise_account(actor)?;
    let (body, key) = validate(&new)?;
    let call = IdempotentCall { account: author_id, key, fingerprint: fingerprint_of(&new, &body) };
    let now = services.ambient.now();
    let comment = Arc::new(Comment {
        id: CommentId(services.ambient.uuid()),
        ticket_id: new.ticket_id,
        author_id,
        visibility: new.visibility,
        body: body.into_string(),
        created_at: now,
        edited_at: None,
        redacted_at: None,
    });
    let change = change(*actor, &new, Arc::clone(&comment), call);
    match change::make(services, change).await {
        Ok(Made::Now(ticket)) => Ok((comment, *ticket)),
        Ok(Made::Earlier(id)) => {
            repeated(actor, &mut *services.database.read().await?, CommentId(id)).await
        }
        Err(error) => {
            Err(merged::explain(actor, services, (new.ticket_id, "ticketId"), error).await)
        }
    }
}

/// Returns the change that adds a comment.
fn change(actor: Actor, new: &NewComment, comment: Arc<Comment>, call: IdempotentCall) -> Change {
    let account = comment.author_id;
    let (status, expected_version) = (new.status, new.expected_version);
    let added = Arc::clone(&comment);
    Change {
        id: comment.ticket_id,
        now: comment.created_at,
        counted: CountedWrite { kind: Write::Comment, actor, account },
        seen_up_to: new.seen_up_to.map(|seen| (actor, seen)),
        comment: Some(comment),
        call: Some(call),
        files: upload::ids(&new.attachments),
        decide: Box::new(move |ticket| {
            check_accepts(&actor, ticket, added.visibility, expected_version)?;
            let now = added.created_at;
            let changed = change_status(&actor, ticket, (status, added.visibility), now)?;
            ticket.add_last_comment(&added);
            let changed = changed.into_iter();
            let changed = changed.map(|event| change::public_event(event, account, now));
            Ok([comment_added(&added)].into_iter().chain(changed).collect())
        }),
    }
}

fn validate(new: &NewComment) -> Result<(Body, Option<IdempotencyKey>), ServiceError> {
    let mut validation = Validation::default();
    let body = validation.text("body", "The comment", Body::parse(&new.body));
    let key = validation.idempotency_key(new.idempotency_key.as_deref());
    upload::validate(&mut validation, &new.attachments);
    validation.finish(body.zip(key))
}

fn fingerprint_of(new: &NewComment, body: &Body) -> [u8; 32] {
    let input = format!(
        "{:?} {:?} {:?} {:?}{}",
        new.ticket_id,
        new.visibility,
        new.status,
        new.expected_version,
        new.seen_up_to.map(|seen| format!(" {seen:?}")).unwrap_or_default()
    );
    let files = upload::fingerprints(&new.attachments);
    let mut fields = vec![input.as_str(), body.as_str()];
    fields.extend(files.iter().map(String::as_str));
    fingerprint("addComment", &fields)
}

/// Checks that a ticket accepts a new comment of the actor.
fn check_accepts(
    actor: &Actor,
    ticket: &Ticket,
    visibility: Visibility,
    expected_version: Option<i32>,
) -> Result<(), ServiceError> {
    authorise(actor, Action::ViewTicket, Resource::from(ticket))?;
    let action = match visibility {
        Visibility::Public => Action::Converse,
        Visibility::Internal => Action::WriteNote,
    };
    authorise(actor, action, Resource::from(ticket))?;
    ticket::check_expected_version(ticket, expected_version)?;
    if ticket.status == Status::Closed {
        return Err(ticket_closed().into());
    }
    Ok(())
}

/// Changes a ticket as a new comment requires, and returns the events of the changes.
fn change_status(
    actor: &Actor,
    ticket: &mut Ticket,
    (status, visibility): (Option<Status>, Visibility),
    now: Timestamp,
) -> Result<Vec<TicketEvent>, UserError> {
    let by = policy::relation(actor, ticket);
    let changed = match (status, visibility) {
        (Some(_), _) => {
            let changes = Changes { status, ..Changes::default() };
            ticket.apply(changes, by, now).map_err(ticket::illegal_transition)?
        }
        (None, Visibility::Public) => ticket.move_after_comment(by, now),
        (None, Visibility::Internal) => vec![],
    };
    if visibility == Visibility::Public {
        ticket.touch(now);
    }
    Ok(changed)
}

fn comment_added(comment: &Comment) -> NewTicketEvent {
    NewTicketEvent {
        event: TicketEvent::CommentAdded { comment_id: comment.id },
        audience: comment.visibility.into(),
        actor_id: Some(comment.author_id),
        occurred_at: comment.created_at,
    }
}

/// Returns the comment of an earlier equal call and its ticket, as they are now.
///
/// # Errors
/// Returns an error if the actor may no longer see the ticket or the comment.
async fn repeated(
    actor: &Actor,
    db: &mut Connection,
    id: CommentId,
) -> Result<(Arc<Comment>, Ticket), ServiceError> {
    let found = comment::by_ids(db, &[id]).await?.into_iter().next();
    let comment = found.ok_or(ServiceError::NotFound)?.comment;
    if !policy::sees_comment(actor, comment.visibility) {
        return Err(ServiceError::NotFound);
    }
    let scope = policy::ticket_scope(actor);
    let found = tickets::by_ids(db, scope, &[comment.ticket_id]).await?.into_iter().next();
    Ok((Arc::new(comment), found.ok_or(ServiceError::NotFound)?))
}

fn ticket_closed() -> UserError {
    UserError::new(
        "ticketId",
        UserErrorCode::TicketClosed,
        "This ticket is closed and no longer accepts comments. Open a follow-up instead: call \
         `createTicket` with this ticket's id as `followUpToId`.",
    )
}
