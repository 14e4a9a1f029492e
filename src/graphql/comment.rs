//! Comments and internal notes.

use std::sync::Arc;

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    attachment::{Attachment, Upload},
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    executor::List,
    id::{self, GlobalId},
    loader::{AttachmentsOf, EditsOf},
    text::Text,
    ticket::{Ticket, TicketStatus},
    uploaded_file,
};
use crate::{
    domain::{comment, ids::TicketId},
    service::{self, comment::NewComment, seen_up_to::SeenUpTo},
};

/// Who can read a comment.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "comment::Visibility")]
pub enum CommentVisibility {
    /// Everyone who can see the ticket.
    Public,
    /// Staff only: the comment is an internal note.
    Internal,
}

/// A comment or an internal note on a ticket.
#[derive(Description)]
pub struct Comment(pub Arc<comment::Comment>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl Comment {
    /// An opaque identifier. Store it and send it back unchanged.
    pub async fn id(&self) -> ID {
        GlobalId::Comment(self.0.id).into()
    }

    /// The ticket that the comment belongs to.
    async fn ticket(&self, ctx: &Context<'_>) -> Result<Ticket, Failure> {
        Ok(Ticket(ctx.loaders()?.require(self.0.ticket_id).await?))
    }

    /// The person who wrote the comment.
    async fn author(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        Ok(Account::new(ctx.loaders()?.require(self.0.author_id).await?))
    }

    /// Who can read the comment.
    async fn visibility(&self) -> CommentVisibility {
        self.0.visibility.into()
    }

    /// The text: 1 to 65,536 characters in one or more lines. It is plain text, so escape it
    /// when you show it as HTML. Empty if the comment was redacted (see `redactedAt`).
    async fn body(&self) -> Text<&str> {
        Text(&self.0.body)
    }

    /// The attached files, in the order in which they were sent: at most 50.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn attachments(&self, ctx: &Context<'_>) -> Result<List<Attachment>, Failure> {
        Attachment::of(ctx, AttachmentsOf::Comment(self.0.id)).await
    }

    /// When it was posted.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When its author last edited the comment, or null if it is as it was posted.
    async fn edited_at(&self) -> Option<DateTime<Utc>> {
        self.0.edited_at
    }

    /// When the text was erased, or null. The event `ContentRedacted` of the timeline says by whom.
    async fn redacted_at(&self) -> Option<DateTime<Utc>> {
        self.0.redacted_at
    }

    /// What the comment was before its author edited it, the first text first: at most 20. Empty
    /// after a redaction. Null unless you are staff.
    #[graphql(complexity = "1 + 20 * child_complexity")]
    async fn edits(&self, ctx: &Context<'_>) -> Result<Option<List<CommentEdit>>, Failure> {
        if !ctx.identity()?.role.is_staff() {
            return Ok(None);
        }
        let found = ctx.loaders()?.get(EditsOf(self.0.id)).await?.unwrap_or_default();
        Ok(Some(found.iter().cloned().map(CommentEdit).collect()))
    }
}

