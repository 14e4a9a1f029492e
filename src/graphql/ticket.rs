//! Tickets.

use async_graphql::{
    Context, Description, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::{
    account::{Account, Locale},
    attachment::{self, Attachment, Upload},
    category::Category,
    context::ContextExt as _,
    delivery::Delivery,
    error::{Failure, Outcome, UserError},
    event::TimelineConnection,
    id::GlobalId,
    loader::{AttachmentsOf, DeliveriesOf, FollowUpsOf, IsUnread},
    pagination::{PageArgs, connection, cost},
    search::parse_query,
};
use crate::{
    domain::{
        actor::Actor,
        ids::{AccountId, CategoryId, TicketId},
        page::Page,
        policy,
        queue::{TicketFilter, TicketSelection},
        ticket::{self, Priority, Status},
        ticket_list::{TicketKey, TicketSort},
    },
    service::{
        self, UserErrorCode,
        ticket::{NewTicket, TicketChanges},
    },
};

/// Where a ticket stands.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "Status")]
pub enum TicketStatus {
    /// Support has to act.
    WaitingForSupport,
    /// Support is acting.
    WorkingOnIt,
    /// The customer has to answer.
    WaitingForCustomer,
    /// Done; the reporter may take it up again.
    Resolved,
    /// Done for good.
    Closed,
}

/// How urgent a ticket is.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "Priority")]
pub enum TicketPriority {
    /// Can wait for any time.
    Lowest,
    /// Can wait.
    Low,
    /// As most are; every new ticket has it.
    Medium,
    /// Before others.
    High,
    /// Before all others.
    Highest,
}

/// A ticket: what a customer asked for, and the conversation about it.
#[derive(Description)]
pub struct Ticket(pub ticket::Ticket);

#[Object(use_type_description)]
impl Ticket {
    /// Its global id.
    pub async fn id(&self) -> ID {
        GlobalId::Ticket(self.0.id).into()
    }

    /// What people call it by, like `CS-234567`.
    async fn number(&self, ctx: &Context<'_>) -> Result<String, Failure> {
        Ok(ctx.services()?.number_prefix().format(self.0.number))
    }

    /// What it is about, in a line.
    async fn summary(&self) -> &str {
        &self.0.summary
    }

    /// What it is about: plain text of several lines, to be escaped where it is shown.
    async fn description(&self) -> &str {
        &self.0.description
    }

    /// Where it stands.
    async fn status(&self) -> TicketStatus {
        self.0.status.into()
    }

    /// Where it stands, in words for people: "Working on it".
    async fn status_name(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The language; your account's by default.")] locale: Option<Locale>,
    ) -> Result<&str, Failure> {
        Ok(self.0.status.name(ctx.locale(locale.map(Into::into))?))
    }

    /// How urgent it is.
    async fn priority(&self) -> TicketPriority {
        self.0.priority.into()
    }

    /// What it is sorted into.
    async fn category(&self, ctx: &Context<'_>) -> Result<Category, Failure> {
        Ok(Category(ctx.loaders()?.require(self.0.category_id).await?))
    }

    /// The customer who opened it.
    async fn reporter(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        Ok(Account::new(ctx.loaders()?.require(self.0.reporter_id).await?))
    }

    /// The member of staff who works on it.
    async fn assignee(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        match self.0.assignee_id {
            Some(id) => Ok(Some(Account::new(ctx.loaders()?.require(id).await?))),
            None => Ok(None),
        }
    }

    /// The other customers who take part in it, in the order in which they were added: 50
    /// at most.
    #[graphql(complexity = "1 + 50 * child_complexity")]
    async fn participants(&self, ctx: &Context<'_>) -> Result<Vec<Account>, Failure> {
        let loaders = ctx.loaders()?;
        let found = self.0.participant_ids.iter().map(|&id| loaders.require(id));
        Ok(try_join_all(found).await?.into_iter().map(Account::new).collect())
    }

    /// The files that came with its description, in their order: 50 at most.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn attachments(&self, ctx: &Context<'_>) -> Result<Vec<Attachment>, Failure> {
        Attachment::of(ctx, AttachmentsOf::Ticket(self.0.id)).await
    }

    /// Moves by one with each change of status, priority, assignee, summary or
    /// category: what `expectedVersion` is compared with.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// When it was opened.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When something last changed that the customer can see.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }

    /// Since when it waits for support without a break; null: it doesn't.
    async fn waiting_since(&self) -> Option<DateTime<Utc>> {
        self.0.waiting_since
    }

    /// Whether something happened on it that you may see, that somebody else did, and that
    /// you have not read: what you do yourself makes it neither unread nor read. An internal
    /// note is news to staff only. `markTicketRead` marks it.
    async fn is_unread(&self, ctx: &Context<'_>) -> Result<bool, Failure> {
        Ok(ctx.loaders()?.get(IsUnread(self.0.id)).await?.unwrap_or_default())
    }

    /// The closed ticket that it goes on from; null where there is none that you may see.
    async fn follow_up_to(&self, ctx: &Context<'_>) -> Result<Option<Ticket>, Failure> {
        match self.0.follow_up_to {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Ticket)),
            None => Ok(None),
        }
    }

    /// The first 50 tickets that go on from it and that you may see, oldest first.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn follow_ups(&self, ctx: &Context<'_>) -> Result<Vec<Ticket>, Failure> {
        let found = ctx.loaders()?.get(FollowUpsOf(self.0.id)).await?.unwrap_or_default();
        Ok(found.into_iter().map(Ticket).collect())
    }

    /// Its history, oldest first: the opening, the conversation and every change, as
    /// far as you may see them. `last` gives the newest.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "So many from the start; 0 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "So many from the end; 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<TimelineConnection, Failure> {
        TimelineConnection::load(ctx, &self.0, PageArgs { first, after, last, before }).await
    }

    /// The last 100 mails about it, oldest first, and what became of them; null
    /// unless you are staff.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn deliveries(&self, ctx: &Context<'_>) -> Result<Option<Vec<Delivery>>, Failure> {
        if !ctx.identity()?.role.is_staff() {
            return Ok(None);
        }
        let found = ctx.loaders()?.get(DeliveriesOf(self.0.id)).await?.unwrap_or_default();
        Ok(Some(found.into_iter().map(Delivery).collect()))
    }
}

