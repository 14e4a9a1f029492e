//! Events: the timeline of a ticket, and the live streams.

mod kinds;

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Interface, Object, SimpleObject, Subscription, Union};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream, stream::BoxStream};

use self::kinds::{
    AssigneeChanged, CategoryChanged, CommentAdded, CommentEdited, ContentRedacted,
    InvitationDeclined, InvitationWithdrawn, ParticipantAdded, ParticipantInvited,
    ParticipantRemoved, PriorityChanged, StatusChanged, SummaryChanged, TicketCreated,
    TicketMerged, TicketUnmerged, UnreadableEvent,
};
use super::{
    account::Account,
    context::{ContextExt as _, StreamProgress},
    error::Failure,
    fan_out::{InjectedItem, SubscriptionSlot},
    id::GlobalId,
    loader::TimelineKey,
    pagination::{CursorKey, PageArgs, connection, not_of_list},
    prefetch,
    ticket::{Ticket, TicketFilterInput},
};
use crate::{
    domain::{
        event::{self, FeedEvent},
        ids::EventId,
        page::Slice,
        ticket,
    },
    events::{self, Item, StreamScope},
    service::{
        self, ServiceError,
        timeline::{TimelineOf, TimelinePage, TimelineRequest},
    },
};

/// Something that happened to a ticket.
#[derive(Interface)]
#[graphql(crate = "crate::graphql::executor")]
#[graphql(
    field(
        name = "id",
        ty = "ID",
        desc = "Identifies the event. An event that is delivered twice has the same id."
    ),
    field(
        name = "cursor",
        ty = "String",
        desc = "The event's position in the event log. Pass it as `after` to any stream to continue after this event."
    ),
    field(name = "occurred_at", ty = "DateTime<Utc>", desc = "When it happened."),
    field(
        name = "actor",
        ty = "Option<Account>",
        desc = "The account that caused it, or null for the system."
    ),
    field(
        name = "ticket",
        ty = "Ticket",
        desc = "The ticket in its current state, not its state at the time of the event."
    )
)]
pub enum TicketEvent {
    /// A ticket was opened.
    TicketCreated(TicketCreated),
    /// A comment or an internal note was posted.
    CommentAdded(CommentAdded),
    /// The author edited a comment.
    CommentEdited(CommentEdited),
    /// A text or a file was erased.
    ContentRedacted(ContentRedacted),
    /// The status changed.
    StatusChanged(StatusChanged),
    /// The priority changed.
    PriorityChanged(PriorityChanged),
    /// The assignee changed.
    AssigneeChanged(AssigneeChanged),
    /// The category changed.
    CategoryChanged(CategoryChanged),
    /// The summary was edited.
    SummaryChanged(SummaryChanged),
    /// Somebody was invited to take part in the ticket.
    ParticipantInvited(ParticipantInvited),
    /// An invitation was declined.
    InvitationDeclined(InvitationDeclined),
    /// An invitation was withdrawn.
    InvitationWithdrawn(InvitationWithdrawn),
    /// A customer takes part in the ticket from now on.
    ParticipantAdded(ParticipantAdded),
    /// A customer was removed from the ticket.
    ParticipantRemoved(ParticipantRemoved),
    /// A ticket was merged into another one.
    TicketMerged(TicketMerged),
    /// A merge was undone.
    TicketUnmerged(TicketUnmerged),
    /// An event of a kind that this version of the server does not know.
    UnreadableEvent(UnreadableEvent),
}

/// A message of a live stream: an event, or information about the stream itself.
#[derive(Union)]
#[graphql(crate = "crate::graphql::executor")]
pub enum StreamMessage {
    /// A ticket was opened.
    TicketCreated(TicketCreated),
    /// A comment or an internal note was posted.
    CommentAdded(CommentAdded),
    /// The author edited a comment.
    CommentEdited(CommentEdited),
    /// A text or a file was erased.
    ContentRedacted(ContentRedacted),
    /// The status changed.
    StatusChanged(StatusChanged),
    /// The priority changed.
    PriorityChanged(PriorityChanged),
    /// The assignee changed.
    AssigneeChanged(AssigneeChanged),
    /// The category changed.
    CategoryChanged(CategoryChanged),
    /// The summary was edited.
    SummaryChanged(SummaryChanged),
    /// Somebody was invited to take part in the ticket.
    ParticipantInvited(ParticipantInvited),
    /// An invitation was declined.
    InvitationDeclined(InvitationDeclined),
    /// An invitation was withdrawn.
    InvitationWithdrawn(InvitationWithdrawn),
    /// A customer takes part in the ticket from now on.
    ParticipantAdded(ParticipantAdded),
    /// A customer was removed from the ticket.
    ParticipantRemoved(ParticipantRemoved),
    /// A ticket was merged into another one.
    TicketMerged(TicketMerged),
    /// A merge was undone.
    TicketUnmerged(TicketUnmerged),
    /// An event of a kind that this version of the server does not know.
    UnreadableEvent(UnreadableEvent),
    /// Everything up to this position was delivered.
    Checkpoint(Checkpoint),
    /// You can no longer see a ticket.
    AccessRevoked(AccessRevoked),
    /// The stream cannot continue without a gap.
    ResyncRequired(ResyncRequired),
}