/// A text that a comment had before its author edited it.
#[derive(Description)]
pub struct CommentEdit(Arc<comment::EarlierBody>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl CommentEdit {
    /// The earlier text.
    async fn body(&self) -> Text<&str> {
        Text(&self.0.body)
    }

    /// When the next text replaced it.
    async fn replaced_at(&self) -> DateTime<Utc> {
        self.0.replaced_at
    }
}

/// The input of `addComment`.
#[derive(InputObject)]
pub struct AddCommentInput {
    /// The id of the ticket.
    ticket_id: ID,
    /// The text: 1 to 65,536 characters. Line ends become `\n`; white space at the end is
    /// removed.
    body: String,
    /// Who can read the comment. `INTERNAL` is for staff, and fails with `FORBIDDEN` for
    /// customers.
    #[graphql(default_with = "CommentVisibility::Public")]
    visibility: CommentVisibility,
    /// The status to set together with the comment, with the same rules as in `updateTicket`.
    /// Without it, a public comment by staff moves the ticket from `WAITING_FOR_SUPPORT` to
    /// `WORKING_ON_IT`, and one by the customer who opened it or by a participant moves it from
    /// `WAITING_FOR_CUSTOMER` or `RESOLVED` to `WAITING_FOR_SUPPORT`.
    status: Option<TicketStatus>,
    /// Fail with `CONFLICT` if the ticket's `version` is no longer this.
    expected_version: Option<i32>,
    /// The id of the last event or comment of the ticket that you have seen. Fail with
    /// `ANSWERED_MEANWHILE` if others have commented since, as far as you may see it; with
    /// `NOT_FOUND` if it is no event or comment of the ticket that you may see.
    seen_up_to: Option<ID>,
    /// The files to attach (see `Upload`). The installation limits how many can be attached
    /// (`TOO_MANY`) and how large they can be (`TOO_LARGE`), or accepts none (`NOT_AVAILABLE`).
    #[graphql(default)]
    attachments: Vec<Upload>,
    /// The ids of files from `uploadFile` to attach after those of `attachments`, with the same
    /// limits on all of them. `EXPIRED` if one is not yours, was deleted or is attached already.
    #[graphql(default)]
    uploaded_file_ids: Vec<ID>,
    /// Makes the call safe to repeat for 24 hours: the same key with the same input returns
    /// the first result. At most 255 characters.
    idempotency_key: Option<String>,
}

/// Returns the event of a ticket that `seenUpTo` names.
pub(super) async fn seen_up_to(
    ctx: &Context<'_>,
    ticket: TicketId,
    seen_up_to: Option<&ID>,
) -> Result<Option<SeenUpTo>, Failure> {
    let Some(id) = seen_up_to else { return Ok(None) };
    Ok(Some(match GlobalId::comment(id) {
        Some(comment) => {
            service::comment::seen_up_to(ctx.actor()?, ctx.services()?, ticket, comment).await?
        }
        None => SeenUpTo(id::event(id)),
    }))
}

/// Returns what others have said meanwhile.
pub(super) fn said(comments: Vec<comment::Comment>) -> List<Comment> {
    List(comments.into_iter().map(|comment| Comment(comment.into())).collect())
}

/// The payload of `addComment`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct AddCommentPayload {
    /// The new comment. Null on failure.
    comment: Option<Comment>,
    /// The ticket in its current state. Null on failure, except with `CONFLICT` and
    /// `ANSWERED_MEANWHILE`.
    ticket: Option<Ticket>,
    /// With `ANSWERED_MEANWHILE`, what others have said since `seenUpTo`, oldest first: at most 20
    /// comments. Otherwise empty. To write anyway, repeat the call with the id of the last of these
    /// comments as `seenUpTo`.
    #[graphql(complexity = "1 + 20 * child_complexity")]
    answered_meanwhile: List<Comment>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `editComment`.
#[derive(InputObject)]
pub struct EditCommentInput {
    /// The id of the comment.
    comment_id: ID,
    /// The new text: 1 to 65,536 characters. Line ends become `\n`; white space at the end is
    /// removed.
    body: String,
}

/// The payload of `editComment`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct EditCommentPayload {
    /// The comment with its new text. Null on failure.
    comment: Option<Comment>,
    /// The ticket in its current state. Null on failure.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct CommentMutation;

#[Object]
impl CommentMutation {
    /// Adds a comment or an internal note to a ticket. Available to everyone who can see the
    /// ticket; for others it fails with `NOT_FOUND`. A closed ticket accepts no comments: it
    /// fails with `TICKET_CLOSED`, or with `TICKET_MERGED` if it was merged.
    async fn add_comment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new comment and its ticket.")] input: AddCommentInput,
    ) -> Result<AddCommentPayload, Failure> {
        ctx.identity()?;
        let ticket_id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let new = NewComment {
            ticket_id,
            body: input.body,
            visibility: input.visibility.into(),
            status: input.status.map(Into::into),
            expected_version: input.expected_version,
            seen_up_to: seen_up_to(ctx, ticket_id, input.seen_up_to.as_ref()).await?,
            attachments: uploaded_file::files(ctx, &input.attachments, &input.uploaded_file_ids)
                .await?,
            idempotency_key: input.idempotency_key,
        };
        let added = service::comment::add(ctx.actor()?, ctx.services()?, new).await;
        Ok(match Outcome::of(added)? {
            Outcome::Done((comment, ticket)) => AddCommentPayload {
                comment: Some(Comment(comment)),
                ticket: Some(Ticket::new(ticket)),
                answered_meanwhile: List(vec![]),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, current, meanwhile } => AddCommentPayload {
                comment: None,
                ticket: current.map(Ticket::new),
                answered_meanwhile: said(meanwhile),
                user_errors: errors,
            },
        })
    }

    /// Replaces the text of a comment of yours, up to 15 minutes after you posted it and up to 20
    /// times. For customers: it fails with `FORBIDDEN` for staff and for the comment of another
    /// customer. Everybody sees that it was edited, staff also what it was, and mails that wait
    /// carry the new text. An equal text changes nothing. It fails with `TOO_LATE` after the 15
    /// minutes, with `TOO_MANY` after the 20 edits, with `REDACTED` if support has erased the text,
    /// with `TICKET_CLOSED` on a closed ticket, with `TICKET_MERGED` on a merged one, and with
    /// `NOT_FOUND` if you cannot see the comment. Edits count as comments do: `RATE_LIMITED`. It takes
    /// about a second: once it returns, only staff receive the earlier text, in `edits`.
    async fn edit_comment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The comment and its new text.")] input: EditCommentInput,
    ) -> Result<EditCommentPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::comment(&input.comment_id).ok_or_else(Failure::not_found)?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let edited = service::comment_edit::edit(actor, services, id, &input.body).await;
        Ok(match Outcome::of(edited)? {
            Outcome::Done((comment, ticket)) => EditCommentPayload {
                comment: Some(Comment(comment.into())),
                ticket: Some(Ticket::new(ticket)),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                EditCommentPayload { comment: None, ticket: None, user_errors: errors }
            }
        })
    }
}
