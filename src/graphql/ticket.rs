//! Tickets: reading, listing, opening and changing them.

mod filter;
mod order;
mod status;

use std::sync::Arc;

use async_graphql::{Context, Description, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use uuid::Uuid;

use self::order::{TicketCursor, decode_cursor};
pub use self::{
    filter::TicketFilterInput,
    order::{OrderDirection, TicketOrder, TicketOrderField},
    status::{TicketPriority, TicketStatus},
};
use super::{
    account::{Account, Locale},
    attachment::{Attachment, Upload},
    category::Category,
    comment::{Comment, said, seen_up_to},
    context::ContextExt as _,
    delivery::Delivery,
    error::{Failure, Outcome, UserError},
    event::TimelineConnection,
    executor::List,
    id::GlobalId,
    loader::{
        AttachmentsOf, DeliveriesOf, FollowUpsOf, InvitationsOf, IsUnread, LastCommentOf, MergeOf,
        MergedTicketsOf,
    },
    pagination::{PageArgs, connection, cost},
    prefetch,
    text::Text,
    ticket_invitation::TicketInvitation,
    uploaded_file,
};
use crate::{
    domain::{
        ids::{AccountId, CategoryId, TicketId},
        page::Page,
        ticket,
        ticket_list::{TicketKey, TicketListOrder},
    },
    service::{
        self, UserErrorCode,
        seen_up_to::SeenUpTo,
        ticket::{NewTicket, TicketChanges},
    },
};

/// A support ticket: a customer's request, and the conversation about it. Visible to the
/// customer who opened it, to its participants and to staff.
#[derive(Description)]
pub struct Ticket(pub Arc<ticket::Ticket>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl Ticket {
    /// An opaque identifier. Store it and send it back unchanged.
    pub async fn id(&self) -> ID {
        GlobalId::Ticket(self.0.id).into()
    }

    /// The number that people refer to it by, such as `CS-234567`.
    async fn number(&self, ctx: &Context<'_>) -> Result<String, Failure> {
        Ok(ctx.services()?.number_prefix().format(self.0.number))
    }

    /// The subject, in one line of at most 255 characters. Empty if staff redacted it.
    async fn summary(&self) -> Text<&str> {
        Text(&self.0.summary)
    }

    /// The request as it was opened: plain text of several lines. Escape it before you put it
    /// into HTML. Empty if it was redacted.
    async fn description(&self) -> Text<&str> {
        Text(&self.0.description)
    }

    /// The status, which says whose turn it is.
    async fn status(&self) -> TicketStatus {
        self.0.status.into()
    }

    /// The display name of the status, such as "Working on it".
    async fn status_name(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The language of the name: your account's by default.")] locale: Option<
            Locale,
        >,
    ) -> Result<&str, Failure> {
        Ok(self.0.status.name(ctx.locale(locale.map(Into::into))?))
    }

    /// The priority, which only staff can change.
    async fn priority(&self) -> TicketPriority {
        self.0.priority.into()
    }

    /// The category.
    async fn category(&self, ctx: &Context<'_>) -> Result<Category, Failure> {
        Ok(Category(ctx.loaders()?.require(self.0.category_id).await?))
    }

    /// The customer who opened the ticket.
    async fn reporter(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        self.account(ctx, self.0.reporter_id).await
    }

    /// The agent or admin who is responsible for the ticket, or null if it is unassigned.
    async fn assignee(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        match self.0.assignee_id {
            Some(id) => self.account(ctx, id).await.map(Some),
            None => Ok(None),
        }
    }

    /// The other customers on the ticket, in the order in which they accepted an invitation: at
    /// most 50. See `inviteParticipant` and `removeParticipant`.
    #[graphql(complexity = "1 + 50 * child_complexity")]
    async fn participants(&self, ctx: &Context<'_>) -> Result<List<Account>, Failure> {
        let loaders = ctx.loaders()?;
        let found = self.0.participant_ids.iter().map(|&id| loaders.require(id));
        Ok(try_join_all(found).await?.into_iter().map(Account::new).collect())
    }

    /// The open invitations to take part in the ticket, oldest first: at most 50. Null unless you
    /// may share the ticket: you opened it, or are staff. Only staff see those that `mergeTicket` has
    /// created, unless you have invited the address too.
    #[graphql(complexity = "1 + 50 * child_complexity")]
    async fn invitations(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<List<TicketInvitation>>, Failure> {
        if !service::ticket_invitation::may_share(ctx.actor()?, &self.0) {
            return Ok(None);
        }
        let found = ctx.loaders()?.get(InvitationsOf(self.0.id)).await?.unwrap_or_default();
        Ok(Some(found.iter().cloned().map(TicketInvitation).collect()))
    }

    /// The files that belong to the description, in the order of the upload: at most 50.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn attachments(&self, ctx: &Context<'_>) -> Result<List<Attachment>, Failure> {
        Attachment::of(ctx, AttachmentsOf::Ticket(self.0.id)).await
    }

    /// A counter, for `expectedVersion`. It grows by one with each change of the status, priority,
    /// assignee, category or summary; changes made in one call count once.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// When the ticket was opened.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// The time of the last change that its customers can see: internal notes do not count.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }

    /// Since when the ticket has been `WAITING_FOR_SUPPORT` without interruption, or null if it
    /// is not.
    async fn waiting_since(&self) -> Option<DateTime<Utc>> {
        self.0.waiting_since
    }

    /// Whether the ticket has an event by somebody else that you may see and have not read.
    /// `markTicketRead` marks it as read; your own actions change nothing. An internal note makes
    /// it unread for staff only.
    async fn is_unread(&self, ctx: &Context<'_>) -> Result<bool, Failure> {
        Ok(ctx.loaders()?.get(IsUnread(self.0.id)).await?.unwrap_or_default())
    }

    /// The closed ticket that this one continues, or null if there is none or you may not see it.
    async fn follow_up_to(&self, ctx: &Context<'_>) -> Result<Option<Ticket>, Failure> {
        match self.0.follow_up_to {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Ticket)),
            None => Ok(None),
        }
    }

    /// The tickets that continue this one, oldest first: at most the first 50 that you may see.
    #[graphql(complexity = "1 + 50 * child_complexity")]
    async fn follow_ups(&self, ctx: &Context<'_>) -> Result<List<Ticket>, Failure> {
        let found = ctx.loaders()?.get(FollowUpsOf(self.0.id)).await?.unwrap_or_default();
        Ok(found.iter().cloned().map(Ticket).collect())
    }

    /// The ticket that this one was merged into, or null if it was not merged or you may not see the
    /// other. See `mergeTicket`.
    async fn merged_into(&self, ctx: &Context<'_>) -> Result<Option<Ticket>, Failure> {
        match ctx.loaders()?.get(MergeOf(self.0.id)).await? {
            Some(merge) => Ok(ctx.loaders()?.get(merge.into_id).await?.map(Ticket)),
            None => Ok(None),
        }
    }

    /// When the ticket was merged into another one, or null if it was not.
    async fn merged_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime<Utc>>, Failure> {
        let merge = ctx.loaders()?.get(MergeOf(self.0.id)).await?;
        Ok(merge.map(|merge| merge.merged_at))
    }

    /// The tickets that were merged into this one and that you may see, in the order of their merges:
    /// at most 50.
    #[graphql(complexity = "1 + 50 * child_complexity")]
    async fn merged_tickets(&self, ctx: &Context<'_>) -> Result<List<Ticket>, Failure> {
        let found = ctx.loaders()?.get(MergedTicketsOf(self.0.id)).await?.unwrap_or_default();
        Ok(found.iter().cloned().map(Ticket).collect())
    }

    /// The history, oldest first: the opening, the comments and every change that you may see.
    /// Use `last` for the newest.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Return at most this many items from the start: 0 to 100, 20 by default."
        )]
        first: Option<i32>,
        #[graphql(desc = "Return items after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return at most this many items from the end: 0 to 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Return items before this cursor.")] before: Option<String>,
    ) -> Result<TimelineConnection, Failure> {
        TimelineConnection::load(ctx, &self.0, PageArgs { first, after, last, before }).await
    }

    /// The last comment that you may see, or null if there is none. For staff, internal notes count
    /// too.
    async fn last_comment(&self, ctx: &Context<'_>) -> Result<Option<Comment>, Failure> {
        let (actor, services, loaders) = (ctx.actor()?, ctx.services()?, ctx.loaders()?);
        let id = match service::comment::last_of(actor, &self.0) {
            Some(known) => known,
            None => loaders.get(LastCommentOf(self.0.id)).await?,
        };
        let Some(id) = id else { return Ok(None) };
        let cursor = ctx.cursor()?;
        let cached = service::timeline::cached_comment(services, &self.0, id, cursor);
        let comment = if let Some(comment) = cached {
            comment
        } else {
            // What is known already may have been read before the ticket.
            let is_known = loaders.knows(&id);
            let Some(comment) = loaders.get(id).await? else { return Ok(None) };
            if !is_known {
                service::timeline::keep_comment(services, &self.0, &comment, cursor);
            }
            comment
        };
        if ctx.look_ahead().field("author").exists() {
            prefetch::accounts(ctx, &self.0, [comment.author_id]).await?;
        }
        Ok(Some(Comment(comment)))
    }

    /// The last 100 mails about the ticket, oldest first, with their state of delivery. Null
    /// unless you are staff.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    async fn deliveries(&self, ctx: &Context<'_>) -> Result<Option<List<Delivery>>, Failure> {
        if !ctx.identity()?.role.is_staff() {
            return Ok(None);
        }
        let found = ctx.loaders()?.get(DeliveriesOf(self.0.id)).await?.unwrap_or_default();
        Ok(Some(found.iter().cloned().map(Delivery).collect()))
    }
}

