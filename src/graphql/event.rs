//! Events: the timeline of a ticket, and the live streams.

use std::sync::Arc;

use async_graphql::{
    Context, Description, Enum, ID, Interface, Object, SimpleObject, Subscription, Union,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream, stream::BoxStream};

use super::{
    account::Account,
    category::Category,
    comment::Comment,
    context::{ContextExt as _, StreamSignals},
    error::Failure,
    fan_out::{InjectedItem, SubscriptionSlot},
    id::{GlobalId, event_id},
    loader::TimelineKey,
    pagination::{PageArgs, connection},
    ticket::{Ticket, TicketFilterInput, TicketPriority, TicketStatus},
};
use crate::{
    domain::{
        event::{EventData, FeedEvent, Subject},
        ids::{AccountId, CategoryId, CommentId, EventId},
        page::Slice,
        ticket,
    },
    events::{self, Item, Scope},
    service::{self, ServiceError},
};

/// Something that happened to a ticket.
#[derive(Interface)]
#[graphql(
    field(
        name = "id",
        ty = "ID",
        desc = "Tells events apart: an event that comes twice has the same id."
    ),
    field(
        name = "cursor",
        ty = "String",
        desc = "The place in the event log: pass it as `after` to any stream to go on after this event."
    ),
    field(name = "occurred_at", ty = "DateTime<Utc>", desc = "When it happened."),
    field(name = "actor", ty = "Option<Account>", desc = "Who did it; null: the system."),
    field(
        name = "ticket",
        ty = "Ticket",
        desc = "The ticket as it stands when you read this, not as it stood then."
    )
)]
pub enum TicketEvent {
    /// A ticket was opened.
    TicketCreated(TicketCreated),
    /// A comment was posted, or an internal note.
    CommentAdded(CommentAdded),
    /// The status changed.
    StatusChanged(StatusChanged),
    /// The priority changed.
    PriorityChanged(PriorityChanged),
    /// The assignee changed.
    AssigneeChanged(AssigneeChanged),
    /// The category changed.
    CategoryChanged(CategoryChanged),
    /// The summary was reworded.
    SummaryChanged(SummaryChanged),
    /// A customer takes part in the ticket.
    ParticipantAdded(ParticipantAdded),
    /// A customer takes part in the ticket no longer.
    ParticipantRemoved(ParticipantRemoved),
}

/// What a live stream gives: events, and word about the stream itself.
#[derive(Union)]
pub enum StreamMessage {
    /// A ticket was opened.
    TicketCreated(TicketCreated),
    /// A comment was posted, or an internal note.
    CommentAdded(CommentAdded),
    /// The status changed.
    StatusChanged(StatusChanged),
    /// The priority changed.
    PriorityChanged(PriorityChanged),
    /// The assignee changed.
    AssigneeChanged(AssigneeChanged),
    /// The category changed.
    CategoryChanged(CategoryChanged),
    /// The summary was reworded.
    SummaryChanged(SummaryChanged),
    /// A customer takes part in the ticket.
    ParticipantAdded(ParticipantAdded),
    /// A customer takes part in the ticket no longer.
    ParticipantRemoved(ParticipantRemoved),
    /// All up to here has been given.
    Checkpoint(Checkpoint),
    /// You may see a ticket no longer.
    AccessRevoked(AccessRevoked),
    /// The stream can't go on without a gap.
    ResyncRequired(ResyncRequired),
}

