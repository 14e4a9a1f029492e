//! Global ids (Relay's): opaque to callers, unique over all types.

use async_graphql::ID;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::domain::ids::{
    AccountId, AttachmentId, CategoryId, CommentId, DeliveryId, EventId, NotificationId,
    ServiceTokenId, SessionId, TicketId,
};

/// What a global id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GlobalId {
    /// An account.
    Account(AccountId),
    /// An attachment.
    Attachment(AttachmentId),
    /// A category.
    Category(CategoryId),
    /// A comment.
    Comment(CommentId),
    /// A mail.
    Delivery(DeliveryId),
    /// Something on a bell.
    Notification(NotificationId),
    /// What a machine signs in with.
    ServiceToken(ServiceTokenId),
    /// A session.
    Session(SessionId),
    /// A ticket.
    Ticket(TicketId),
}

impl GlobalId {
    /// Reads an id; `None` where it is none of ours.
    pub fn parse(id: &ID) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id.as_str()).ok()?).ok()?;
        let (kind, uuid) = text.split_once(':')?;
        let uuid = Uuid::try_parse(uuid).ok()?;
        match kind {
            "Account" => Some(Self::Account(AccountId(uuid))),
            "Attachment" => Some(Self::Attachment(AttachmentId(uuid))),
            "Category" => Some(Self::Category(CategoryId(uuid))),
            "Comment" => Some(Self::Comment(CommentId(uuid))),
            "Delivery" => Some(Self::Delivery(DeliveryId(uuid))),
            "Notification" => Some(Self::Notification(NotificationId(uuid))),
            "ServiceToken" => Some(Self::ServiceToken(ServiceTokenId(uuid))),
            "Session" => Some(Self::Session(SessionId(uuid))),
            "Ticket" => Some(Self::Ticket(TicketId(uuid))),
            _ => None,
        }
    }

    /// The ticket that an id names, if it names one.
    pub fn ticket(id: &ID) -> Option<TicketId> {
        match Self::parse(id) {
            Some(Self::Ticket(id)) => Some(id),
            _ => None,
        }
    }

    /// The category that an id names, if it names one.
    pub fn category(id: &ID) -> Option<CategoryId> {
        match Self::parse(id) {
            Some(Self::Category(id)) => Some(id),
            _ => None,
        }
    }

    /// The notification that an id names, if it names one.
    pub fn notification(id: &ID) -> Option<NotificationId> {
        match Self::parse(id) {
            Some(Self::Notification(id)) => Some(id),
            _ => None,
        }
    }

    /// The service token that an id names, if it names one.
    pub fn service_token(id: &ID) -> Option<ServiceTokenId> {
        match Self::parse(id) {
            Some(Self::ServiceToken(id)) => Some(id),
            _ => None,
        }
    }

    /// The session that an id names, if it names one.
    pub fn session(id: &ID) -> Option<SessionId> {
        match Self::parse(id) {
            Some(Self::Session(id)) => Some(id),
            _ => None,
        }
    }

    /// The account that an id names, if it names one.
    pub fn account(id: &ID) -> Option<AccountId> {
        match Self::parse(id) {
            Some(Self::Account(id)) => Some(id),
            _ => None,
        }
    }
}

impl From<GlobalId> for ID {
    fn from(id: GlobalId) -> Self {
        match id {
            GlobalId::Account(AccountId(uuid)) => encode("Account", uuid),
            GlobalId::Attachment(AttachmentId(uuid)) => encode("Attachment", uuid),
            GlobalId::Category(CategoryId(uuid)) => encode("Category", uuid),
            GlobalId::Comment(CommentId(uuid)) => encode("Comment", uuid),
            GlobalId::Delivery(DeliveryId(uuid)) => encode("Delivery", uuid),
            GlobalId::Notification(NotificationId(uuid)) => encode("Notification", uuid),
            GlobalId::ServiceToken(ServiceTokenId(uuid)) => encode("ServiceToken", uuid),
            GlobalId::Session(SessionId(uuid)) => encode("Session", uuid),
            GlobalId::Ticket(TicketId(uuid)) => encode("Ticket", uuid),
        }
    }
}

/// The event that an id names, if it names one.
pub fn event(id: &ID) -> Option<EventId> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id.as_str()).ok()?).ok()?;
    text.strip_prefix("Event:")?.parse().ok().map(EventId)
}

/// The id of an event: it tells equal events apart, and `node` doesn't take it.
pub fn event_id(EventId(id): EventId) -> ID {
    encode("Event", id)
}

fn encode(kind: &str, value: impl std::fmt::Display) -> ID {
    ID(URL_SAFE_NO_PAD.encode(format!("{kind}:{value}")))
}
