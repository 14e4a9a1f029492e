//! Who is told of what: on the bell, by mail, or not at all.

use super::{
    clock::Timestamp,
    event::{Audience, Event, EventData, Subject},
    ids::{AccountId, EventId, NotificationId, TicketId},
    ticket::Status,
};

/// What somebody is told of, as it looks from where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotificationKind {
    /// Your ticket was opened: its confirmation.
    TicketCreated,
    /// A ticket was opened in a category that you look after.
    TicketOpened,
    /// Somebody else wrote on your ticket.
    SupportAnswered,
    /// Your ticket's status changed, or that of one assigned to you.
    StatusChanged,
    /// Your ticket was resolved or closed, or one assigned to you.
    TicketClosed,
    /// Somebody wrote on a ticket that is assigned to you.
    CustomerAnswered,
    /// A ticket was assigned to you.
    TicketAssigned,
    /// Somebody let you take part in a ticket.
    ParticipantAdded,
}

/// Something on somebody's bell.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// Whose.
    pub account_id: AccountId,
    /// Of what it tells.
    pub event_id: EventId,
    /// About which ticket.
    pub ticket_id: TicketId,
    /// What it means to them.
    pub kind: NotificationKind,
    /// The event's position in the feed.
    pub pos: i64,
    /// When it happened.
    pub created_at: Timestamp,
    /// When they read it, if they did.
    pub read_at: Option<Timestamp>,
}

/// Which mails an account wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailPreferences {
    /// Confirmations of one's own new tickets.
    pub ticket_created: bool,
    /// Answers.
    pub support_answered: bool,
    /// Changes of the status.
    pub status_changed: bool,
    /// Resolved and closed tickets.
    pub ticket_closed: bool,
}

impl Default for MailPreferences {
    fn default() -> Self {
        Self {
            ticket_created: true,
            support_answered: true,
            status_changed: true,
            ticket_closed: true,
        }
    }
}

impl MailPreferences {
    /// Whether a mail of this kind is wanted. Kinds that have no switch are.
    pub fn wants(&self, kind: NotificationKind) -> bool {
        match kind {
            NotificationKind::TicketCreated => self.ticket_created,
            NotificationKind::SupportAnswered => self.support_answered,
            NotificationKind::StatusChanged => self.status_changed,
            NotificationKind::TicketClosed => self.ticket_closed,
            NotificationKind::TicketOpened
            | NotificationKind::CustomerAnswered
            | NotificationKind::TicketAssigned
            | NotificationKind::ParticipantAdded => true,
        }
    }
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A person with an account.
    Account(AccountId),
    /// The staff's address of the ticket's category.
    StaffAddress,
}

/// By what they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// By mail only: the bell needn't tell people what they have just done.
    Mail,
    /// On the bell only.
    Bell,
    /// Both.
    MailAndBell,
}

impl Channels {
    /// Whether a mail is among them.
    pub fn mail(self) -> bool {
        self != Self::Bell
    }

    /// Whether the bell is among them.
    pub fn bell(self) -> bool {
        self != Self::Mail
    }
}

/// Somebody who is to be told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concern {
    /// Who.
    pub recipient: Recipient,
    /// What it means to them.
    pub kind: NotificationKind,
    /// By what.
    pub channels: Channels,
}

/// Everybody who is to be told of an event. Nobody is told of their own doing, but
/// for the confirmation of a ticket; what is for staff only is told to nobody.
pub fn concerns(event: &Event, assignee: Option<AccountId>) -> Vec<Concern> {
    let Subject::Ticket { reporter, .. } = event.subject else { return vec![] };
    if event.audience != Audience::Participants {
        return vec![];
    }
    let customers = || [reporter].into_iter().chain(event.participants.iter().copied());
    let customers_are_told =
        |kind| customers().filter_map(move |id| told(event, id, kind, Channels::MailAndBell));
    let assignee_is_told = |kind| {
        let assignee = assignee.filter(|&assignee| assignee != reporter);
        assignee.and_then(|assignee| told(event, assignee, kind, Channels::Bell))
    };
    match event.data {
        Some(EventData::TicketCreated {}) => {
            let to = |recipient, kind| Concern { recipient, kind, channels: Channels::Mail };
            vec![
                to(Recipient::Account(reporter), NotificationKind::TicketCreated),
                to(Recipient::StaffAddress, NotificationKind::TicketOpened),
            ]
        }
        Some(EventData::CommentAdded { .. }) => {
            customers_are_told(NotificationKind::SupportAnswered)
                .chain(assignee_is_told(NotificationKind::CustomerAnswered))
                .collect()
        }
        Some(EventData::ParticipantAdded { account_id })
            if event.participants.contains(&account_id) =>
        {
            let kind = NotificationKind::ParticipantAdded;
            told(event, account_id, kind, Channels::MailAndBell).into_iter().collect()
        }
        Some(EventData::StatusChanged { to, .. }) => {
            let kind = match to {
                Status::Resolved | Status::Closed => NotificationKind::TicketClosed,
                _ => NotificationKind::StatusChanged,
            };
            customers_are_told(kind).chain(assignee_is_told(kind)).collect()
        }
        Some(EventData::AssigneeChanged { to: Some(to), .. }) => {
            told(event, to, NotificationKind::TicketAssigned, Channels::Bell).into_iter().collect()
        }
        _ => vec![],
    }
}