/// Declares an event's type: the fields that all events have, and its own.
macro_rules! event_type {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $ty:ty),* } $($own:tt)*) => {
        $(#[$doc])*
        #[derive(Description)]
        pub struct $name {
            of: Arc<FeedEvent>,
            $($field: $ty,)*
        }

        #[Object(use_type_description)]
        impl $name {
            /// Tells events apart: an event that comes twice has the same id.
            async fn id(&self) -> ID {
                event_id(self.of.event.id)
            }

            /// The place in the event log: pass it as `after` to any stream to go on after this event.
            async fn cursor(&self) -> String {
                self.of.cursor.encode()
            }

            /// When it happened.
            async fn occurred_at(&self) -> DateTime<Utc> {
                self.of.event.occurred_at
            }

            /// Who did it; null: the system.
            async fn actor(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
                account(ctx, self.of.event.actor_id).await
            }

            /// The ticket as it stands when you read this, not as it stood then.
            async fn ticket(&self, ctx: &Context<'_>) -> Result<Ticket, Failure> {
                match self.of.event.subject {
                    Subject::Ticket { id, .. } => Ok(Ticket(ctx.loaders()?.require(id).await?)),
                    Subject::Account(_) => Err(Failure::not_found()),
                }
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
    /// A comment was posted, or an internal note (its visibility tells; customers
    /// don't get these).
    CommentAdded { comment_id: CommentId }

    /// The comment.
    async fn comment(&self, ctx: &Context<'_>) -> Result<Comment, Failure> {
        Ok(Comment(ctx.loaders()?.require(self.comment_id).await?))
    }
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
    /// The ticket was assigned, handed on, or taken off somebody.
    AssigneeChanged { from: Option<AccountId>, to: Option<AccountId> }

    /// The old assignee.
    #[graphql(name = "fromAssignee")]
    async fn old_assignee(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        account(ctx, self.from).await
    }

    /// The new assignee.
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
    /// The summary was reworded. `ticket` has it as it stands.
    SummaryChanged {}
}

event_type! {
    /// A customer takes part in the ticket: they see it and its public history, and may
    /// comment.
    ParticipantAdded { account_id: AccountId }

    /// The customer.
    async fn participant(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        Ok(Account::new(ctx.loaders()?.require(self.account_id).await?))
    }
}

event_type! {
    /// A customer takes part in the ticket no longer, and doesn't see it any more.
    ParticipantRemoved { account_id: AccountId }

    /// The customer.
    async fn participant(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        Ok(Account::new(ctx.loaders()?.require(self.account_id).await?))
    }
}

async fn account(ctx: &Context<'_>, id: Option<AccountId>) -> Result<Option<Account>, Failure> {
    match id {
        Some(id) => Ok(Some(Account::new(ctx.loaders()?.require(id).await?))),
        None => Ok(None),
    }
}

impl TicketEvent {
    /// The API's view of an event; `None` for one that is not about a ticket.
    pub(super) fn of(of: Arc<FeedEvent>) -> Option<Self> {
        Some(match of.event.data.clone()? {
            EventData::TicketCreated {} => Self::TicketCreated(TicketCreated { of }),
            EventData::CommentAdded { comment_id } => {
                Self::CommentAdded(CommentAdded { of, comment_id })
            }
            EventData::StatusChanged { from, to } => {
                Self::StatusChanged(StatusChanged { of, from, to })
            }
            EventData::PriorityChanged { from, to } => {
                Self::PriorityChanged(PriorityChanged { of, from, to })
            }
            EventData::AssigneeChanged { from, to } => {
                Self::AssigneeChanged(AssigneeChanged { of, from, to })
            }
            EventData::CategoryChanged { from, to } => {
                Self::CategoryChanged(CategoryChanged { of, from, to })
            }
            EventData::SummaryChanged {} => Self::SummaryChanged(SummaryChanged { of }),
            EventData::ParticipantAdded { account_id } => {
                Self::ParticipantAdded(ParticipantAdded { of, account_id })
            }
            EventData::ParticipantRemoved { account_id } => {
                Self::ParticipantRemoved(ParticipantRemoved { of, account_id })
            }
            // Of accounts.
            _ => return None,
        })
    }
}

impl StreamMessage {
    /// The API's view of what a subscription gives; `None` for what is no message.
    fn of(item: Item) -> Option<Self> {
        match item {
            Item::Event(event) => TicketEvent::of(event).map(Into::into),
            Item::Checkpoint(cursor) => {
                Some(Self::Checkpoint(Checkpoint { cursor: cursor.encode() }))
            }
            Item::AccessRevoked { ticket, cursor } => Some(Self::AccessRevoked(AccessRevoked {
                ticket_id: GlobalId::Ticket(ticket).into(),
                cursor: cursor.encode(),
            })),
            Item::Resync(reason) => Some(Self::ResyncRequired(ResyncRequired::because(reason))),
            Item::Ended(_) => None,
        }
    }
}

impl From<TicketEvent> for StreamMessage {
    fn from(event: TicketEvent) -> Self {
        match event {
            TicketEvent::TicketCreated(event) => Self::TicketCreated(event),
            TicketEvent::CommentAdded(event) => Self::CommentAdded(event),
            TicketEvent::StatusChanged(event) => Self::StatusChanged(event),
            TicketEvent::PriorityChanged(event) => Self::PriorityChanged(event),
            TicketEvent::AssigneeChanged(event) => Self::AssigneeChanged(event),
            TicketEvent::CategoryChanged(event) => Self::CategoryChanged(event),
            TicketEvent::SummaryChanged(event) => Self::SummaryChanged(event),
            TicketEvent::ParticipantAdded(event) => Self::ParticipantAdded(event),
            TicketEvent::ParticipantRemoved(event) => Self::ParticipantRemoved(event),
        }
    }
}

/// All that you may see up to here has been given. Comes when the stream has
/// caught up with what happened before, and every 30 seconds while it is quiet.
#[derive(SimpleObject)]
pub struct Checkpoint {
    /// The place in the event log: pass it as `after` to go on from here.
    cursor: String,
}

/// You may see a ticket no longer, and get nothing more of what happens to it. The
/// stream of that ticket ends with this; others go on.
#[derive(SimpleObject)]
pub struct AccessRevoked {
    /// The ticket's global id: forget what you show of it.
    ticket_id: ID,
    /// The place in the event log: pass it as `after` to go on from here.
    cursor: String,
}

/// The stream can't go on from its `after` without a gap, and ends with this.
/// Read what you show anew, with `eventCursor`, and subscribe after that.
#[derive(SimpleObject)]
pub struct ResyncRequired {
    /// Why.
    reason: ResyncReason,
}

impl ResyncRequired {
    pub(super) fn because(reason: events::ResyncReason) -> Self {
        Self { reason: reason.into() }
    }
}

/// Why a stream can't go on without a gap.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "events::ResyncReason")]
pub enum ResyncReason {
    /// The database was restored to a state from before the cursor.
    HistoryRewound,
    /// More happened since the cursor than is replayed.
    TooFarBehind,
}

connection!(TimelineConnection, TimelineEdge, TicketEvent, "a ticket's events");

impl TimelineConnection {
    /// The page of a ticket's timeline that the arguments ask for.
    pub(super) async fn load(
        ctx: &Context<'_>,
        ticket: &ticket::Ticket,
        args: PageArgs,
    ) -> Result<Self, Failure> {
        let page = args.page(decode_place)?;
        let key = TimelineKey {
            ticket: ticket.id,
            reporter: ticket.reporter_id,
            participants: ticket.participant_ids.clone(),
            page,
        };
        let none = Slice { items: vec![], has_previous: false, has_next: false };
        let slice = ctx.loaders()?.get(key).await?.unwrap_or(none);
        let (has_previous, has_next) = (slice.has_previous, slice.has_next);
        let known = slice.items.into_iter().filter_map(|event| {
            let place = encode_place(event.event.id);
            Some((place, TicketEvent::of(Arc::new(event))?))
        });
        Ok(Self::new(Slice { items: known.collect(), has_previous, has_next }))
    }
}

fn encode_place(EventId(id): EventId) -> String {
    URL_SAFE_NO_PAD.encode(id.to_be_bytes())
}

fn decode_place(text: &str) -> Option<EventId> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(EventId(i64::from_be_bytes(bytes.try_into().ok()?)))
}

#[derive(Default)]
pub struct EventQuery;

#[Object]
impl EventQuery {
    /// A place in the event log from before this request read anything: a stream
    /// with this `after` may repeat what the request shows, and misses nothing.
    async fn event_cursor(&self, ctx: &Context<'_>) -> Result<String, Failure> {
        ctx.identity()?;
        Ok(ctx.cursor()?.encode())
    }
}

#[derive(Default)]
pub struct EventSubscription;

#[Subscription]
impl EventSubscription {
    /// What happens to one ticket, as far as you may see it: first what happened
    /// after the cursor, then a checkpoint, then each event as it happens.
    async fn ticket_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket.")] ticket_id: ID,
        #[graphql(
            desc = "The cursor of the last event or checkpoint that you have; none: from now on."
        )]
        after: Option<String>,
    ) -> Result<Messages, Failure> {
        if let Some(given) = ctx.data_opt::<InjectedItem>() {
            return Ok(given_messages(given));
        }
        ctx.identity()?;
        let id = GlobalId::ticket(&ticket_id).ok_or_else(Failure::not_found)?;
        messages(ctx, Scope::Ticket(id), after).await
    }

    /// What happens to all tickets that you may see, a customer's own or all for
    /// staff: first what happened after the cursor, then a checkpoint, then each
    /// event as it happens.
    async fn inbox_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The cursor of the last event or checkpoint that you have; none: from now on."
        )]
        after: Option<String>,
    ) -> Result<Messages, Failure> {
        if let Some(given) = ctx.data_opt::<InjectedItem>() {
            return Ok(given_messages(given));
        }
        messages(ctx, Scope::Inbox, after).await
    }

    /// What happens to the tickets of a queue, for staff: first what happened after the
    /// cursor, then a checkpoint, then each event as it happens. An event is given if its
    /// ticket fitted the filter before or after it, so that you see tickets come and go.
    async fn queue_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Narrows the queue; all tickets by default. `text` and `waitingSince` can't be used here."
        )]
        filter: Option<TicketFilterInput>,
        #[graphql(
            desc = "The cursor of the last event or checkpoint that you have; none: from now on."
        )]
        after: Option<String>,
    ) -> Result<Messages, Failure> {
        if let Some(given) = ctx.data_opt::<InjectedItem>() {
            return Ok(given_messages(given));
        }
        ctx.identity()?;
        service::ticket::require_staff(ctx.actor()?)?;
        let filter = filter.unwrap_or_default().of_stream()?;
        messages(ctx, Scope::Queue(Arc::new(filter)), after).await
    }
}