connection!(TicketConnection, TicketEdge, Ticket, "tickets");

/// Narrows a list of tickets: to those that fit every field that is given, and in
/// a list any of its values.
#[derive(InputObject, Default)]
pub struct TicketFilterInput {
    /// In any of these statuses.
    status: Option<Vec<TicketStatus>>,
    /// Of any of these priorities.
    priority: Option<Vec<TicketPriority>>,
    /// In any of these categories.
    category_ids: Option<Vec<ID>>,
    /// Assigned to this account; null: to nobody.
    assignee_id: MaybeUndefined<ID>,
    /// Opened by this account.
    reporter_id: Option<ID>,
    /// Waiting for support since this time at the latest. Not for streams: no event tells it.
    waiting_since: Option<DateTime<Utc>>,
    /// With these words: found as `search` finds them, 1 to 255 characters. Not for streams.
    text: Option<String>,
    /// As `Ticket.isUnread` has it. For staff together with `assigneeId` only; not for streams.
    is_unread: Option<bool>,
}

impl TicketFilterInput {
    /// What a list is narrowed to.
    pub fn selection(
        self,
        actor: &Actor,
        prefix: &ticket::NumberPrefix,
    ) -> Result<TicketSelection, Failure> {
        let reader = policy::reader(actor);
        let assigned = matches!(self.assignee_id, MaybeUndefined::Value(_));
        if self.is_unread.is_some() && reader.is_some_and(|it| it.is_staff) && !assigned {
            return Err(Failure::bad_request(
                "`filter`: staff narrow by `isUnread` together with `assigneeId` only. Pass your own \
                 account's id, or another's.",
            ));
        }
        let unread = reader.zip(self.is_unread);
        let search = self.text.as_deref().map(|text| parse_query(text, prefix)).transpose()?;
        let waiting_since = self.waiting_since;
        Ok(TicketSelection { filter: self.into(), waiting_since, search, unread })
    }

    /// What a stream is narrowed to: only by what events tell.
    pub fn of_stream(self) -> Result<TicketFilter, Failure> {
        if self.text.is_some() || self.waiting_since.is_some() || self.is_unread.is_some() {
            return Err(Failure::bad_request(
                "`filter`: `text`, `waitingSince` and `isUnread` narrow lists, not streams. Leave them \
                 out, and ask for the list anew when an event comes.",
            ));
        }
        Ok(self.into())
    }
}

impl From<TicketFilterInput> for TicketFilter {
    fn from(input: TicketFilterInput) -> Self {
        // An id that names nothing fits no ticket: a nil UUID stands for it.
        let account = |id: &ID| GlobalId::account(id).unwrap_or(AccountId(Uuid::nil()));
        Self {
            statuses: input.status.map(|list| list.into_iter().map(Into::into).collect()),
            priorities: input.priority.map(|list| list.into_iter().map(Into::into).collect()),
            categories: input
                .category_ids
                .map(|ids| ids.iter().filter_map(GlobalId::category).collect()),
            assignee: match input.assignee_id {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(None),
                MaybeUndefined::Value(id) => Some(Some(account(&id))),
            },
            reporter: input.reporter_id.as_ref().map(account),
        }
    }
}

