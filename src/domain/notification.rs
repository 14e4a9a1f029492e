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
    App,
    /// Both.
    MailAndApp,
}

impl Channels {
    /// Whether a mail is among them.
    pub fn mail(self) -> bool {
        self != Self::App
    }

    /// Whether the bell is among them.
    pub fn in_app(self) -> bool {
        self != Self::Mail
    }
}

/// Somebody who is to be told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationTarget {
    /// Who.
    pub recipient: Recipient,
    /// What it means to them.
    pub kind: NotificationKind,
    /// By what.
    pub channels: Channels,
}

/// Everybody who is to be told of an event. Nobody is told of their own doing, but
/// for the confirmation of a ticket; what is for staff only is told to nobody.
pub fn notification_targets(event: &Event, assignee: Option<AccountId>) -> Vec<NotificationTarget> {
    let Subject::Ticket { reporter, .. } = event.subject else { return vec![] };
    if event.audience != Audience::Participants {
        return vec![];
    }
    let customers = || [reporter].into_iter().chain(event.participants.iter().copied());
    let notify_customers =
        |kind| customers().filter_map(move |id| notify(event, id, kind, Channels::MailAndApp));
    let notify_assignee = |kind| {
        let assignee = assignee.filter(|&assignee| assignee != reporter);
        assignee.and_then(|assignee| notify(event, assignee, kind, Channels::App))
    };
    match event.data {
        Some(EventData::TicketCreated {}) => {
            let to =
                |recipient, kind| NotificationTarget { recipient, kind, channels: Channels::Mail };
            vec![
                to(Recipient::Account(reporter), NotificationKind::TicketCreated),
                to(Recipient::StaffAddress, NotificationKind::TicketOpened),
            ]
        }
        Some(EventData::CommentAdded { .. }) => notify_customers(NotificationKind::SupportAnswered)
            .chain(notify_assignee(NotificationKind::CustomerAnswered))
            .collect(),
        Some(EventData::ParticipantAdded { account_id })
            if event.participants.contains(&account_id) =>
        {
            let kind = NotificationKind::ParticipantAdded;
            notify(event, account_id, kind, Channels::MailAndApp).into_iter().collect()
        }
        Some(EventData::StatusChanged { to, .. }) => {
            let kind = match to {
                Status::Resolved | Status::Closed => NotificationKind::TicketClosed,
                _ => NotificationKind::StatusChanged,
            };
            notify_customers(kind).chain(notify_assignee(kind)).collect()
        }
        Some(EventData::AssigneeChanged { to: Some(to), .. }) => {
            notify(event, to, NotificationKind::TicketAssigned, Channels::App).into_iter().collect()
        }
        _ => vec![],
    }
}

fn notify(
    event: &Event,
    account: AccountId,
    kind: NotificationKind,
    channels: Channels,
) -> Option<NotificationTarget> {
    let own_doing = event.actor_id == Some(account);
    (!own_doing).then_some(NotificationTarget {
        recipient: Recipient::Account(account),
        kind,
        channels,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{NotificationKind::*, *};
    use crate::domain::ids::{CommentId, EventId};

    const CUSTOMER: AccountId = AccountId(Uuid::from_u128(1));
    const AGENT: AccountId = AccountId(Uuid::from_u128(2));
    const COLLEAGUE: AccountId = AccountId(Uuid::from_u128(3));

    fn notify(
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
        let targets = notification_targets(&event, Some(AGENT)).into_iter();
        targets.map(|target| (target.recipient, target.kind, target.channels)).collect()
    }

    #[test]
    fn people_are_notified_of_what_others_do() {
        use Audience::Participants;
        let comment = || EventData::CommentAdded { comment_id: CommentId(Uuid::nil()) };
        let moved = |to| EventData::StatusChanged { from: Status::WaitingForSupport, to };
        let (customer, agent) = (Recipient::Account(CUSTOMER), Recipient::Account(AGENT));
        assert_eq!(
            notify(CUSTOMER, Participants, EventData::TicketCreated {}),
            [
                (customer, TicketCreated, Channels::Mail),
                (Recipient::StaffAddress, TicketOpened, Channels::Mail)
            ]
        );
        assert_eq!(
            notify(AGENT, Participants, comment()),
            [(customer, SupportAnswered, Channels::MailAndApp)]
        );
        assert_eq!(
            notify(CUSTOMER, Participants, comment()),
            [(agent, CustomerAnswered, Channels::App)]
        );
        assert_eq!(
            notify(COLLEAGUE, Participants, moved(Status::Closed)),
            [(customer, TicketClosed, Channels::MailAndApp), (agent, TicketClosed, Channels::App)]
        );
        assert_eq!(
            notify(AGENT, Participants, moved(Status::WorkingOnIt)),
            [(customer, StatusChanged, Channels::MailAndApp)]
        );
        assert_eq!(
            notify(CUSTOMER, Participants, moved(Status::Resolved)),
            [(agent, TicketClosed, Channels::App)]
        );
        let assigned = |to| EventData::AssigneeChanged { from: None, to };
        assert_eq!(
            notify(COLLEAGUE, Participants, assigned(Some(AGENT))),
            [(agent, TicketAssigned, Channels::App)]
        );
        assert_eq!(notify(AGENT, Participants, assigned(Some(AGENT))), []);
        assert_eq!(notify(AGENT, Participants, assigned(None)), []);
    }

    #[test]
    fn participants_are_notified_like_the_reporter() {
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
        let notify = |actor, data| {
            let targets = notification_targets(&event(actor, data), None).into_iter();
            targets.map(|target| (target.recipient, target.kind)).collect::<Vec<_>>()
        };
        let (customer, colleague) = (Recipient::Account(CUSTOMER), Recipient::Account(COLLEAGUE));
        assert_eq!(
            notify(AGENT, comment.clone()),
            [(customer, SupportAnswered), (colleague, SupportAnswered)]
        );
        assert_eq!(notify(COLLEAGUE, comment), [(customer, SupportAnswered)]);
        assert_eq!(notify(CUSTOMER, added(COLLEAGUE)), [(colleague, ParticipantAdded)]);
        // They have left since.
        assert_eq!(notify(CUSTOMER, added(AGENT)), []);
        assert_eq!(notify(CUSTOMER, removed), []);
    }

    #[test]
    fn internal_notes_notify_nobody() {
        let note = EventData::CommentAdded { comment_id: CommentId(Uuid::nil()) };
        assert_eq!(notify(COLLEAGUE, Audience::Staff, note), []);
    }
}