impl TicketEvent {
    /// The API's view of an event. `None` if the event is about an account.
    pub(super) fn of(of: Arc<FeedEvent>) -> Option<Self> {
        let ticket = of.event.ticket()?;
        let (ticket_id, happened) = (ticket.id, ticket.event);
        Some(match happened {
            event::TicketEvent::TicketCreated {} => {
                Self::TicketCreated(TicketCreated { of, ticket_id })
            }
            event::TicketEvent::CommentAdded { comment_id } => {
                Self::CommentAdded(CommentAdded { of, ticket_id, comment_id })
            }
            event::TicketEvent::CommentEdited { comment_id } => {
                Self::CommentEdited(CommentEdited { of, ticket_id, comment_id })
            }
            event::TicketEvent::ContentRedacted { content: redacted } => {
                Self::ContentRedacted(ContentRedacted { of, ticket_id, redacted })
            }
            event::TicketEvent::StatusChanged { from, to } => {
                Self::StatusChanged(StatusChanged { of, ticket_id, from, to })
            }
            event::TicketEvent::PriorityChanged { from, to } => {
                Self::PriorityChanged(PriorityChanged { of, ticket_id, from, to })
            }
            event::TicketEvent::AssigneeChanged { from, to } => {
                Self::AssigneeChanged(AssigneeChanged { of, ticket_id, from, to })
            }
            event::TicketEvent::CategoryChanged { from, to } => {
                Self::CategoryChanged(CategoryChanged { of, ticket_id, from, to })
            }
            event::TicketEvent::SummaryChanged {} => {
                Self::SummaryChanged(SummaryChanged { of, ticket_id })
            }
            event::TicketEvent::ParticipantInvited { invitation_id } => {
                Self::ParticipantInvited(ParticipantInvited { of, ticket_id, invitation_id })
            }
            event::TicketEvent::InvitationDeclined { invitation_id } => {
                Self::InvitationDeclined(InvitationDeclined { of, ticket_id, invitation_id })
            }
            event::TicketEvent::InvitationWithdrawn { invitation_id } => {
                Self::InvitationWithdrawn(InvitationWithdrawn { of, ticket_id, invitation_id })
            }
            event::TicketEvent::ParticipantAdded { account_id } => {
                Self::ParticipantAdded(ParticipantAdded { of, ticket_id, account_id })
            }
            event::TicketEvent::ParticipantRemoved { account_id } => {
                Self::ParticipantRemoved(ParticipantRemoved { of, ticket_id, account_id })
            }
            event::TicketEvent::TicketMerged { from: from_id, into: into_id, .. } => {
                Self::TicketMerged(TicketMerged { of, ticket_id, from_id, into_id })
            }
            event::TicketEvent::TicketUnmerged { from: from_id, into: into_id } => {
                Self::TicketUnmerged(TicketUnmerged { of, ticket_id, from_id, into_id })
            }
            event::TicketEvent::Unknown => Self::UnreadableEvent(UnreadableEvent { of, ticket_id }),
        })
    }
}

impl StreamMessage {
    /// The API's view of an item. `None` for the end of a stream, which is no message.
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
            TicketEvent::CommentEdited(event) => Self::CommentEdited(event),
            TicketEvent::ContentRedacted(event) => Self::ContentRedacted(event),
            TicketEvent::StatusChanged(event) => Self::StatusChanged(event),
            TicketEvent::PriorityChanged(event) => Self::PriorityChanged(event),
            TicketEvent::AssigneeChanged(event) => Self::AssigneeChanged(event),
            TicketEvent::CategoryChanged(event) => Self::CategoryChanged(event),
            TicketEvent::SummaryChanged(event) => Self::SummaryChanged(event),
            TicketEvent::ParticipantInvited(event) => Self::ParticipantInvited(event),
            TicketEvent::InvitationDeclined(event) => Self::InvitationDeclined(event),
            TicketEvent::InvitationWithdrawn(event) => Self::InvitationWithdrawn(event),
            TicketEvent::ParticipantAdded(event) => Self::ParticipantAdded(event),
            TicketEvent::ParticipantRemoved(event) => Self::ParticipantRemoved(event),
            TicketEvent::TicketMerged(event) => Self::TicketMerged(event),
            TicketEvent::TicketUnmerged(event) => Self::TicketUnmerged(event),
            TicketEvent::UnreadableEvent(event) => Self::UnreadableEvent(event),
        }
    }
}

