//! Notifications: who is notified of which event, in the app, by mail, or both.

use super::{
    clock::Timestamp,
    event::{Audience, Event, TicketEvent},
    ids::{AccountId, EventId, NotificationId, TicketId},
    ticket::Status,
};

/// What a notification means to its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotificationKind {
    /// The recipient opened a ticket: a confirmation. Or staff opened it for them.
    TicketCreated,
    /// A ticket was opened in a category whose staff address is the recipient.
    TicketOpened,
    /// Somebody else commented on the recipient's ticket.
    SupportAnswered,
    /// The status of the recipient's ticket, or of one assigned to them, changed.
    StatusChanged,
    /// The recipient's ticket, or one assigned to them, was resolved or closed.
    TicketClosed,
    /// Somebody commented on a ticket that is assigned to the recipient.
    CustomerAnswered,
    /// A ticket was assigned to the recipient.
    TicketAssigned,
    /// The recipient was added to a ticket.
    ParticipantAdded,
}

/// A notification of one account.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The id.
    pub id: NotificationId,
    /// The recipient.
    pub account_id: AccountId,
    /// The event.
    pub event_id: EventId,
    /// The event's ticket.
    pub ticket_id: TicketId,
    /// What it means to the recipient.
    pub kind: NotificationKind,
    /// The event's position in the feed.
    pub pos: i64,
    /// When the event happened.
    pub created_at: Timestamp,
    /// When the recipient read it, or `None` if it is unread.
    pub read_at: Option<Timestamp>,
}

/// The kinds of mail that an account receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailPreferences {
    /// Confirmations of tickets that the owner opened.
    pub ticket_created: bool,
    /// Comments by others.
    pub support_answered: bool,
    /// Status changes other than resolving and closing.
    pub status_changed: bool,
    /// Resolved and closed tickets.
    pub ticket_closed: bool,
}

/// Which mail preferences to change. `None` leaves one unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct MailPreferenceChanges {
    /// Confirmations of tickets that the owner opened.
    pub ticket_created: Option<bool>,
    /// Comments by others.
    pub support_answered: Option<bool>,
    /// Status changes other than resolving and closing.
    pub status_changed: Option<bool>,
    /// Resolved and closed tickets.
    pub ticket_closed: Option<bool>,
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
    /// Whether mail of this kind is sent. Kinds without a preference always are.
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

/// Who is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A person with an account.
    Account(AccountId),
    /// The staff's address of the ticket's category.
    StaffAddress,
}

/// How somebody is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// By mail only. In the app people need no confirmation of what they just did themselves.
    Mail,
    /// In the app only.
    App,
    /// By mail and in the app.
    MailAndApp,
}

impl Channels {
    /// Whether a mail is sent.
    pub fn mail(self) -> bool {
        self != Self::App
    }

    /// Whether the notification is shown in the app.
    pub fn in_app(self) -> bool {
        self != Self::Mail
    }
}

/// Somebody to notify of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationTarget {
    /// Who is notified.
    pub recipient: Recipient,
    /// What it means to the recipient.
    pub kind: NotificationKind,
    /// How they are notified.
    pub channels: Channels,
}

/// Returns who is notified of an event, of what and how. Nobody is notified of what they did
/// themselves, except of a ticket that they opened. Nobody is notified of events that only staff
/// may see.
pub fn notification_targets(event: &Event, assignee: Option<AccountId>) -> Vec<NotificationTarget> {
    let Some(ticket) = event.ticket() else { return vec![] };
    if ticket.audience != Audience::Participants {
        return vec![];
    }
    let others = |account: &AccountId| event.actor_id != Some(*account);
    let target = |account, kind, channels| {
        let recipient = Recipient::Account(account);
        NotificationTarget { recipient, kind, channels }
    };
    let customers = |kind| {
        let customers = [ticket.reporter].into_iter().chain(ticket.participants.iter().copied());
        customers.filter(others).map(move |id| target(id, kind, Channels::MailAndApp))
    };
    let assignee = |kind| {
        let assignee = assignee.filter(|&assignee| assignee != ticket.reporter);
        assignee.filter(others).map(|id| target(id, kind, Channels::App))
    };
    match ticket.event {
        TicketEvent::TicketCreated {} => opened(ticket.reporter, others(&ticket.reporter)),
        TicketEvent::CommentAdded { .. } => customers(NotificationKind::SupportAnswered)
            .chain(assignee(NotificationKind::CustomerAnswered))
            .collect(),
        TicketEvent::ParticipantAdded { account_id } => {
            let added = Some(account_id).filter(|id| ticket.participants.contains(id));
            let kind = NotificationKind::ParticipantAdded;
            let added = added.filter(others).map(|id| target(id, kind, Channels::MailAndApp));
            added.into_iter().collect()
        }
        TicketEvent::StatusChanged { to, .. } => {
            let kind = match to {
                Status::Resolved | Status::Closed => NotificationKind::TicketClosed,
                _ => NotificationKind::StatusChanged,
            };
            customers(kind).chain(assignee(kind)).collect()
        }
        // Of an open ticket that is merged, the change of its status is reported.
        TicketEvent::TicketMerged { from, status: Status::Closed, .. } if from == ticket.id => {
            customers(NotificationKind::TicketClosed).collect()
        }
        TicketEvent::AssigneeChanged { to, .. } => {
            let kind = NotificationKind::TicketAssigned;
            let assigned = to.filter(others).map(|id| target(id, kind, Channels::MailAndApp));
            assigned.into_iter().collect()
        }
        TicketEvent::CommentEdited { .. }
        | TicketEvent::ContentRedacted { .. }
        | TicketEvent::PriorityChanged { .. }
        | TicketEvent::CategoryChanged { .. }
        | TicketEvent::SummaryChanged {}
        // Who is invited sees nothing of the ticket, and is mailed when the invitation is created.
        | TicketEvent::ParticipantInvited { .. }
        | TicketEvent::InvitationDeclined { .. }
        | TicketEvent::InvitationWithdrawn { .. }
        | TicketEvent::ParticipantRemoved { .. }
        | TicketEvent::TicketMerged { .. }
        | TicketEvent::TicketUnmerged { .. }
        | TicketEvent::Unknown => vec![],
    }
}

