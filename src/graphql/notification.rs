//! Notifications, and their live stream.

use async_graphql::{
    Context, Description, Enum, ID, InputObject, Object, SimpleObject, Subscription, Union,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};

use super::{
    context::{ContextExt as _, StreamProgress},
    error::{Failure, UserError},
    event::{ResyncRequired, TicketEvent},
    id::GlobalId,
    loader::FeedPosition,
    pagination::{PageArgs, connection},
    ticket::Ticket,
};
use crate::{
    domain::notification,
    events::{NotificationItem, StreamEnd},
    service::{self, ServiceError},
};

/// What a notification means to its recipient.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "notification::NotificationKind")]
pub enum NotificationKind {
    /// You opened a ticket: this confirmation is sent by mail only. Or support opened a ticket for
    /// you: then the notification is also shown in the app.
    TicketCreated,
    /// A customer opened a ticket. Sent by mail only, to the staff address of its category.
    TicketOpened,
    /// Somebody commented on your ticket, or on one that you participate in.
    SupportAnswered,
    /// The status of a ticket of yours, or assigned to you, changed.
    StatusChanged,
    /// A ticket of yours, or assigned to you, was resolved or closed.
    TicketClosed,
    /// Somebody commented on a ticket that is assigned to you.
    CustomerAnswered,
    /// A ticket was assigned to you. This is always mailed too.
    TicketAssigned,
    /// You were added to a ticket.
    ParticipantAdded,
}

/// A notification. You are not notified of what you did yourself.
#[derive(Description)]
pub struct Notification(pub notification::Notification);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl Notification {
    /// An opaque identifier. Store it and send it back unchanged. `node` does not accept it.
    async fn id(&self) -> ID {
        GlobalId::Notification(self.0.id).into()
    }

    /// What it means to you.
    async fn kind(&self) -> NotificationKind {
        self.0.kind.into()
    }

    /// The ticket in its current state.
    async fn ticket(&self, ctx: &Context<'_>) -> Result<Ticket, Failure> {
        Ok(Ticket(ctx.loaders()?.require(self.0.ticket_id).await?))
    }

    /// The event that you are notified of, or null if you may no longer see it.
    async fn event(&self, ctx: &Context<'_>) -> Result<Option<TicketEvent>, Failure> {
        let event = ctx.loaders()?.get(FeedPosition(self.0.pos)).await?;
        Ok(event.and_then(TicketEvent::of))
    }

    /// When the event happened.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When you read it, or null if it is unread.
    async fn read_at(&self) -> Option<DateTime<Utc>> {
        self.0.read_at
    }
}

connection!(NotificationConnection, NotificationEdge, Notification, "your notifications");

impl NotificationConnection {
    /// Loads a page of the viewer's notifications.
    pub(super) async fn load(
        ctx: &Context<'_>,
        unread_only: bool,
        args: PageArgs,
    ) -> Result<Self, Failure> {
        let page = args.page(decode_place)?;
        let slice =
            service::notification::page(ctx.actor()?, ctx.services()?, unread_only, &page).await?;
        Ok(Self::new(slice.map(|it| (encode_place(it.pos), Notification(it)))))
    }
}

fn encode_place(pos: i64) -> String {
    URL_SAFE_NO_PAD.encode(pos.to_be_bytes())
}

fn decode_place(text: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

/// The input of `markNotificationsRead`.
#[derive(InputObject)]
pub struct MarkNotificationsReadInput {
    /// The notifications to mark, at most 100; all of yours by default. Those of others, and
    /// those that you have already read, stay unchanged.
    ids: Option<Vec<ID>>,
}

/// The payload of `markNotificationsRead`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct MarkNotificationsReadPayload {
    /// The number of your unread notifications afterwards.
    unread_notification_count: Option<i64>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The most ids in a call.
const MAX_IDS: usize = 100;

#[derive(Default)]
pub struct NotificationMutation;

#[Object]
impl NotificationMutation {
    /// Marks some or all of your notifications as read. Fails with `RATE_LIMITED` if a customer sets more
    /// marks within a minute than the installation allows.
    async fn mark_notifications_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The notifications to mark.")] input: MarkNotificationsReadInput,
    ) -> Result<MarkNotificationsReadPayload, Failure> {
        let account = ctx.identity()?.id;
        let ids = input.ids.map(|ids| {
            if ids.len() > MAX_IDS {
                return Err(Failure::bad_request(format!(
                    "`ids` must have at most {MAX_IDS} items."
                )));
            }
            Ok(ids.iter().filter_map(GlobalId::notification).collect::<Vec<_>>())
        });
        let ids = ids.transpose()?;
        let marked =
            service::notification::mark_read(ctx.actor()?, ctx.services()?, ids.as_deref()).await?;
        if marked.has_changed {
            ctx.log()?.announce_read(account);
        }
        Ok(MarkNotificationsReadPayload {
            unread_notification_count: Some(marked.unread),
            user_errors: vec![],
        })
    }
}

