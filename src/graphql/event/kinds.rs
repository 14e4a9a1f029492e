//! The types of events about tickets.

use std::sync::Arc;

use async_graphql::{Context, Description, Enum, ID, Object};
use chrono::{DateTime, Utc};

use crate::domain::{
    event::FeedEvent,
    ids::{AccountId, CategoryId, CommentId, TicketId, TicketInvitationId},
    redaction::RedactedContent,
    ticket,
};
use crate::graphql::{
    account::Account,
    category::Category,
    comment::Comment,
    context::ContextExt as _,
    error::Failure,
    id::{GlobalId, event_id},
    ticket::{Ticket, TicketPriority, TicketStatus},
};

/// Declares an event's type: the fields that all events have, and those of this one.
macro_rules! event_type {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $ty:ty),* } $($own:tt)*) => {
        $(#[$doc])*
        #[derive(Description)]
        pub struct $name {
            pub(super) of: Arc<FeedEvent>,
            pub(super) ticket_id: TicketId,
            $(pub(super) $field: $ty,)*
        }

        #[Object(use_type_description, crate = "crate::graphql::executor")]
        impl $name {
            /// Identifies the event. An event that is delivered twice has the same id.
            pub(super) async fn id(&self) -> ID {
                event_id(self.of.event.id)
            }

            /// The event's position in the event log. Pass it as `after` to any stream to continue
            /// after this event.
            pub(super) async fn cursor(&self) -> String {
                self.of.cursor.encode()
            }

            /// When it happened.
            pub(super) async fn occurred_at(&self) -> DateTime<Utc> {
                self.of.event.occurred_at
            }

            /// The account that caused it, or null for the system.
            pub(super) async fn actor(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
                account(ctx, self.of.event.actor_id).await
            }

            /// The ticket in its current state, not its state at the time of the event.
            pub(super) async fn ticket(&self, ctx: &Context<'_>) -> Result<Ticket, Failure> {
                Ok(Ticket(ctx.loaders()?.require(self.ticket_id).await?))
            }

            $($own)*
        }
    };
}

event_type! {
    /// A ticket was opened.
    TicketCreated {}
}

event_type! {
    /// A comment or an internal note was posted. Only staff receive internal notes.
    CommentAdded { comment_id: CommentId }

    /// The comment. Its `visibility` says whether it is an internal note.
    async fn comment(&self, ctx: &Context<'_>) -> Result<Comment, Failure> {
        Ok(Comment(ctx.loaders()?.require(self.comment_id).await?))
    }
}

event_type! {
    /// The author edited a comment. `comment.body` is the current text.
    CommentEdited { comment_id: CommentId }

    /// The comment.
    async fn comment(&self, ctx: &Context<'_>) -> Result<Comment, Failure> {
        Ok(Comment(ctx.loaders()?.require(self.comment_id).await?))
    }
}

event_type! {
    /// A text or a file was erased: by staff, or together with the account of its author. Remove it
    /// from what you show and store.
    ContentRedacted { redacted: RedactedContent }

    /// What was erased.
    async fn content(&self) -> RedactedContentKind {
        match self.redacted {
            RedactedContent::Summary => RedactedContentKind::Summary,
            RedactedContent::Description => RedactedContentKind::Description,
            RedactedContent::Comment { .. } => RedactedContentKind::Comment,
            RedactedContent::Attachment { .. } => RedactedContentKind::Attachment,
        }
    }

    /// The comment whose text was erased, or that the erased file was attached to. Null if the
    /// summary, the description or a file of the description was erased.
    async fn comment(&self, ctx: &Context<'_>) -> Result<Option<Comment>, Failure> {
        match self.redacted.comment() {
            Some(id) => Ok(Some(Comment(ctx.loaders()?.require(id).await?))),
            None => Ok(None),
        }
    }

    /// The id of the erased file, which `node` no longer finds. Null if a text was erased.
    async fn attachment_id(&self) -> Option<ID> {
        match self.redacted {
            RedactedContent::Attachment { attachment_id, .. } => {
                Some(GlobalId::Attachment(attachment_id).into())
            }
            RedactedContent::Summary
            | RedactedContent::Description
            | RedactedContent::Comment { .. } => None,
        }
    }
}

/// What was erased from a ticket.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(name = "RedactedContent")]
pub enum RedactedContentKind {
    /// The summary.
    Summary,
    /// The description.
    Description,
    /// The text of a comment or internal note.
    Comment,
    /// A file.
    Attachment,
}

event_type! {
    /// The status changed.
    StatusChanged { from: ticket::Status, to: ticket::Status }

    /// The old status.
    #[graphql(name = "fromStatus")]
    async fn old_status(&self) -> TicketStatus {
        self.from.into()
    }

    /// The new status.
    #[graphql(name = "toStatus")]
    async fn new_status(&self) -> TicketStatus {
        self.to.into()
    }
}

