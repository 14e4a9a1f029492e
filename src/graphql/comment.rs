//! Comments and internal notes.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    attachment::{self, Attachment, Upload},
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    loader::AttachmentsOf,
    ticket::{Ticket, TicketStatus},
};
use crate::{
    domain::comment,
    service::{self, comment::NewComment},
};

/// Who may read a comment.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "comment::Visibility")]
pub enum CommentVisibility {
    /// Everybody who may see the ticket.
    Public,
    /// Staff only: an internal note.
    Internal,
}

/// A comment on a ticket, or an internal note.
#[derive(Description)]
pub struct Comment(pub comment::Comment);

#[Object(use_type_description)]
impl Comment {
    /// Its global id.
    pub async fn id(&self) -> ID {
        GlobalId::Comment(self.0.id).into()
    }

    /// The ticket that it is on.
    async fn ticket(&self, ctx: &Context<'_>) -> Result<Ticket, Failure> {
        Ok(Ticket(ctx.loaders()?.require(self.0.ticket_id).await?))
    }

    /// Who wrote it.
    async fn author(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        Ok(Account::new(ctx.loaders()?.require(self.0.author_id).await?))
    }

    /// Who may read it.
    async fn visibility(&self) -> CommentVisibility {
        self.0.visibility.into()
    }

    /// What it says: plain text of several lines, to be escaped where it is shown.
    async fn body(&self) -> &str {
        &self.0.body
    }

    /// The files that came with it, in their order: 50 at most.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn attachments(&self, ctx: &Context<'_>) -> Result<Vec<Attachment>, Failure> {
        Attachment::of(ctx, AttachmentsOf::Comment(self.0.id)).await
    }

    /// When it was posted.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

/// What `addComment` takes.
#[derive(InputObject)]
pub struct AddCommentInput {
    /// The ticket.
    ticket_id: ID,
    /// What to say: 1 to 65,536 characters; line ends become `\n`.
    body: String,
    /// Who may read it. Only staff may write internal notes.
    #[graphql(default_with = "CommentVisibility::Public")]
    visibility: CommentVisibility,
    /// A status to set in the same step. Without it a staff answer moves
    /// `WAITING_FOR_SUPPORT` to `WORKING_ON_IT`, and the reporter's comment moves
    /// `WAITING_FOR_CUSTOMER` and `RESOLVED` to `WAITING_FOR_SUPPORT`.
    status: Option<TicketStatus>,
    /// The ticket's version that you have seen: another one gives `CONFLICT`.
    expected_version: Option<i32>,
    /// Files that come with it: `multipart/form-data` as the GraphQL multipart request
    /// specification has it.
    #[graphql(default)]
    attachments: Vec<Upload>,
    /// Makes repeating the call safe, for 24 hours: the same key and input give the
    /// first call's comment. 1 to 255 characters, your own choice; a UUID is good.
    idempotency_key: Option<String>,
}

/// What `addComment` answers.
#[derive(SimpleObject)]
pub struct AddCommentPayload {
    /// The new comment.
    comment: Option<Comment>,
    /// The ticket as it stands now.
    ticket: Option<Ticket>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct CommentMutation;

#[Object]
impl CommentMutation {
    /// Posts a comment, or an internal note, on a ticket that is not closed.
    async fn add_comment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to post, and where.")] input: AddCommentInput,
    ) -> Result<AddCommentPayload, Failure> {
        ctx.identity()?;
        let new = NewComment {
            ticket_id: GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?,
            body: input.body,
            visibility: input.visibility.into(),
            status: input.status.map(Into::into),
            expected_version: input.expected_version,
            attachments: attachment::uploads(ctx, &input.attachments)?,
            idempotency_key: input.idempotency_key,
        };
        let added = service::comment::add(ctx.actor()?, ctx.services()?, new).await;
        Ok(match Outcome::of(added)? {
            Outcome::Done((comment, ticket)) => AddCommentPayload {
                comment: Some(Comment(comment)),
                ticket: Some(Ticket(ticket)),
                user_errors: vec![],
            },
            Outcome::Refused { errors, current } => {
                AddCommentPayload { comment: None, ticket: current, user_errors: errors }
            }
        })
    }
}