impl Ticket {
    /// Wraps a ticket that the caller may see.
    pub fn new(ticket: impl Into<Arc<ticket::Ticket>>) -> Self {
        Self(ticket.into())
    }

    /// Loads an account that the ticket names.
    async fn account(&self, ctx: &Context<'_>, id: AccountId) -> Result<Account, Failure> {
        let loaders = ctx.loaders()?;
        if !loaders.knows(&id) {
            prefetch::accounts(ctx, &self.0, [id]).await?;
        }
        Ok(Account::new(loaders.require(id).await?))
    }
}

connection!(TicketConnection, TicketEdge, Ticket, "tickets", TicketCursor);

impl TicketConnection {
    /// Loads the accounts that the tickets of the page name, if they are selected.
    async fn with_accounts(self, ctx: &Context<'_>) -> Result<Self, Failure> {
        let reporters = prefetch::selects(ctx, &["reporter"]);
        let assignees = prefetch::selects(ctx, &["assignee"]);
        let tickets = self.edges.0.iter().map(|edge| &edge.node.0);
        let ids = tickets.flat_map(|ticket| {
            let reporter = reporters.then_some(ticket.reporter_id);
            reporter.into_iter().chain(ticket.assignee_id.filter(|_| assignees))
        });
        if let Some(first) = self.edges.0.first() {
            prefetch::accounts(ctx, &first.node.0, ids).await?;
        }
        Ok(self)
    }
}

