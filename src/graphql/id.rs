//! Global ids, as Relay defines them: opaque to clients and unique across all types.

use async_graphql::ID;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::domain::ids::{
    AccountId, AttachmentId, CannedAnswerId, CategoryId, CommentId, DeliveryId, EventId,
    NotificationId, SavedViewId, ServiceTokenId, SessionId, SetAsideId, TicketId,
    TicketInvitationId,
};

/// The object that a global id identifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GlobalId {
    /// An account.
    Account(AccountId),
    /// An attachment.
    Attachment(AttachmentId),
    /// A canned answer.
    CannedAnswer(CannedAnswerId),
    /// A category.
    Category(CategoryId),
    /// A comment.
    Comment(CommentId),
    /// A mail.
    Delivery(DeliveryId),
    /// A notification.
    Notification(NotificationId),
    /// A saved view.
    SavedView(SavedViewId),
    /// A service token.
    ServiceToken(ServiceTokenId),
    /// A session.
    Session(SessionId),
    /// An event that was set aside.
    SetAsideEvent(SetAsideId),
    /// A ticket.
    Ticket(TicketId),
    /// An invitation to take part in a ticket.
    TicketInvitation(TicketInvitationId),
}

impl GlobalId {
    /// Parses a global id. Returns `None` if it is not valid.
    pub fn parse(id: &ID) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id.as_str()).ok()?).ok()?;
        let (kind, uuid) = text.split_once(':')?;
        let uuid = Uuid::try_parse(uuid).ok()?;
        match kind {
            "Account" => Some(Self::Account(AccountId(uuid))),
            "Attachment" => Some(Self::Attachment(AttachmentId(uuid))),
            "CannedAnswer" => Some(Self::CannedAnswer(CannedAnswerId(uuid))),
            "Category" => Some(Self::Category(CategoryId(uuid))),
            "Comment" => Some(Self::Comment(CommentId(uuid))),
            "Delivery" => Some(Self::Delivery(DeliveryId(uuid))),
            "Notification" => Some(Self::Notification(NotificationId(uuid))),
            "SavedView" => Some(Self::SavedView(SavedViewId(uuid))),
            "ServiceToken" => Some(Self::ServiceToken(ServiceTokenId(uuid))),
            "SetAsideEvent" => Some(Self::SetAsideEvent(SetAsideId(uuid))),
            "Session" => Some(Self::Session(SessionId(uuid))),
            "Ticket" => Some(Self::Ticket(TicketId(uuid))),
            "TicketInvitation" => Some(Self::TicketInvitation(TicketInvitationId(uuid))),
            _ => None,
        }
    }

    /// Parses the id of a ticket. Returns `None` if it identifies something else.
    pub fn ticket(id: &ID) -> Option<TicketId> {
        match Self::parse(id) {
            Some(Self::Ticket(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of a canned answer. Returns `None` if it identifies something else.
    pub fn canned_answer(id: &ID) -> Option<CannedAnswerId> {
        match Self::parse(id) {
            Some(Self::CannedAnswer(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of a category. Returns `None` if it identifies something else.
    pub fn category(id: &ID) -> Option<CategoryId> {
        match Self::parse(id) {
            Some(Self::Category(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of a comment. Returns `None` if it identifies something else.
    pub fn comment(id: &ID) -> Option<CommentId> {
        match Self::parse(id) {
            Some(Self::Comment(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of an attachment. Returns `None` if it identifies something else.
    pub fn attachment(id: &ID) -> Option<AttachmentId> {
        match Self::parse(id) {
            Some(Self::Attachment(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of a notification. Returns `None` if it identifies something else.
    pub fn notification(id: &ID) -> Option<NotificationId> {
        match Self::parse(id) {
            Some(Self::Notification(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of a saved view. Returns `None` if it identifies something else.
    pub fn saved_view(id: &ID) -> Option<SavedViewId> {
        match Self::parse(id) {
            Some(Self::SavedView(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of a service token. Returns `None` if it identifies something else.
    pub fn service_token(id: &ID) -> Option<ServiceTokenId> {
        match Self::parse(id) {
            Some(Self::ServiceToken(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of a mail. Returns `None` if it identifies something else.
    pub fn delivery(id: &ID) -> Option<DeliveryId> {
        match Self::parse(id) {
            Some(Self::Delivery(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of a session. Returns `None` if it identifies something else.
    pub fn session(id: &ID) -> Option<SessionId> {
        match Self::parse(id) {
            Some(Self::Session(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of an event that was set aside. Returns `None` if it identifies something else.
    pub fn set_aside(id: &ID) -> Option<SetAsideId> {
        match Self::parse(id) {
            Some(Self::SetAsideEvent(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of an invitation. Returns `None` if it identifies something else.
    pub fn ticket_invitation(id: &ID) -> Option<TicketInvitationId> {
        match Self::parse(id) {
            Some(Self::TicketInvitation(id)) => Some(id),
            _ => None,
        }
    }

    /// Parses the id of an account. Returns `None` if it identifies something else.
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
            GlobalId::CannedAnswer(CannedAnswerId(uuid)) => encode("CannedAnswer", uuid),
            GlobalId::Category(CategoryId(uuid)) => encode("Category", uuid),
            GlobalId::Comment(CommentId(uuid)) => encode("Comment", uuid),
            GlobalId::Delivery(DeliveryId(uuid)) => encode("Delivery", uuid),
            GlobalId::Notification(NotificationId(uuid)) => encode("Notification", uuid),
            GlobalId::SavedView(SavedViewId(uuid)) => encode("SavedView", uuid),
            GlobalId::ServiceToken(ServiceTokenId(uuid)) => encode("ServiceToken", uuid),
            GlobalId::SetAsideEvent(SetAsideId(uuid)) => encode("SetAsideEvent", uuid),
            GlobalId::Session(SessionId(uuid)) => encode("Session", uuid),
            GlobalId::Ticket(TicketId(uuid)) => encode("Ticket", uuid),
            GlobalId::TicketInvitation(TicketInvitationId(uuid)) => {
                encode("TicketInvitation", uuid)
            }
        }
    }
}

/// Parses the id of an event. Returns `None` if it identifies something else.
pub fn event(id: &ID) -> Option<EventId> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id.as_str()).ok()?).ok()?;
    text.strip_prefix("Event:")?.parse().ok().map(EventId)
}

/// Encodes the id of an event. It is the same wherever the event appears; `node` does not
/// accept it.
pub fn event_id(EventId(id): EventId) -> ID {
    ID(URL_SAFE_NO_PAD.encode(format!("Event:{id}")))
}

fn encode(kind: &str, id: Uuid) -> ID {
    let id = id.hyphenated();
    ID(URL_SAFE_NO_PAD.encode([kind, ":", id.encode_lower(&mut Uuid::encode_buffer())].concat()))
}
