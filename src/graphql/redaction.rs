//! Redaction: staff erase texts and files.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use super::{
    comment::Comment,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    ticket::Ticket,
};
use crate::{
    domain::{redaction, ticket},
    service,
};

/// A text of a ticket itself.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "redaction::TicketText")]
pub enum TicketText {
    /// The summary. `updateTicket` can set another one afterwards.
    Summary,
    /// The description.
    Description,
}

/// The input of `redactComment`.
#[derive(InputObject)]
pub struct RedactCommentInput {
    /// The id of the comment or internal note.
    comment_id: ID,
}

/// The payload of `redactComment`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RedactCommentPayload {
    /// The comment without its text. Null on failure.
    comment: Option<Comment>,
    /// The ticket in its current state. Null on failure.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `redactTicket`.
#[derive(InputObject)]
pub struct RedactTicketInput {
    /// The id of the ticket.
    ticket_id: ID,
    /// The text to erase.
    text: TicketText,
}

/// The payload of `redactTicket`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RedactTicketPayload {
    /// The ticket in its current state. Null on failure.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `redactAttachment`.
#[derive(InputObject)]
pub struct RedactAttachmentInput {
    /// The id of the attachment.
    attachment_id: ID,
}

/// The payload of `redactAttachment`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RedactAttachmentPayload {
    /// The ticket in its current state. Null on failure.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct RedactionMutation;

#[Object]
impl RedactionMutation {
    /// Erases the text of a comment or internal note permanently, with what it was before edits. Its
    /// files stay: see `redactAttachment`. Streams and the timeline show `ContentRedacted`. Staff
    /// only. Fails with `REDACTED` if it is redacted already. It takes about a second: once it
    /// returns, no response contains the text.
    async fn redact_comment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The comment to redact.")] input: RedactCommentInput,
    ) -> Result<RedactCommentPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::comment(&input.comment_id).ok_or_else(Failure::not_found)?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let redacted = service::redaction::redact_comment(actor, services, id).await;
        Ok(match Outcome::of(redacted)? {
            Outcome::Done((comment, ticket)) => RedactCommentPayload {
                comment: Some(Comment(comment.into())),
                ticket: Some(Ticket::new(ticket)),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                RedactCommentPayload { comment: None, ticket: None, user_errors: errors }
            }
        })
    }

    /// Erases the summary or the description of a ticket permanently. It is empty then. Streams and the
    /// timeline show `ContentRedacted`. Staff only. Fails with `REDACTED` if it is redacted already.
    /// It takes about a second: once it returns, no response contains the text.
    async fn redact_ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket and which of its texts to redact.")] input: RedactTicketInput,
    ) -> Result<RedactTicketPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let (actor, services, text) = (ctx.actor()?, ctx.services()?, input.text.into());
        let redacted = service::redaction::redact_ticket(actor, services, id, text).await;
        let (ticket, user_errors) = ticket_and_errors(Outcome::of(redacted)?);
        Ok(RedactTicketPayload { ticket, user_errors })
    }

    /// Removes a file from its ticket or comment and deletes its bytes. Streams and the timeline show
    /// `ContentRedacted`. Staff only. Fails with `REDACTED` if it is redacted already.
    async fn redact_attachment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The attachment to redact.")] input: RedactAttachmentInput,
    ) -> Result<RedactAttachmentPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::attachment(&input.attachment_id).ok_or_else(Failure::not_found)?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let redacted = service::redaction::redact_attachment(actor, services, id).await;
        let (ticket, user_errors) = ticket_and_errors(Outcome::of(redacted)?);
        Ok(RedactAttachmentPayload { ticket, user_errors })
    }
}

fn ticket_and_errors(outcome: Outcome<ticket::Ticket>) -> (Option<Ticket>, Vec<UserError>) {
    match outcome {
        Outcome::Done(ticket) => (Some(Ticket::new(ticket)), vec![]),
        Outcome::Rejected { errors, .. } => (None, errors),
    }
}
