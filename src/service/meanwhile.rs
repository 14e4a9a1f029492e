//! What others have said on a ticket since its author has read it.

use super::{ServiceError, UserError, UserErrorCode};
use crate::{
    db::{Connection, DbError, comment, unread},
    domain::{
        actor::Actor,
        ids::{CommentId, EventId, TicketId},
        policy,
        ticket::Ticket,
        unread::TicketReader,
    },
};

/// How many comments of others are returned at most.
pub const MAX_MEANWHILE: i64 = 20;

/// The last that an author has seen of a ticket.
#[derive(Clone, Copy)]
pub enum SeenUpTo {
    /// An event.
    Event(EventId),
    /// The event that has added a comment.
    Comment(CommentId),
    /// The id names something else.
    Unknown,
}

impl SeenUpTo {
    /// Returns the text that stands for it in the fingerprint of a call. Nodes of all versions must
    /// agree on that of an event.
    pub(super) fn fingerprint(self) -> String {
        match self {
            Self::Event(event) => format!("SeenUpTo(Some({event:?}))"),
            Self::Comment(comment) => format!("SeenUpTo({comment:?})"),
            Self::Unknown => "SeenUpTo(None)".into(),
        }
    }

    /// Returns the number of the event among those of a ticket, or `None` if the ticket has no such
    /// event that the reader may see.
    async fn number(
        self,
        db: &mut Connection,
        ticket: TicketId,
        reader: TicketReader,
    ) -> Result<Option<i64>, DbError> {
        match self {
            Self::Event(event) => unread::event_seq(db, ticket, event, reader).await,
            Self::Comment(comment) => unread::comment_seq(db, ticket, comment, reader).await,
            Self::Unknown => Ok(None),
        }
    }
}

/// Checks that nobody else has commented on a locked ticket since what the actor has seen, as far as
/// the actor may see it.
///
/// # Errors
/// Returns [`ServiceError::AnsweredMeanwhile`] with the first of those comments, or a user error if
/// the ticket has no such event or comment that the actor may see.
pub(super) async fn check_nothing_said(
    actor: &Actor,
    db: &mut Connection,
    ticket: &Ticket,
    seen_up_to: SeenUpTo,
) -> Result<(), ServiceError> {
    let reader = policy::reader(actor).ok_or(ServiceError::Unauthenticated)?;
    let seen = seen_up_to.number(db, ticket.id, reader).await?.ok_or_else(unknown)?;
    if seen == ticket.events {
        return Ok(());
    }
    let comments = comment::of_others_since(db, ticket.id, seen, reader, MAX_MEANWHILE).await?;
    if comments.is_empty() {
        return Ok(());
    }
    Err(ServiceError::AnsweredMeanwhile { ticket: Box::new(ticket.clone()), comments })
}

fn unknown() -> UserError {
    UserError::new(
        "seenUpTo",
        UserErrorCode::NotFound,
        "The ticket has no such event or comment, or you may not see it. Pass the `id` of an event \
         in its timeline, or of one of its comments.",
    )
}