type Messages = BoxStream<'static, Result<StreamMessage, Failure>>;

async fn messages(
    ctx: &Context<'_>,
    scope: Scope,
    after: Option<String>,
) -> Result<Messages, Failure> {
    ctx.identity()?;
    let after = ctx.resume_after(after.as_deref())?;
    let subscription = ctx.log()?.subscribe(ctx.actor()?, scope, after).await?;
    if let Some(slot) = ctx.data_opt::<SubscriptionSlot>() {
        slot.put(subscription);
        return Ok(stream::empty().boxed());
    }
    let signals = ctx.data_opt::<StreamSignals>().cloned().unwrap_or_default();
    let messages = stream::unfold(Some((subscription, signals)), |state| async move {
        let (mut subscription, signals) = state?;
        loop {
            let item = match subscription.next().await {
                Ok(None) => return None,
                Ok(Some(item)) => item,
                Err(error) => return Some((Err(ServiceError::from(error).into()), None)),
            };
            if let Item::Ended(end) = item {
                signals.set_end(end);
                return None;
            }
            if let Some(cursor) = item.cursor() {
                signals.set_position(cursor);
            }
            if let Some(message) = StreamMessage::of(item) {
                return Some((Ok(message), Some((subscription, signals))));
            }
        }
    });
    Ok(messages.boxed())
}

/// The one message that a request is given, to be executed.
fn given_messages(given: &InjectedItem) -> Messages {
    let message = given.take().and_then(|item| match item {
        Ok(item) => StreamMessage::of(item).map(Ok),
        Err(error) => Some(Err(error.into())),
    });
    stream::iter(message).boxed()
}