fn told(
    event: &Event,
    account: AccountId,
    kind: NotificationKind,
    channels: Channels,
) -> Option<Concern> {
    let own_doing = event.actor_id == Some(account);
    (!own_doing).then_some(Concern { recipient: Recipient::Account(account), kind, channels })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{NotificationKind::*, *};
    use crate::domain::ids::{CommentId, EventId};

    const CUSTOMER: AccountId = AccountId(Uuid::from_u128(1));
    const AGENT: AccountId = AccountId(Uuid::from_u128(2));
    const COLLEAGUE: AccountId = AccountId(Uuid::from_u128(3));

    fn told(
        actor: AccountId,
        audience: Audience,
        data: EventData,
    ) -> Vec<(Recipient, NotificationKind, Channels)> {
        let event = Event {
            id: EventId(1),
            subject: Subject::Ticket { id: TicketId(Uuid::nil()), reporter: CUSTOMER },
            audience,
            actor_id: Some(actor),
            data: Some(data),
            state: None,
            participants: vec![],
            occurred_at: Timestamp::default(),
        };
        let told = concerns(&event, Some(AGENT)).into_iter();
        told.map(|concern| (concern.recipient, concern.kind, concern.channels)).collect()
    }

    #[test]
    fn people_are_told_of_what_others_do() {
        use Audience::Participants;
        let comment = || EventData::CommentAdded { comment_id: CommentId(Uuid::nil()) };
        let moved = |to| EventData::StatusChanged { from: Status::WaitingForSupport, to };
        let (customer, agent) = (Recipient::Account(CUSTOMER), Recipient::Account(AGENT));
        assert_eq!(
            told(CUSTOMER, Participants, EventData::TicketCreated {}),
            [
                (customer, TicketCreated, Channels::Mail),
                (Recipient::StaffAddress, TicketOpened, Channels::Mail)
            ]
        );
        assert_eq!(
            told(AGENT, Participants, comment()),
            [(customer, SupportAnswered, Channels::MailAndBell)]
        );
        assert_eq!(
            told(CUSTOMER, Participants, comment()),
            [(agent, CustomerAnswered, Channels::Bell)]
        );
        assert_eq!(
            told(COLLEAGUE, Participants, moved(Status::Closed)),
            [
                (customer, TicketClosed, Channels::MailAndBell),
                (agent, TicketClosed, Channels::Bell)
            ]
        );
        assert_eq!(
            told(AGENT, Participants, moved(Status::WorkingOnIt)),
            [(customer, StatusChanged, Channels::MailAndBell)]
        );
        assert_eq!(
            told(CUSTOMER, Participants, moved(Status::Resolved)),
            [(agent, TicketClosed, Channels::Bell)]
        );
        let assigned = |to| EventData::AssigneeChanged { from: None, to };
        assert_eq!(
            told(COLLEAGUE, Participants, assigned(Some(AGENT))),
            [(agent, TicketAssigned, Channels::Bell)]
        );
        assert_eq!(told(AGENT, Participants, assigned(Some(AGENT))), []);
        assert_eq!(told(AGENT, Participants, assigned(None)), []);
    }

    #[test]
    fn participants_are_told_what_the_reporter_is_told() {
        let comment = EventData::CommentAdded { comment_id: CommentId(Uuid::nil()) };
        let added = |account_id| EventData::ParticipantAdded { account_id };
        let removed = EventData::ParticipantRemoved { account_id: COLLEAGUE };
        let event = |actor, data| Event {
            id: EventId(1),
            subject: Subject::Ticket { id: TicketId(Uuid::nil()), reporter: CUSTOMER },
            audience: Audience::Participants,
            actor_id: Some(actor),
            data: Some(data),
            state: None,
            participants: vec![COLLEAGUE],
            occurred_at: Timestamp::default(),
        };
        let told = |actor, data| {
            let told = concerns(&event(actor, data), None).into_iter();
            told.map(|concern| (concern.recipient, concern.kind)).collect::<Vec<_>>()
        };
        let (customer, colleague) = (Recipient::Account(CUSTOMER), Recipient::Account(COLLEAGUE));
        assert_eq!(
            told(AGENT, comment.clone()),
            [(customer, SupportAnswered), (colleague, SupportAnswered)]
        );
        assert_eq!(told(COLLEAGUE, comment), [(customer, SupportAnswered)]);
        assert_eq!(told(CUSTOMER, added(COLLEAGUE)), [(colleague, ParticipantAdded)]);
        // They have left since.
        assert_eq!(told(CUSTOMER, added(AGENT)), []);
        assert_eq!(told(CUSTOMER, removed), []);
    }

    #[test]
    fn internal_notes_are_told_to_nobody() {
        let note = EventData::CommentAdded { comment_id: CommentId(Uuid::nil()) };
        assert_eq!(told(COLLEAGUE, Audience::Staff, note), []);
    }
}