#[derive(Default)]
pub struct TicketQuery;

#[Object]
impl TicketQuery {
    /// The ticket with a number. Fails with `NOT_FOUND` if there is none that you may see.
    async fn ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The number with its prefix, such as `CS-234567`, in any letter case.")]
        number: String,
    ) -> Result<Option<Ticket>, Failure> {
        let found = service::ticket::by_number(ctx.actor()?, ctx.services()?, &number).await?;
        Ok(Some(Ticket::new(found)))
    }

    /// The tickets that you may see. Customers see those that they opened or take part in; staff
    /// see all.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the API")]
    async fn tickets(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Return at most this many items from the start: 0 to 100, 20 by default."
        )]
        first: Option<i32>,
        #[graphql(desc = "Return items after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return at most this many items from the end: 0 to 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Return items before this cursor.")] before: Option<String>,
        #[graphql(desc = "Return only matching tickets.")] filter: Option<TicketFilterInput>,
        #[graphql(desc = "Sort the tickets: by `CREATED_AT`, newest first, by default.")] order_by: Option<
            TicketOrder,
        >,
    ) -> Result<TicketConnection, Failure> {
        let order = TicketListOrder::from(order_by.unwrap_or_default());
        let sort = order.sort;
        let args = PageArgs { first, after, last, before };
        let page: Page<TicketKey> = args.page(|cursor| decode_cursor(sort, cursor))?;
        ctx.identity()?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let selection = filter.unwrap_or_default().selection(actor, services.number_prefix())?;
        let began = ctx.cursor()?;
        let slice =
            service::ticket_list::page(actor, services, &selection, order, &page, began).await?;
        let tickets = slice.map(|ticket| (TicketCursor::of(&ticket, sort), Ticket(ticket)));
        TicketConnection::new(tickets).with_accounts(ctx).await
    }
}