/// Everything up to this position was delivered. Sent when the stream has caught up with the
/// past, and then every 30 seconds while it is quiet.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct Checkpoint {
    /// The position in the event log. Pass it as `after` to continue from here.
    cursor: String,
}

/// You can no longer see a ticket, and receive none of its later events. The stream of that
/// ticket ends after this message; other streams continue. An event that was on its way may come as
/// `data: null` with the error `NOT_FOUND` before: ignore it.
///
/// If you were away, you may have the ticket back since: read it and subscribe to it again.
/// What was said while it was not yours is in no stream, so read the ticket at your own
/// `ParticipantAdded`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct AccessRevoked {
    /// The ticket's id. Remove the ticket from what you show.
    ticket_id: ID,
    /// The position in the event log. Pass it as `after` to continue from here.
    cursor: String,
}

/// The stream cannot continue from its `after` without a gap, and ends after this message.
/// Read again what you show, together with `eventCursor`, and subscribe after that cursor.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct ResyncRequired {
    /// The reason.
    reason: ResyncReason,
}

impl ResyncRequired {
    pub(super) fn because(reason: events::ResyncReason) -> Self {
        Self { reason: reason.into() }
    }
}

/// Why a stream cannot continue without a gap.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "events::ResyncReason")]
pub enum ResyncReason {
    /// The database was restored to a state before the cursor.
    HistoryRewound,
    /// More happened since the cursor than the server replays.
    TooFarBehind,
}

connection!(TimelineConnection, TimelineEdge, TicketEvent, "a ticket's events", EventId);

impl TimelineConnection {
    /// Loads a page of a ticket's timeline.
    pub(super) async fn load(
        ctx: &Context<'_>,
        ticket: &ticket::Ticket,
        args: PageArgs,
    ) -> Result<Self, Failure> {
        let [comments, cursors] =
            [["comment"], ["cursor"]].map(|path| prefetch::selects(ctx, &path));
        let page = args.page(decode_place)?;
        let arguments = match (page.after, page.before) {
            (_, None) => "`after`",
            (None, _) => "`before`",
            _ => "`after` or `before`",
        };
        let request = TimelineRequest { page, comments, cursors };
        let of = TimelineOf {
            id: ticket.id,
            reporter: ticket.reporter_id,
            participants: &ticket.participant_ids,
            events: ticket.events,
        };
        let (loaders, cursor) = (ctx.loaders()?, ctx.cursor()?);
        let cached =
            service::timeline::cached(ctx.actor()?, ctx.services()?, &of, &request, cursor)?;
        let page = match cached {
            Some(page) => Some(page),
            None => loaders.get(TimelineKey::new(&of, request)).await?,
        };
        let page = page.ok_or_else(|| not_of_list(arguments))?;
        prefetch_page(ctx, ticket, &page).await?;
        let Slice { items, has_previous, has_next } = &page.events;
        let events = items
            .iter()
            .filter_map(|event| Some((event.event.id, TicketEvent::of(Arc::clone(event))?)));
        let (has_previous, has_next) = (*has_previous, *has_next);
        Ok(Self::new(Slice { items: events.collect(), has_previous, has_next }))
    }
}

/// Adds what the fields of a page ask for, so that they don't wait.
async fn prefetch_page(
    ctx: &Context<'_>,
    ticket: &ticket::Ticket,
    page: &TimelinePage,
) -> Result<(), Failure> {
    if !ctx.is_query() {
        return Ok(());
    }
    let authors = prefetch::selects(ctx, &["comment", "author"]);
    let actors = prefetch::selects(ctx, &["actor"]);
    let comments = page.comments.iter();
    ctx.loaders()?.add(comments.clone().map(|comment| (comment.id, Arc::clone(comment))));
    let authors = comments.filter(|_| authors).map(|comment| comment.author_id);
    let actors = page.events.items.iter().filter(|_| actors).filter_map(|it| it.event.actor_id);
    prefetch::accounts(ctx, ticket, authors.chain(actors)).await
}

impl CursorKey for EventId {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.to_be_bytes())
    }
}

fn decode_place(text: &str) -> Option<EventId> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(EventId(i64::from_be_bytes(bytes.try_into().ok()?)))
}

#[derive(Default)]
pub struct EventQuery;

#[Object]
impl EventQuery {
    /// The current position in the event log. Query it together with the data that you show, and
    /// subscribe with it as `after`: the stream then misses nothing, and may repeat events that
    /// the data already includes.
    async fn event_cursor(&self, ctx: &Context<'_>) -> Result<String, Failure> {
        ctx.identity()?;
        Ok(ctx.start()?.encode())
    }
}

#[derive(Default)]
pub struct EventSubscription;

