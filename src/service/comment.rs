//! Comments and internal notes.

use super::{
    ServiceError, Services, UserError, UserErrorCode,
    attachment::{self, Upload},
    authorise,
    error::Review,
    idempotency::{IdempotentCall, fingerprint},
    ticket::{self, refuse_stale},
};
use crate::{
    db::{Connection, comment, event, event::NewTicketEvent, ticket as tickets},
    domain::{
        actor::Actor,
        comment::{Comment, Visibility},
        event::{Audience, TicketEvent},
        ids::{CommentId, TicketId},
        policy::{self, Action, Resource},
        text::{Body, IdempotencyKey},
        ticket::{Changes, Status, Ticket},
    },
};

/// A comment or note to be posted.
pub struct NewComment {
    /// The ticket.
    pub ticket_id: TicketId,
    /// What it says.
    pub body: String,
    /// Who may read it.
    pub visibility: Visibility,
    /// A status to set in the same step.
    pub status: Option<Status>,
    /// The version that the author has seen.
    pub expected_version: Option<i32>,
    /// The files that come with it.
    pub attachments: Vec<Upload>,
    /// The caller's key for repeating the call.
    pub idempotency_key: Option<String>,
}

/// The comments of some ids that the actor may see, in no order.
///
/// # Errors
/// Nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[CommentId],
) -> Result<Vec<Comment>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let found = comment::by_ids(&mut *services.database.read().await?, ids).await?;
    let visible = found.into_iter().filter(|(comment, reporter, participants)| {
        let ticket = Resource::Ticket { reporter: *reporter, participants };
        authorise(actor, Action::ViewTicket, ticket).is_ok()
            && policy::sees_comment(actor, comment.visibility)
    });
    Ok(visible.map(|(comment, ..)| comment).collect())
}

/// Posts a comment or note, and moves the ticket to whose turn it is.
///
/// # Errors
/// A ticket that the actor may not see; a note by a customer; errors of the
/// input; a closed ticket; a status that the table doesn't allow; a stale version.
pub async fn add(
    actor: &Actor,
    services: &Services,
    new: NewComment,
) -> Result<(Comment, Ticket), ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let author = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut review = Review::default();
    let body = review.text("body", "The comment", Body::parse(&new.body));
    let key = new.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
    let key = review.text("idempotencyKey", "The idempotency key", key);
    attachment::review(&mut review, &new.attachments);
    let (body, key) = review.finish(body.zip(key))?;

    let input = format!(
        "{:?} {:?} {:?} {:?}",
        new.ticket_id, new.visibility, new.status, new.expected_version
    );
    let files = attachment::fingerprints(&new.attachments);
    let mut fields = vec![input.as_str(), body.as_str()];
    fields.extend(files.iter().map(String::as_str));
    let call =
        IdempotentCall { account: author, key, fingerprint: fingerprint("addComment", &fields) };
    let now = services.ambient.now();
    let posted = Comment {
        id: CommentId(services.ambient.uuid()),
        ticket_id: new.ticket_id,
        author_id: author,
        visibility: new.visibility,
        body: body.into_string(),
        created_at: now,
    };
    let (call, posted, new) = (&call, &posted, &new);
    services
        .database
        .write(async |db| {
            if let Some(earlier) = call.earlier_result(db, posted.id.0, now).await? {
                return repeated(actor, db, CommentId(earlier)).await;
            }
            let mut ticket = ticket::lock(actor, db, new.ticket_id).await?;
            let action = match new.visibility {
                Visibility::Public => Action::Converse,
                Visibility::Internal => Action::WriteNote,
            };
            authorise(actor, action, Resource::from(&ticket))?;
            refuse_stale(&ticket, new.expected_version)?;
            if ticket.status == Status::Closed {
                return Err(closed().into());
            }
            let by = policy::standing(actor, &ticket);
            let moved = match (new.status, new.visibility) {
                (Some(_), _) => {
                    let changes = Changes { status: new.status, ..Changes::default() };
                    ticket.apply(changes, by, now).map_err(ticket::illegal)?
                }
                (None, Visibility::Public) => ticket.move_after_comment(by, now),
                (None, Visibility::Internal) => vec![],
            };
            if new.visibility == Visibility::Public {
                ticket.updated_at = now;
            }
            comment::insert(db, posted).await?;
            let of = Some(posted.id);
            attachment::tie(db, author, &new.attachments, ticket.id, of).await?;
            let added = NewTicketEvent {
                event: TicketEvent::CommentAdded { comment_id: posted.id },
                audience: match new.visibility {
                    Visibility::Public => Audience::Participants,
                    Visibility::Internal => Audience::Staff,
                },
                actor_id: Some(author),
                occurred_at: now,
            };
            let moved = moved.into_iter().map(|data| ticket::public_event(data, author, now));
            let events = [added].into_iter().chain(moved).collect::<Vec<_>>();
            event::save_with_events(db, &ticket, &events).await?;
            Ok((posted.clone(), ticket))
        })
        .await
}

/// What an equal call made before, as it stands now and if the actor may still see it.
async fn repeated(
    actor: &Actor,
    db: &mut Connection,
    id: CommentId,
) -> Result<(Comment, Ticket), ServiceError> {
    let found = comment::by_ids(db, &[id]).await?.into_iter().next();
    let (comment, ..) = found.ok_or(ServiceError::NotFound)?;
    let scope = policy::ticket_scope(actor);
    let found = tickets::by_ids(db, scope, &[comment.ticket_id]).await?.into_iter().next();
    Ok((comment, found.ok_or(ServiceError::NotFound)?))
}

fn closed() -> UserError {
    UserError::new(
        "ticketId",
        UserErrorCode::TicketClosed,
        "This ticket is closed and takes no more comments. Open a follow-up instead: `createTicket` \
         with this ticket's id as `followUpToId`.",
    )
}