/// The input of `createTicket`.
#[derive(InputObject)]
pub struct CreateTicketInput {
    /// The id of the customer for whom you open the ticket. For staff: others get `FORBIDDEN`. The
    /// customer is notified, and the ticket is theirs. Null or omitted for your own ticket.
    customer_id: Option<ID>,
    /// The id of the category: `categories` lists them.
    category_id: ID,
    /// The subject, in one line: 1 to 255 characters.
    summary: String,
    /// The request: 1 to 65,536 characters of plain text. Line ends become `\n`, and white space at the
    /// end is removed.
    description: String,
    /// The files to attach (see `Upload`). The installation limits how many can be attached
    /// (`TOO_MANY`) and how large they can be (`TOO_LARGE`), or accepts none (`NOT_AVAILABLE`).
    #[graphql(default)]
    attachments: Vec<Upload>,
    /// The ids of files from `uploadFile` to attach after those of `attachments`, with the same
    /// limits on all of them. `EXPIRED` if one is not yours, was deleted or is attached already.
    #[graphql(default)]
    uploaded_file_ids: Vec<ID>,
    /// The id of the closed ticket that this one continues: one that you may see.
    follow_up_to_id: Option<ID>,
    /// Makes the call safe to repeat for 24 hours: the same key with the same input returns
    /// the first result. At most 255 characters.
    idempotency_key: Option<String>,
}

/// The payload of `createTicket`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct CreateTicketPayload {
    /// The new ticket, or null on failure.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `updateTicket`. A field that is omitted or null is not changed, except that a
/// null `assigneeId` removes the assignee. Customers may set only `status`; the other fields
/// are for staff.
#[derive(InputObject)]
pub struct UpdateTicketInput {
    /// The id of the ticket.
    ticket_id: ID,
    /// The new status. Staff may move a ticket between `WAITING_FOR_SUPPORT`, `WORKING_ON_IT`
    /// and `WAITING_FOR_CUSTOMER`, and from these to `RESOLVED` or `CLOSED`. The customer who
    /// opened it may move it from these to `RESOLVED` or `CLOSED`, and from `RESOLVED` back to
    /// `WAITING_FOR_SUPPORT`. Everything else is the user error `ILLEGAL_TRANSITION`, or
    /// `TICKET_MERGED` if the ticket was merged.
    status: Option<TicketStatus>,
    /// The new priority.
    priority: Option<TicketPriority>,
    /// The id of the new assignee, an agent or admin whose account is active. Null removes the
    /// assignee.
    assignee_id: MaybeUndefined<ID>,
    /// The id of the new category.
    category_id: Option<ID>,
    /// The new summary, in one line: 1 to 255 characters.
    summary: Option<String>,
    /// Fail with `CONFLICT` if the ticket's `version` is no longer this.
    expected_version: Option<i32>,
    /// The id of the last event or comment of the ticket that you have seen. Fail with
    /// `ANSWERED_MEANWHILE` if others have commented since, as far as you may see it; with
    /// `NOT_FOUND` if it is no event or comment of the ticket that you may see.
    seen_up_to: Option<ID>,
}

/// The payload of `updateTicket`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UpdateTicketPayload {
    /// The ticket after the change. On `CONFLICT` and `ANSWERED_MEANWHILE` the current ticket, on
    /// other failures null.
    ticket: Option<Ticket>,
    /// With `ANSWERED_MEANWHILE`, what others have said since `seenUpTo`, oldest first: at most 20
    /// comments. Otherwise empty. To write anyway, repeat the call with the id of the last of these
    /// comments as `seenUpTo`.
    #[graphql(complexity = "1 + 20 * child_complexity")]
    answered_meanwhile: List<Comment>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct TicketMutation;