/// Returns who is notified of a new ticket: the customer, and the address of the staff.
fn opened(customer: AccountId, by_staff: bool) -> Vec<NotificationTarget> {
    let channels = if by_staff { Channels::MailAndApp } else { Channels::Mail };
    let recipients = [
        (Recipient::Account(customer), NotificationKind::TicketCreated, channels),
        (Recipient::StaffAddress, NotificationKind::TicketOpened, Channels::Mail),
    ];
    let target = |(recipient, kind, channels)| NotificationTarget { recipient, kind, channels };
    recipients.into_iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{NotificationKind::*, *};
    use crate::domain::{
        event::{Subject, TicketSubject},
        ids::{CommentId, EventId},
    };

    const CUSTOMER: AccountId = AccountId(Uuid::from_u128(1));
    const AGENT: AccountId = AccountId(Uuid::from_u128(2));
    const COLLEAGUE: AccountId = AccountId(Uuid::from_u128(3));

    fn event(actor: AccountId, audience: Audience, event: TicketEvent) -> Event {
        Event {
            id: EventId(1),
            actor_id: Some(actor),
            occurred_at: Timestamp::default(),
            subject: Subject::Ticket(TicketSubject {
                id: TicketId(Uuid::nil()),
                reporter: CUSTOMER,
                participants: vec![],
                state: None,
                audience,
                event,
            }),
        }
    }

    fn notify(
        actor: AccountId,
        audience: Audience,
        data: TicketEvent,
    ) -> Vec<(Recipient, NotificationKind, Channels)> {
        let targets = notification_targets(&event(actor, audience, data), Some(AGENT)).into_iter();
        targets.map(|target| (target.recipient, target.kind, target.channels)).collect()
    }

    #[test]
    fn people_are_notified_of_what_others_do() {
        use Audience::Participants;
        let comment = || TicketEvent::CommentAdded { comment_id: CommentId(Uuid::nil()) };
        let moved = |to| TicketEvent::StatusChanged { from: Status::WaitingForSupport, to };
        let (customer, agent) = (Recipient::Account(CUSTOMER), Recipient::Account(AGENT));
        assert_eq!(
            notify(CUSTOMER, Participants, TicketEvent::TicketCreated {}),
            [
                (customer, TicketCreated, Channels::Mail),
                (Recipient::StaffAddress, TicketOpened, Channels::Mail)
            ]
        );
        assert_eq!(
            notify(AGENT, Participants, TicketEvent::TicketCreated {})[0],
            (customer, TicketCreated, Channels::MailAndApp)
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
        let assigned = |to| TicketEvent::AssigneeChanged { from: None, to };
        assert_eq!(
            notify(COLLEAGUE, Participants, assigned(Some(AGENT))),
            [(agent, TicketAssigned, Channels::MailAndApp)]
        );
        assert_eq!(notify(AGENT, Participants, assigned(Some(AGENT))), []);
        assert_eq!(notify(AGENT, Participants, assigned(None)), []);
    }

    #[test]
    fn participants_are_notified_like_the_customer_who_opened_the_ticket() {
        let comment = TicketEvent::CommentAdded { comment_id: CommentId(Uuid::nil()) };
        let added = |account_id| TicketEvent::ParticipantAdded { account_id };
        let removed = TicketEvent::ParticipantRemoved { account_id: COLLEAGUE };
        let notify = |actor, data| {
            let mut event = event(actor, Audience::Participants, data);
            if let Subject::Ticket(ticket) = &mut event.subject {
                ticket.participants = vec![COLLEAGUE];
            }
            let targets = notification_targets(&event, None).into_iter();
            targets.map(|target| (target.recipient, target.kind)).collect::<Vec<_>>()
        };
        let (customer, colleague) = (Recipient::Account(CUSTOMER), Recipient::Account(COLLEAGUE));
        assert_eq!(
            notify(AGENT, comment),
            [(customer, SupportAnswered), (colleague, SupportAnswered)]
        );
        assert_eq!(notify(COLLEAGUE, comment), [(customer, SupportAnswered)]);
        assert_eq!(notify(CUSTOMER, added(COLLEAGUE)), [(colleague, ParticipantAdded)]);
        // An account that was removed since is not notified.
        assert_eq!(notify(CUSTOMER, added(AGENT)), []);
        assert_eq!(notify(CUSTOMER, removed), []);
    }

    #[test]
    fn internal_notes_notify_nobody() {
        let note = TicketEvent::CommentAdded { comment_id: CommentId(Uuid::nil()) };
        assert_eq!(notify(COLLEAGUE, Audience::Staff, note), []);
    }
}