/// A message of the stream of notifications.
#[derive(Union)]
#[graphql(crate = "crate::graphql::executor")]
pub enum NotificationMessage {
    /// A new notification.
    NotificationAdded(NotificationAdded),
    /// Everything up to this position was delivered.
    NotificationCheckpoint(NotificationCheckpoint),
    /// The stream cannot continue without a gap.
    ResyncRequired(ResyncRequired),
}

/// A new notification.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct NotificationAdded {
    /// The position in the event log. Pass it as `after` to continue from here.
    cursor: String,
    /// The notification.
    notification: Notification,
    /// The current number of your unread notifications. It follows what you read elsewhere: at once if
    /// that was on the same node, and otherwise within 30 seconds.
    unread_notification_count: i64,
    /// The current value of `viewer.openTicketCount`.
    open_ticket_count: i64,
    /// The current value of `viewer.unreadTicketCount`. It follows what you read elsewhere as
    /// `unreadNotificationCount` does.
    unread_ticket_count: i64,
}

/// Everything up to this position was delivered. Sent when the stream has caught up with the
/// past, when you have read something on the same node, and every 30 seconds while it is quiet.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct NotificationCheckpoint {
    /// The position in the event log. Pass it as `after` to continue from here.
    cursor: String,
    /// The current number of your unread notifications. It follows what you read elsewhere: at once if
    /// that was on the same node, and otherwise within 30 seconds.
    unread_notification_count: i64,
    /// The current value of `viewer.openTicketCount`.
    open_ticket_count: i64,
    /// The current value of `viewer.unreadTicketCount`. It follows what you read elsewhere as
    /// `unreadNotificationCount` does.
    unread_ticket_count: i64,
}

#[derive(Default)]
pub struct NotificationSubscription;

#[Subscription]
impl NotificationSubscription {
    /// Your notifications: those after the cursor, then a checkpoint with the number of unread
    /// ones, then each new notification as it comes. One that was delivered late can come a second
    /// time after a reconnection: compare its `id`.
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Continue after this cursor, that of the last message you processed. Without it the stream begins now."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<NotificationMessage, Failure>> + use<>, Failure> {
        ctx.identity()?;
        let after = ctx.resume_after(after.as_deref())?;
        let progress = ctx.data_opt::<StreamProgress>().cloned().unwrap_or_default();
        let (log, actor) = (ctx.log()?, ctx.actor()?);
        let starting = || log.notifications(actor, after);
        let notifications = progress.start(ctx.budget()?, starting).await?;
        Ok(stream::unfold(Some((notifications, progress)), |state| async move {
            let (mut notifications, progress) = state?;
            let message = match notifications.next().await {
                Ok(None) => return None,
                Ok(Some(NotificationItem::SessionEnded)) => {
                    progress.set_end(StreamEnd::SessionEnded);
                    return None;
                }
                Ok(Some(item)) => {
                    if let NotificationItem::Added { cursor, .. }
                    | NotificationItem::Checkpoint { cursor, .. } = item
                    {
                        progress.set_position(cursor);
                    }
                    message(item)?
                }
                Err(error) => return Some((Err(ServiceError::from(error).into()), None)),
            };
            progress.wait_for_turn().await;
            Some((Ok(message), Some((notifications, progress))))
        }))
    }
}

fn message(item: NotificationItem) -> Option<NotificationMessage> {
    Some(match item {
        NotificationItem::Added { cursor, notification, counts } => {
            NotificationMessage::NotificationAdded(NotificationAdded {
                cursor: cursor.encode(),
                notification: Notification(notification),
                unread_notification_count: counts.notifications,
                open_ticket_count: counts.tickets.open,
                unread_ticket_count: counts.tickets.unread,
            })
        }
        NotificationItem::Checkpoint { cursor, counts } => {
            NotificationMessage::NotificationCheckpoint(NotificationCheckpoint {
                cursor: cursor.encode(),
                unread_notification_count: counts.notifications,
                open_ticket_count: counts.tickets.open,
                unread_ticket_count: counts.tickets.unread,
            })
        }
        NotificationItem::Resync(reason) => {
            NotificationMessage::ResyncRequired(ResyncRequired::because(reason))
        }
        NotificationItem::SessionEnded => return None,
    })
}