#[Object]
impl TicketMutation {
    /// Opens a ticket. It starts with the status `WAITING_FOR_SUPPORT` and the priority `MEDIUM`.
    ///
    /// User errors: `NOT_FOUND` for an unknown category, for a customer who does not exist or whose
    /// account is disabled, and for a predecessor that you may not see; `CATEGORY_RETIRED` for a
    /// category that accepts no new tickets; `INVALID` for a predecessor that is not closed;
    /// `IDEMPOTENCY_KEY_REUSED` for a key that was used with another input. For attachments:
    /// `TOO_MANY`, `TOO_LARGE`, `REQUIRED` for an empty file, and `NOT_AVAILABLE` if this
    /// installation stores no files.
    async fn create_ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new ticket.")] input: CreateTicketInput,
    ) -> Result<CreateTicketPayload, Failure> {
        let new = NewTicket {
            customer: input
                .customer_id
                .map(|id| GlobalId::account(&id).unwrap_or(AccountId(Uuid::nil()))),
            category_id: GlobalId::category(&input.category_id),
            summary: input.summary,
            description: input.description,
            attachments: uploaded_file::files(ctx, &input.attachments, &input.uploaded_file_ids)
                .await?,
            // A malformed id is not found, like the nil UUID.
            follow_up_to: input
                .follow_up_to_id
                .map(|id| GlobalId::ticket(&id).unwrap_or(TicketId(Uuid::nil()))),
            idempotency_key: input.idempotency_key,
        };
        let created = service::ticket::create(ctx.actor()?, ctx.services()?, new).await;
        Ok(match Outcome::of(created)? {
            Outcome::Done(ticket) => {
                CreateTicketPayload { ticket: Some(Ticket::new(ticket)), user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                CreateTicketPayload { ticket: None, user_errors: errors }
            }
        })
    }

    /// Changes a ticket: all the fields of the input, or none of them. Setting a field to the
    /// value that it has is not a change.
    ///
    /// Fails with `NOT_FOUND` if you may not see the ticket, with `FORBIDDEN` if a customer sets a
    /// field other than `status`, and with `RATE_LIMITED` if a customer makes more changes within a
    /// minute than the installation allows. User errors: `CONFLICT` for an outdated
    /// `expectedVersion`; `ANSWERED_MEANWHILE` for an outdated `seenUpTo`; `ILLEGAL_TRANSITION` for a
    /// status that you may not set now, or `TICKET_MERGED`; `NOT_ASSIGNABLE` for an assignee who is not
    /// active staff; `CATEGORY_RETIRED` for a category that accepts no new tickets; `NOT_FOUND` for an
    /// unknown category or event or a malformed id; and `REQUIRED`, `TOO_LONG` or `INVALID` for the
    /// summary.
    async fn update_ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket and its changes.")] input: UpdateTicketInput,
    ) -> Result<UpdateTicketPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let seen_up_to = seen_up_to(ctx, id, input.seen_up_to.as_ref()).await?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let updated = match changes(input, seen_up_to) {
            Ok(changes) => service::ticket::update(actor, services, id, changes).await,
            Err(error) => {
                service::ticket::require_triage(actor, services, id).await?;
                Err(error.into())
            }
        };
        Ok(match Outcome::of(updated)? {
            Outcome::Done(ticket) => UpdateTicketPayload {
                ticket: Some(Ticket::new(ticket)),
                answered_meanwhile: List(vec![]),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, current, meanwhile } => UpdateTicketPayload {
                ticket: current.map(Ticket::new),
                answered_meanwhile: said(meanwhile),
                user_errors: errors,
            },
        })
    }
}

fn changes(
    input: UpdateTicketInput,
    seen_up_to: Option<SeenUpTo>,
) -> Result<TicketChanges, service::UserError> {
    let (assignee, category) = references(input.assignee_id, input.category_id)?;
    Ok(TicketChanges {
        status: input.status.map(Into::into),
        priority: input.priority.map(Into::into),
        assignee,
        category,
        summary: input.summary,
        expected_version: input.expected_version,
        seen_up_to,
    })
}

type References = (Option<Option<AccountId>>, Option<CategoryId>);

/// Parses the ids of an assignee and a category.
///
/// # Errors
/// A user error for an id that is malformed or names something else.
pub fn references(
    assignee: MaybeUndefined<ID>,
    category: Option<ID>,
) -> Result<References, service::UserError> {
    let unknown = |field, what: &str| {
        let message = format!("`{field}` is not the id of {what}.");
        service::UserError::new(field, UserErrorCode::NotFound, message)
    };
    let assignee = match assignee {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(id) => {
            Some(Some(GlobalId::account(&id).ok_or_else(|| unknown("assigneeId", "an account"))?))
        }
    };
    let category = match category {
        None => None,
        Some(id) => {
            Some(GlobalId::category(&id).ok_or_else(|| unknown("categoryId", "a category"))?)
        }
    };
    Ok((assignee, category))
}
