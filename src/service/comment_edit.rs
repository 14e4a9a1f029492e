//! Customers edit their own comments.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, authorise_account,
    comment as comments, merged, rate_limit, redaction, ticket,
    ticket_writes::{CountedWrite, Write},
    validation::Validation,
};
use crate::{
    db::{Connection, comment, comment_edit as edits, event},
    domain::{
        actor::Actor,
        clock::Timestamp,
        comment::{Comment, EarlierBody, MAX_EDITS},
        event::TicketEvent,
        ids::CommentId,
        policy::{Action, Resource},
        text::Body,
        ticket::{Status, Ticket},
    },
};

/// Replaces the text of the actor's own comment. An equal text changes nothing. Returns once no node
/// serves the earlier text to customers.
///
/// # Errors
/// Returns an error if the actor may not see the comment, has not written it or is staff. Returns
/// user errors if the text is invalid, the comment was posted more than 15 minutes ago, is redacted
/// or was edited 20 times, or the ticket is closed.
pub async fn edit(
    actor: &Actor,
    services: &Services,
    id: CommentId,
    body: &str,
) -> Result<(Comment, Ticket), ServiceError> {
    let author = authorise_account(actor)?;
    let mut validation = Validation::default();
    let body = validation.text("body", "The comment", Body::parse(body));
    let body = &validation.finish(body)?;
    let now = services.ambient.now();
    let counted = CountedWrite { kind: Write::Comment, actor: *actor, account: author };
    let edit = &Edit { counted, id, body, now };
    let found = comments::by_ids(actor, services, &[id]).await?;
    let before = found.into_iter().next().ok_or(ServiceError::NotFound)?;
    let ticket = before.ticket_id;
    let edited = if before.body == body.as_str() {
        edit.leave(services, before).await
    } else {
        let edited = services.database.write(async |db| edit.make(services, db).await).await;
        if edited.is_ok() {
            redaction::until_unshared().await;
        }
        edited
    };
    match edited {
        Ok(edited) => Ok(edited),
        Err(error) => {
            let merged = (ticket, "commentId");
            Err(about_comment(merged::explain(actor, services, merged, error).await))
        }
    }
}

/// Returns an error about the field that the input has.
fn about_comment(error: ServiceError) -> ServiceError {
    let ServiceError::Invalid(errors) = error else { return error };
    let named = errors.into_iter().map(|error| UserError { field: vec!["commentId"], ..error });
    ServiceError::Invalid(named.collect())
}

/// A new text of a comment.
struct Edit<'a> {
    counted: CountedWrite,
    id: CommentId,
    body: &'a Body,
    now: Timestamp,
}

impl Edit<'_> {
    /// Returns a comment that has the text already, without a lock: the call may be repeated as often as
    /// its author likes, and others would wait.
    async fn leave(
        &self,
        services: &Services,
        comment: Comment,
    ) -> Result<(Comment, Ticket), ServiceError> {
        let ticket = ticket::by_id(&self.counted.actor, services, comment.ticket_id).await?;
        self.authorise(&ticket, &comment)?;
        Ok((comment, ticket))
    }

    /// Checks that the author may edit the comment now.
    fn authorise(&self, ticket: &Ticket, comment: &Comment) -> Result<(), ServiceError> {
        authorise(&self.counted.actor, Action::EditComment, Resource::from(ticket))?;
        if comment.author_id != self.counted.account {
            return Err(ServiceError::Forbidden);
        }
        Ok(require_editable(ticket, comment, self.now)?)
    }

    /// Edits the comment in a transaction. Locks as every writer of one ticket does: the ticket, then
    /// the bucket.
    async fn make(
        &self,
        services: &Services,
        db: &mut Connection,
    ) -> Result<(Comment, Ticket), ServiceError> {
        let &Self { counted, id, body, now } = self;
        let (actor, author) = (&counted.actor, counted.account);
        let (mut ticket, before) = redaction::lock_comment(actor, db, id, now).await?;
        self.authorise(&ticket, &before)?;
        if before.body == body.as_str() {
            return Ok((before, ticket));
        }
        rate_limit::count_write(services, db, counted).await?;
        let comment = replace(db, before, body, now).await?;
        ticket.touch(now);
        let edited = TicketEvent::CommentEdited { comment_id: id };
        let edited = ticket::public_event(edited, author, now);
        event::save_with_events(db, &mut ticket, &[edited]).await?;
        Ok((comment, ticket))
    }
}

fn require_editable(ticket: &Ticket, comment: &Comment, now: Timestamp) -> Result<(), UserError> {
    let (code, message) = if ticket.status == Status::Closed {
        (UserErrorCode::TicketClosed, "This ticket is closed, so its comments cannot be edited.")
    } else if comment.redacted_at.is_some() {
        (UserErrorCode::Redacted, "This comment was redacted by support and cannot be edited.")
    } else if comment.is_edit_overdue(now) {
        let message = "A comment can be edited for 15 minutes after it was posted. Add another \
                       comment with what has changed.";
        (UserErrorCode::TooLate, message)
    } else {
        return Ok(());
    };
    Err(UserError::new("commentId", code, message))
}

/// Replaces the text of a comment, and stores the earlier one.
async fn replace(
    db: &mut Connection,
    before: Comment,
    body: &Body,
    now: Timestamp,
) -> Result<Comment, ServiceError> {
    let number = edits::count(db, before.id).await? + 1;
    let number = i16::try_from(number).ok().filter(|&number| number <= MAX_EDITS);
    let number = number.ok_or_else(too_many_edits)?;
    edits::insert(db, &before, number, now).await?;
    comment::edit(db, before.id, body.as_str(), now).await?;
    Ok(Comment { body: body.as_str().to_owned(), edited_at: Some(now), ..before })
}

fn too_many_edits() -> UserError {
    let message = format!("A comment can be edited {MAX_EDITS} times. Add another comment.");
    UserError::new("commentId", UserErrorCode::TooMany, message)
}

/// Returns what comments were before their authors edited them, those of the same comment in their
/// order.
///
/// # Errors
/// Returns an error if the actor is not staff.
pub async fn earlier_bodies(
    actor: &Actor,
    services: &Services,
    ids: &[CommentId],
) -> Result<Vec<EarlierBody>, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    Ok(edits::of_comments(&mut *services.database.read().await?, ids).await?)
}
