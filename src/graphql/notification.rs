//! The bell: notifications, and their live stream.

use std::sync::Arc;

use async_graphql::{
    Context, Description, Enum, ID, InputObject, Object, SimpleObject, Subscription, Union,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};

use super::{
    context::{ContextExt as _, StreamSignals},
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

/// What a notification means to its reader.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "notification::NotificationKind")]
pub enum NotificationKind {
    /// Your ticket was opened: its confirmation, which comes by mail only.
    TicketCreated,
    /// A ticket was opened in a category that you look after; by mail only.
    TicketOpened,
    /// Somebody answered on your ticket.
    SupportAnswered,
    /// The status of your ticket changed, or of one that is assigned to you.
    StatusChanged,
    /// Your ticket was resolved or closed, or one that is assigned to you.
    TicketClosed,
    /// Somebody wrote on a ticket that is assigned to you.
    CustomerAnswered,
    /// A ticket was assigned to you.
    TicketAssigned,
    /// Somebody let you take part in a ticket.
    ParticipantAdded,
}

/// Something on your bell. You are not told of your own doing.
#[derive(Description)]
pub struct Notification(pub notification::Notification);

#[Object(use_type_description)]
impl Notification {
    /// Its global id; `node` doesn't take it.
    async fn id(&self) -> ID {
        GlobalId::Notification(self.0.id).into()
    }

    /// What it means to you.
    async fn kind(&self) -> NotificationKind {
        self.0.kind.into()
    }

    /// The ticket that it is about, as it stands now.
    async fn ticket(&self, ctx: &Context<'_>) -> Result<Ticket, Failure> {
        Ok(Ticket(ctx.loaders()?.require(self.0.ticket_id).await?))
    }

    /// What happened.
    async fn event(&self, ctx: &Context<'_>) -> Result<Option<TicketEvent>, Failure> {
        let event = ctx.loaders()?.get(FeedPosition(self.0.pos)).await?;
        Ok(event.and_then(|event| TicketEvent::of(Arc::new(event))))
    }

    /// When it happened.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When you read it; null: not yet.
    async fn read_at(&self) -> Option<DateTime<Utc>> {
        self.0.read_at
    }
}

connection!(NotificationConnection, NotificationEdge, Notification, "your notifications");

impl NotificationConnection {
    /// The page of the viewer's notifications that the arguments ask for.
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

/// What `markNotificationsRead` takes.
#[derive(InputObject)]
pub struct MarkNotificationsReadInput {
    /// The notifications, 100 at most; without them: all of yours. Those that are
    /// not yours, or that you have read before, stay as they are.
    ids: Option<Vec<ID>>,
}

/// What `markNotificationsRead` answers.
#[derive(SimpleObject)]
pub struct MarkNotificationsReadPayload {
    /// How many you have not read now.
    unread_notification_count: Option<i64>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// So many ids a call.
const MAX_IDS: usize = 100;

#[derive(Default)]
pub struct NotificationMutation;

#[Object]
impl NotificationMutation {
    /// Notes that you have read some of your notifications, or all.
    async fn mark_notifications_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which to mark.")] input: MarkNotificationsReadInput,
    ) -> Result<MarkNotificationsReadPayload, Failure> {
        ctx.identity()?;
        let ids = input.ids.map(|ids| {
            if ids.len() > MAX_IDS {
                return Err(Failure::bad_request(format!("`ids` takes {MAX_IDS} ids at most.")));
            }
            Ok(ids.iter().filter_map(GlobalId::notification).collect::<Vec<_>>())
        });
        let ids = ids.transpose()?;
        let unread =
            service::notification::mark_read(ctx.actor()?, ctx.services()?, ids.as_deref()).await?;
        Ok(MarkNotificationsReadPayload {
            unread_notification_count: Some(unread),
            user_errors: vec![],
        })
    }
}

/// What the stream of notifications gives.
#[derive(Union)]
pub enum NotificationMessage {
    /// Something new on your bell.
    NotificationAdded(NotificationAdded),
    /// All up to here has been given.
    NotificationCheckpoint(NotificationCheckpoint),
    /// The stream can't go on without a gap.
    ResyncRequired(ResyncRequired),
}

/// Something new on your bell.
#[derive(SimpleObject)]
pub struct NotificationAdded {
    /// The place in the event log: pass it as `after` to go on from here.
    cursor: String,
    /// What is new.
    notification: Notification,
    /// How many you have not read now.
    unread_notification_count: i64,
    /// As `viewer.openTicketCount` is now.
    open_ticket_count: i64,
    /// As `viewer.unreadTicketCount` is now: what you have read elsewhere shows here.
    unread_ticket_count: i64,
}

/// All up to here has been given. Comes when the stream has caught up, and every
/// 30 seconds while it is quiet.
#[derive(SimpleObject)]
pub struct NotificationCheckpoint {
    /// The place in the event log: pass it as `after` to go on from here.
    cursor: String,
    /// How many you have not read now.
    unread_notification_count: i64,
    /// As `viewer.openTicketCount` is now.
    open_ticket_count: i64,
    /// As `viewer.unreadTicketCount` is now: what you have read elsewhere shows here.
    unread_ticket_count: i64,
}

#[derive(Default)]
pub struct NotificationSubscription;

#[Subscription]
impl NotificationSubscription {
    /// What comes on your bell: first what came after the cursor, then a checkpoint
    /// with the count of unread ones, then each notification as it comes.
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The cursor of the last message that you have; none: from now on."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<NotificationMessage, Failure>> + use<>, Failure> {
        ctx.identity()?;
        let after = ctx.resume_after(after.as_deref())?;
        let notifications = ctx.log()?.notifications(ctx.actor()?, after).await?;
        let signals = ctx.data_opt::<StreamSignals>().cloned().unwrap_or_default();
        Ok(stream::unfold(Some((notifications, signals)), |state| async move {
            let (mut notifications, signals) = state?;
            let message = match notifications.next().await {
                Ok(None) => return None,
                Ok(Some(NotificationItem::Revoked)) => {
                    signals.set_end(StreamEnd::SessionEnded);
                    return None;
                }
                Ok(Some(item)) => {
                    if let NotificationItem::Added { cursor, .. }
                    | NotificationItem::Checkpoint { cursor, .. } = item
                    {
                        signals.set_position(cursor);
                    }
                    message(item)?
                }
                Err(error) => return Some((Err(ServiceError::from(error).into()), None)),
            };
            Some((Ok(message), Some((notifications, signals))))
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
        NotificationItem::Revoked => return None,
    })
}