/// What a list of tickets is sorted by.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "TicketSort")]
pub enum TicketOrderField {
    /// When they were opened.
    CreatedAt,
    /// When something last changed that the customer can see.
    UpdatedAt,
    /// How urgent they are.
    Priority,
    /// Since when they wait for support: with `ASC` who waits longest is first. Those that
    /// don't wait come last, in either direction.
    WaitingSince,
}

/// Which end of an order comes first.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
pub enum OrderDirection {
    /// Oldest or lowest first.
    Asc,
    /// Newest or highest first.
    Desc,
}

/// How a list of tickets is sorted.
#[derive(InputObject, Copy, Clone)]
pub struct TicketOrder {
    /// By what.
    field: TicketOrderField,
    /// Which end comes first.
    #[graphql(default_with = "OrderDirection::Desc")]
    direction: OrderDirection,
}

impl Default for TicketOrder {
    fn default() -> Self {
        Self { field: TicketOrderField::CreatedAt, direction: OrderDirection::Desc }
    }
}

/// A place in a list of tickets: by what it is sorted, the ticket's value of it in
/// eight bytes, and the ticket's id.
fn encode_key(sort: TicketSort, ticket: &ticket::Ticket) -> String {
    let (value, id) = match TicketKey::of(ticket, sort) {
        TicketKey::Time(time, id) => (time.timestamp_micros(), id),
        TicketKey::Priority(priority, id) => (priority as i64, id),
        TicketKey::Waiting(time, id) => (time.map_or(NOT_WAITING, |t| t.timestamp_micros()), id),
    };
    let mut bytes = vec![sort as u8];
    bytes.extend(value.to_be_bytes());
    bytes.extend(id.0.into_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Stands for no time.
const NOT_WAITING: i64 = i64::MAX;

fn decode_key(sort: TicketSort, text: &str) -> Option<TicketKey> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (&tag, rest) = bytes.split_first()?;
    let (value, id) = rest.split_at_checked(8)?;
    let value = i64::from_be_bytes(value.try_into().ok()?);
    let id = TicketId(Uuid::from_slice(id).ok()?);
    if tag != sort as u8 {
        return None;
    }
    Some(match sort {
        TicketSort::CreatedAt | TicketSort::UpdatedAt => {
            TicketKey::Time(DateTime::from_timestamp_micros(value)?, id)
        }
        TicketSort::WaitingSince if value == NOT_WAITING => TicketKey::Waiting(None, id),
        TicketSort::WaitingSince => {
            TicketKey::Waiting(Some(DateTime::from_timestamp_micros(value)?), id)
        }
        TicketSort::Priority => {
            let all = [
                Priority::Lowest,
                Priority::Low,
                Priority::Medium,
                Priority::High,
                Priority::Highest,
            ];
            TicketKey::Priority(all.into_iter().find(|&priority| priority as i64 == value)?, id)
        }
    })
}

#[derive(Default)]
pub struct TicketQuery;

#[Object]
impl TicketQuery {
    /// The ticket of a number. `NOT_FOUND` where there is none that you may see.
    async fn ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The number as people see it, like `CS-234567`.")] number: String,
    ) -> Result<Option<Ticket>, Failure> {
        let found = service::ticket::by_number(ctx.actor()?, ctx.services()?, &number).await?;
        Ok(Some(Ticket(found)))
    }

    /// The tickets that you may see: a customer's own, or all for staff.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the API")]
    async fn tickets(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "So many from the start; 0 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "So many from the end; 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Narrows the list; all by default.")] filter: Option<TicketFilterInput>,
        #[graphql(desc = "How to sort; the newest first by default.")] order_by: Option<
            TicketOrder,
        >,
    ) -> Result<TicketConnection, Failure> {
        let order = order_by.unwrap_or_default();
        let (sort, descending) = (order.field.into(), order.direction == OrderDirection::Desc);
        let args = PageArgs { first, after, last, before };
        let page: Page<TicketKey> = args.page(|cursor| decode_key(sort, cursor))?;
        ctx.identity()?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let selection = filter.unwrap_or_default().selection(actor, services.number_prefix())?;
        let slice =
            service::ticket::page(actor, services, &selection, sort, descending, &page).await?;
        Ok(TicketConnection::new(slice.map(|ticket| (encode_key(sort, &ticket), Ticket(ticket)))))
    }
}

/// What `createTicket` takes.
#[derive(InputObject)]
pub struct CreateTicketInput {
    /// What it is sorted into; `categories` lists them.
    category_id: ID,
    /// What it is about, in a line: 1 to 255 characters.
    summary: String,
    /// What it is about: 1 to 65,536 characters; line ends become `\n`.
    description: String,
    /// Files that come with it: `multipart/form-data` as the GraphQL multipart request
    /// specification has it.
    #[graphql(default)]
    attachments: Vec<Upload>,
    /// The closed ticket that this one goes on from: one that you may see.
    follow_up_to_id: Option<ID>,
    /// Makes repeating the call safe, for 24 hours: the same key and input give the
    /// first call's ticket. 1 to 255 characters, your own choice; a UUID is good.
    idempotency_key: Option<String>,
}