event_type! {
    /// The priority changed.
    PriorityChanged { from: ticket::Priority, to: ticket::Priority }

    /// The old priority.
    #[graphql(name = "fromPriority")]
    async fn old_priority(&self) -> TicketPriority {
        self.from.into()
    }

    /// The new priority.
    #[graphql(name = "toPriority")]
    async fn new_priority(&self) -> TicketPriority {
        self.to.into()
    }
}

event_type! {
    /// The ticket was assigned, reassigned or unassigned.
    AssigneeChanged { from: Option<AccountId>, to: Option<AccountId> }

    /// The old assignee, or null if the ticket was unassigned.
    #[graphql(name = "fromAssignee")]
    async fn old_assignee(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        account(ctx, self.from).await
    }

    /// The new assignee, or null if the ticket is now unassigned.
    #[graphql(name = "toAssignee")]
    async fn new_assignee(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        account(ctx, self.to).await
    }
}

event_type! {
    /// The ticket was moved to another category.
    CategoryChanged { from: CategoryId, to: CategoryId }

    /// The old category.
    #[graphql(name = "fromCategory")]
    async fn old_category(&self, ctx: &Context<'_>) -> Result<Category, Failure> {
        Ok(Category(ctx.loaders()?.require(self.from).await?))
    }

    /// The new category.
    #[graphql(name = "toCategory")]
    async fn new_category(&self, ctx: &Context<'_>) -> Result<Category, Failure> {
        Ok(Category(ctx.loaders()?.require(self.to).await?))
    }
}

event_type! {
    /// The summary was edited. `ticket.summary` is the current one.
    SummaryChanged {}
}

/// Declares the type of an event about an invitation.
macro_rules! invitation_event_type {
    ($(#[$doc:meta])* $name:ident) => {
        event_type! {
            $(#[$doc])*
            $name { invitation_id: TicketInvitationId }

            /// The id of the invitation. `Ticket.invitations` has it while it is open: for staff only
            /// if `mergeTicket` has created it.
            #[graphql(name = "invitationId")]
            async fn invitation(&self) -> ID {
                GlobalId::TicketInvitation(self.invitation_id).into()
            }
        }
    };
}

invitation_event_type! {
    /// Somebody was invited to take part in the ticket. They see nothing of it before they accept.
    ParticipantInvited
}

invitation_event_type! {
    /// An invitation was declined. `actor` is null: the person stays unnamed.
    InvitationDeclined
}

invitation_event_type! {
    /// An invitation was withdrawn.
    InvitationWithdrawn
}

event_type! {
    /// A customer takes part in the ticket from now on: they accepted an invitation. They can see
    /// the ticket with its public history, and comment.
    ParticipantAdded { account_id: AccountId }

    /// The customer.
    async fn participant(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        Ok(Account::new(ctx.loaders()?.require(self.account_id).await?))
    }
}

event_type! {
    /// A customer was removed from the ticket and can no longer see it.
    ParticipantRemoved { account_id: AccountId }

    /// The customer.
    async fn participant(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        Ok(Account::new(ctx.loaders()?.require(self.account_id).await?))
    }
}

/// Declares the type of an event about the merge of two tickets.
macro_rules! merge_event_type {
    ($(#[$doc:meta])* $name:ident) => {
        event_type! {
            $(#[$doc])*
            $name { from_id: TicketId, into_id: TicketId }

            /// The ticket that was merged. Null if you may not see it.
            #[graphql(name = "from")]
            async fn merged_ticket(&self, ctx: &Context<'_>) -> Result<Option<Ticket>, Failure> {
                Ok(ctx.loaders()?.get(self.from_id).await?.map(Ticket))
            }

            /// The ticket that it was merged into. Null if you may not see it.
            #[graphql(name = "into")]
            async fn target(&self, ctx: &Context<'_>) -> Result<Option<Ticket>, Failure> {
                Ok(ctx.loaders()?.get(self.into_id).await?.map(Ticket))
            }
        }
    };
}

merge_event_type! {
    /// A ticket was merged into another one. Both tickets have the event: `ticket` is the one whose
    /// event it is.
    TicketMerged
}

merge_event_type! {
    /// A merge was undone. Both tickets have the event: `ticket` is the one whose event it is.
    TicketUnmerged
}

event_type! {
    /// An event of a kind that this version of the server does not know, because a newer version
    /// wrote it. It has its position like any other event, so that no change goes unnoticed: read
    /// the ticket again.
    UnreadableEvent {}
}

async fn account(ctx: &Context<'_>, id: Option<AccountId>) -> Result<Option<Account>, Failure> {
    match id {
        Some(id) => Ok(Some(Account::new(ctx.loaders()?.require(id).await?))),
        None => Ok(None),
    }
}