#[Subscription]
impl EventSubscription {
    /// The events of one ticket that you can see: those after the cursor, then a checkpoint,
    /// then each new event as it happens. `NOT_FOUND` if you cannot see the ticket.
    async fn ticket_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket.")] ticket_id: ID,
        #[graphql(
            desc = "Continue after this cursor, that of the last event or checkpoint you processed. Without it the stream begins now."
        )]
        after: Option<String>,
    ) -> Result<Messages, Failure> {
        if let Some(injected) = ctx.data_opt::<InjectedItem>() {
            return injected_message(ctx, injected);
        }
        ctx.identity()?;
        let id = GlobalId::ticket(&ticket_id).ok_or_else(Failure::not_found)?;
        messages(ctx, StreamScope::Ticket(id), after).await
    }

    /// The events of every ticket that you can see: for customers their own tickets and those
    /// they participate in, for staff all. Those after the cursor come first, then a
    /// checkpoint, then each new event as it happens.
    async fn inbox_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Continue after this cursor, that of the last event or checkpoint you processed. Without it the stream begins now."
        )]
        after: Option<String>,
    ) -> Result<Messages, Failure> {
        if let Some(injected) = ctx.data_opt::<InjectedItem>() {
            return injected_message(ctx, injected);
        }
        messages(ctx, StreamScope::Inbox, after).await
    }

    /// The events of the tickets in a queue, for staff: those after the cursor, then a
    /// checkpoint, then each new event as it happens. Includes an event if its ticket matched
    /// the filter before or after it, so that you see tickets enter and leave the queue.
    async fn queue_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Include only tickets that match; all tickets by default. `text`, `waitingSince` and `isUnread` are not supported here."
        )]
        filter: Option<TicketFilterInput>,
        #[graphql(
            desc = "Continue after this cursor, that of the last event or checkpoint you processed. Without it the stream begins now."
        )]
        after: Option<String>,
    ) -> Result<Messages, Failure> {
        if let Some(injected) = ctx.data_opt::<InjectedItem>() {
            return injected_message(ctx, injected);
        }
        ctx.identity()?;
        service::ticket::require_staff(ctx.actor()?)?;
        let filter = filter.unwrap_or_default().for_stream(ctx.actor()?)?;
        messages(ctx, StreamScope::Queue(Arc::new(filter)), after).await
    }
}

type Messages = BoxStream<'static, Result<StreamMessage, Failure>>;

async fn messages(
    ctx: &Context<'_>,
    scope: StreamScope,
    after: Option<String>,
) -> Result<Messages, Failure> {
    ctx.identity()?;
    let after = ctx.resume_after(after.as_deref())?.map(|after| after.feed);
    let progress = ctx.data_opt::<StreamProgress>().cloned().unwrap_or_default();
    let (log, actor) = (ctx.log()?, ctx.actor()?);
    let starting = || log.subscribe(actor, scope, after);
    let subscription = progress.start(ctx.budget()?, starting).await?;
    if let Some(slot) = ctx.data_opt::<SubscriptionSlot>() {
        slot.put(subscription);
        return Ok(stream::empty().boxed());
    }
    let messages = stream::unfold(Some((subscription, progress)), |state| async move {
        let (mut subscription, progress) = state?;
        loop {
            let item = match subscription.next().await {
                Ok(None) => return None,
                Ok(Some(item)) => item,
                Err(error) => return Some((Err(ServiceError::from(error).into()), None)),
            };
            if let Item::Ended(end) = item {
                progress.set_end(end);
                return None;
            }
            if let Some(cursor) = item.cursor() {
                progress.set_position(cursor);
            }
            if let Some(message) = StreamMessage::of(item) {
                progress.wait_for_turn().await;
                return Some((Ok(message), Some((subscription, progress))));
            }
        }
    });
    Ok(messages.boxed())
}

/// The message of a request that executes one injected item.
fn injected_message(ctx: &Context<'_>, injected: &InjectedItem) -> Result<Messages, Failure> {
    let message = match injected.take() {
        None => None,
        Some(Ok(item)) => {
            add_posted(ctx, &item)?;
            StreamMessage::of(item).map(Ok)
        }
        Some(Err(error)) => Some(Err(error.into())),
    };
    Ok(stream::iter(message).boxed())
}

/// Adds the comment of an event that this node has just posted, so that the message does not read it.
/// Only a stream may show a comment as it was posted: if its text is erased meanwhile, an event that
/// says so follows.
fn add_posted(ctx: &Context<'_>, item: &Item) -> Result<(), Failure> {
    let Item::Event(event) = item else { return Ok(()) };
    let posted = service::comment::just_posted(ctx.actor()?, ctx.services()?, &event.event);
    ctx.loaders()?.add(posted.into_iter().map(|comment| (comment.id, comment)));
    Ok(())
}