/// What `createTicket` answers.
#[derive(SimpleObject)]
pub struct CreateTicketPayload {
    /// The new ticket.
    ticket: Option<Ticket>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `updateTicket` takes. Fields that are not given stay as they are. The
/// reporter may set the status only; the rest is for staff.
#[derive(InputObject)]
pub struct UpdateTicketInput {
    /// The ticket.
    ticket_id: ID,
    /// The new status. Staff move a ticket freely between `WAITING_FOR_SUPPORT`,
    /// `WORKING_ON_IT` and `WAITING_FOR_CUSTOMER`, and from these to `RESOLVED` or
    /// `CLOSED`; its reporter moves it from these to `RESOLVED` or `CLOSED`, and from
    /// `RESOLVED` back to `WAITING_FOR_SUPPORT`.
    status: Option<TicketStatus>,
    /// The new priority.
    priority: Option<TicketPriority>,
    /// The new assignee, an agent or admin; null takes the present one off.
    assignee_id: MaybeUndefined<ID>,
    /// The new category.
    category_id: Option<ID>,
    /// The new summary: 1 to 255 characters.
    summary: Option<String>,
    /// The version that you have seen: another one gives `CONFLICT`, and the ticket
    /// as it stands.
    expected_version: Option<i32>,
}

/// What `updateTicket` answers.
#[derive(SimpleObject)]
pub struct UpdateTicketPayload {
    /// The ticket as it stands now; also with a `CONFLICT`.
    ticket: Option<Ticket>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct TicketMutation;

#[Object]
impl TicketMutation {
    /// Opens a ticket. It waits for support, with medium priority.
    async fn create_ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new ticket.")] input: CreateTicketInput,
    ) -> Result<CreateTicketPayload, Failure> {
        let new = NewTicket {
            category_id: GlobalId::category(&input.category_id),
            summary: input.summary,
            description: input.description,
            attachments: attachment::uploads(ctx, &input.attachments)?,
            // An id that names nothing names no ticket: a nil UUID stands for it.
            follow_up_to: input
                .follow_up_to_id
                .map(|id| GlobalId::ticket(&id).unwrap_or(TicketId(Uuid::nil()))),
            idempotency_key: input.idempotency_key,
        };
        let created = service::ticket::create(ctx.actor()?, ctx.services()?, new).await;
        Ok(match Outcome::of(created)? {
            Outcome::Done(ticket) => {
                CreateTicketPayload { ticket: Some(Ticket(ticket)), user_errors: vec![] }
            }
            Outcome::Refused { errors, .. } => {
                CreateTicketPayload { ticket: None, user_errors: errors }
            }
        })
    }

    /// Changes a ticket: all that is given, or nothing.
    async fn update_ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket, and what changes in it.")] input: UpdateTicketInput,
    ) -> Result<UpdateTicketPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let updated = match changes(input) {
            Ok(changes) => {
                service::ticket::update(ctx.actor()?, ctx.services()?, id, changes).await
            }
            Err(error) => Err(error.into()),
        };
        Ok(match Outcome::of(updated)? {
            Outcome::Done(ticket) => {
                UpdateTicketPayload { ticket: Some(Ticket(ticket)), user_errors: vec![] }
            }
            Outcome::Refused { errors, current } => {
                UpdateTicketPayload { ticket: current, user_errors: errors }
            }
        })
    }
}

fn changes(input: UpdateTicketInput) -> Result<TicketChanges, service::UserError> {
    let (assignee, category) = references(input.assignee_id, input.category_id)?;
    Ok(TicketChanges {
        status: input.status.map(Into::into),
        priority: input.priority.map(Into::into),
        assignee,
        category,
        summary: input.summary,
        expected_version: input.expected_version,
    })
}

type References = (Option<Option<AccountId>>, Option<CategoryId>);

/// The assignee and category that ids name.
pub fn references(
    assignee: MaybeUndefined<ID>,
    category: Option<ID>,
) -> Result<References, service::UserError> {
    let unknown = |field, what: &str| {
        let message = format!("`{field}` names no {what}.");
        service::UserError::new(field, UserErrorCode::NotFound, message)
    };
    let assignee = match assignee {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(id) => {
            Some(Some(GlobalId::account(&id).ok_or_else(|| unknown("assigneeId", "account"))?))
        }
    };
    let category = match category {
        None => None,
        Some(id) => Some(GlobalId::category(&id).ok_or_else(|| unknown("categoryId", "category"))?),
    };
    Ok((assignee, category))
}
