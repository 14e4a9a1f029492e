//! The events of the log.
//!
//! An event is about a ticket ([`TicketEvent`]) or about an account ([`AccountEvent`]).
//! Readers match both exhaustively: a new kind does not compile until streams,
//! timelines, the audit trail, notifications and mail have decided what to do with it.

use super::{
    account::Role,
    clock::Timestamp,
    comment::Visibility,
    cursor::Cursor,
    ids::{
        AccountId, CannedAnswerId, CategoryId, CommentId, EventId, HandoffId, SavedViewId,
        ServiceTokenId, SessionId, TicketId, TicketInvitationId,
    },
    redaction::RedactedContent,
    second_factor::Method,
    status::{Priority, Status},
};

/// Something that happened to a ticket.
///
/// Events hold ids and values, never text that people wrote: the log is permanent, and
/// text must be erasable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum TicketEvent {
    /// The ticket was opened.
    TicketCreated {},
    /// A comment was posted. An internal note has the audience [`Audience::Staff`].
    CommentAdded {
        /// The comment.
        comment_id: CommentId,
    },
    /// The author edited a comment.
    CommentEdited {
        /// The comment.
        comment_id: CommentId,
    },
    /// Staff erased a text or a file, or it was erased together with its author's account.
    ContentRedacted {
        /// What was erased.
        content: RedactedContent,
    },
    /// The status changed.
    StatusChanged {
        /// The old status.
        from: Status,
        /// The new status.
        to: Status,
    },
    /// The priority changed.
    PriorityChanged {
        /// The old priority.
        from: Priority,
        /// The new priority.
        to: Priority,
    },
    /// The ticket was assigned, reassigned or unassigned.
    AssigneeChanged {
        /// The old assignee.
        from: Option<AccountId>,
        /// The new assignee.
        to: Option<AccountId>,
    },
    /// The ticket was moved to another category.
    CategoryChanged {
        /// The old category.
        from: CategoryId,
        /// The new category.
        to: CategoryId,
    },
    /// The summary was edited.
    SummaryChanged {},
    /// Somebody was invited to take part in the ticket. It has no account: nothing about an
    /// invitation says whether its address has one.
    ParticipantInvited {
        /// The invitation.
        invitation_id: TicketInvitationId,
    },
    /// The invitation was declined. It has no actor, so that who declined stays unnamed.
    InvitationDeclined {
        /// The invitation.
        invitation_id: TicketInvitationId,
    },
    /// The invitation was withdrawn.
    InvitationWithdrawn {
        /// The invitation.
        invitation_id: TicketInvitationId,
    },
    /// A customer takes part in the ticket from now on: they accepted an invitation. Before there
    /// were invitations, somebody else added them.
    ParticipantAdded {
        /// The customer.
        account_id: AccountId,
    },
    /// A customer was removed from the ticket.
    ParticipantRemoved {
        /// The customer.
        account_id: AccountId,
    },
    /// A ticket was merged into another. The event is one of both tickets.
    TicketMerged {
        /// The ticket that was merged.
        from: TicketId,
        /// The ticket in which it continues.
        into: TicketId,
        /// The status of the merged ticket before.
        status: Status,
    },
    /// A merge was undone. The event is one of both tickets.
    TicketUnmerged {
        /// The ticket that had been merged.
        from: TicketId,
        /// The ticket that it had been merged into.
        into: TicketId,
    },
    /// A stored event that this version cannot read: a newer version wrote it. It keeps
    /// its position in streams and timelines, and is never written.
    #[serde(skip)]
    Unknown,
}

/// Declares [`TicketEventKind`] and the list of its values, so that none can be left out.
macro_rules! ticket_event_kinds {
    ($($kind:ident)*) => {
        /// The kind of a [`TicketEvent`], without its values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TicketEventKind {
            $(#[doc = concat!("[`TicketEvent::", stringify!($kind), "`].")] $kind,)*
        }

        impl TicketEventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];
        }
    };
}

ticket_event_kinds! {
    TicketCreated
    CommentAdded
    CommentEdited
    ContentRedacted
    StatusChanged
    PriorityChanged
    AssigneeChanged
    CategoryChanged
    SummaryChanged
    ParticipantInvited
    InvitationDeclined
    InvitationWithdrawn
    ParticipantAdded
    ParticipantRemoved
    TicketMerged
    TicketUnmerged
    Unknown
}

impl TicketEvent {
    /// The kind, without the values.
    pub fn kind(&self) -> TicketEventKind {
        match self {
            Self::TicketCreated {} => TicketEventKind::TicketCreated,
            Self::CommentAdded { .. } => TicketEventKind::CommentAdded,
            Self::CommentEdited { .. } => TicketEventKind::CommentEdited,
            Self::ContentRedacted { .. } => TicketEventKind::ContentRedacted,
            Self::StatusChanged { .. } => TicketEventKind::StatusChanged,
            Self::PriorityChanged { .. } => TicketEventKind::PriorityChanged,
            Self::AssigneeChanged { .. } => TicketEventKind::AssigneeChanged,
            Self::CategoryChanged { .. } => TicketEventKind::CategoryChanged,
            Self::SummaryChanged {} => TicketEventKind::SummaryChanged,
            Self::ParticipantInvited { .. } => TicketEventKind::ParticipantInvited,
            Self::InvitationDeclined { .. } => TicketEventKind::InvitationDeclined,
            Self::InvitationWithdrawn { .. } => TicketEventKind::InvitationWithdrawn,
            Self::ParticipantAdded { .. } => TicketEventKind::ParticipantAdded,
            Self::ParticipantRemoved { .. } => TicketEventKind::ParticipantRemoved,
            Self::TicketMerged { .. } => TicketEventKind::TicketMerged,
            Self::TicketUnmerged { .. } => TicketEventKind::TicketUnmerged,
            Self::Unknown => TicketEventKind::Unknown,
        }
    }

    /// Whether the summary of the ticket may change with the event.
    pub fn may_change_summary(&self) -> bool {
        match self {
            Self::SummaryChanged {} | Self::ContentRedacted { .. } => true,
            Self::TicketCreated {}
            | Self::CommentAdded { .. }
            | Self::CommentEdited { .. }
            | Self::StatusChanged { .. }
            | Self::PriorityChanged { .. }
            | Self::AssigneeChanged { .. }
            | Self::CategoryChanged { .. }
            | Self::ParticipantInvited { .. }
            | Self::InvitationDeclined { .. }
            | Self::InvitationWithdrawn { .. }
            | Self::ParticipantAdded { .. }
            | Self::ParticipantRemoved { .. }
            | Self::TicketMerged { .. }
            | Self::TicketUnmerged { .. }
            | Self::Unknown => false,
        }
    }

    /// The comment that the event added.
    pub fn comment(&self) -> Option<CommentId> {
        match *self {
            Self::CommentAdded { comment_id } => Some(comment_id),
            Self::TicketCreated {}
            | Self::CommentEdited { .. }
            | Self::ContentRedacted { .. }
            | Self::StatusChanged { .. }
            | Self::PriorityChanged { .. }
            | Self::AssigneeChanged { .. }
            | Self::CategoryChanged { .. }
            | Self::SummaryChanged {}
            | Self::ParticipantInvited { .. }
            | Self::InvitationDeclined { .. }
            | Self::InvitationWithdrawn { .. }
            | Self::ParticipantAdded { .. }
            | Self::ParticipantRemoved { .. }
            | Self::TicketMerged { .. }
            | Self::TicketUnmerged { .. }
            | Self::Unknown => None,
        }
    }

    /// The customer that the event removed from its ticket. `ReplayScope::Customer` in
    /// `db/feed.rs` asks the same in SQL.
    pub fn removed_participant(&self) -> Option<AccountId> {
        match *self {
            Self::ParticipantRemoved { account_id } => Some(account_id),
            Self::TicketCreated {}
            | Self::CommentAdded { .. }
            | Self::CommentEdited { .. }
            | Self::ContentRedacted { .. }
            | Self::StatusChanged { .. }
            | Self::PriorityChanged { .. }
            | Self::AssigneeChanged { .. }
            | Self::CategoryChanged { .. }
            | Self::SummaryChanged {}
            | Self::ParticipantInvited { .. }
            | Self::InvitationDeclined { .. }
            | Self::InvitationWithdrawn { .. }
            | Self::ParticipantAdded { .. }
            | Self::TicketMerged { .. }
            | Self::TicketUnmerged { .. }
            | Self::Unknown => None,
        }
    }
}

/// Something that happened to an account, or that its owner did outside of tickets.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum AccountEvent {
    /// The owner signed in.
    SignedIn {
        /// The new session.
        session_id: SessionId,
    },
    /// A session ended before it expired.
    SessionRevoked {
        /// The session.
        session_id: SessionId,
    },
    /// A second factor was configured.
    SecondFactorAdded {
        /// Its method.
        method: Method,
    },
    /// A second factor was removed.
    SecondFactorRemoved {
        /// Its method.
        method: Method,
    },
    /// An admin or the operator removed all second factors.
    SecondFactorsReset {},
    /// A recovery code was used, to sign in or to re-authenticate.
    RecoveryCodeUsed {},
    /// The recovery codes were replaced.
    RecoveryCodesRegenerated {},
    /// A wrong code was entered as the second step of a sign-in, or to re-authenticate.
    SecondFactorFailed {},
    /// The owner changed the password.
    PasswordChanged {},
    /// The password was set through a mailed link.
    PasswordReset {},
    /// An admin or the operator created the account or changed its role.
    RoleChanged {
        /// The old role, or `None` for a new account.
        from: Option<Role>,
        /// The new role.
        to: Role,
    },
    /// The admin created a service token.
    ServiceTokenCreated {
        /// The token.
        token_id: ServiceTokenId,
    },
    /// The admin revoked a service token.
    ServiceTokenRevoked {
        /// The token.
        token_id: ServiceTokenId,
    },
    /// The control panel created or updated the customer's account.
    CustomerProvisioned {
        /// The service token that it used.
        token_id: Option<ServiceTokenId>,
        /// Whether the account is new.
        created: bool,
        /// Whether the password changed.
        password_changed: bool,
    },
    /// The control panel created a sign-in link for the customer.
    HandoffCreated {
        /// The handoff.
        handoff_id: HandoffId,
        /// The service token that it used.
        token_id: Option<ServiceTokenId>,
    },
    /// The customer signed in through a link that the control panel created.
    HandoffRedeemed {
        /// The handoff.
        handoff_id: HandoffId,
    },
    /// An admin disabled the account.
    AccountDisabled {},
    /// An admin enabled the account again.
    AccountEnabled {},
    /// An admin changed the account's name or language.
    AccountUpdated {},
    /// An admin or the control panel changed the account's e-mail address.
    EmailChanged {},
    /// An admin or the operator erased the account: its name, address and secrets.
    AccountErased {},
    /// The admin created a category.
    CategoryCreated {
        /// The category.
        category_id: CategoryId,
    },
    /// The admin renamed a category.
    CategoryRenamed {
        /// The category.
        category_id: CategoryId,
    },
    /// The admin reordered the categories.
    CategoriesOrdered {
        /// The old order.
        from: Vec<CategoryId>,
        /// The new order.
        to: Vec<CategoryId>,
    },
    /// The admin retired a category.
    CategoryRetired {
        /// The category.
        category_id: CategoryId,
    },
    /// The admin restored a retired category.
    CategoryRestored {
        /// The category.
        category_id: CategoryId,
    },
    /// The admin created a shared canned answer.
    CannedAnswerCreated {
        /// The canned answer.
        canned_answer_id: CannedAnswerId,
    },
    /// The admin changed a shared canned answer.
    CannedAnswerUpdated {
        /// The canned answer.
        canned_answer_id: CannedAnswerId,
    },
    /// The admin reordered the shared canned answers.
    CannedAnswersOrdered {},
    /// The admin retired a shared canned answer.
    CannedAnswerRetired {
        /// The canned answer.
        canned_answer_id: CannedAnswerId,
    },
    /// The admin restored a shared canned answer.
    CannedAnswerRestored {
        /// The canned answer.
        canned_answer_id: CannedAnswerId,
    },
    /// The admin created a shared view.
    SavedViewCreated {
        /// The view.
        saved_view_id: SavedViewId,
    },
    /// The admin changed a shared view.
    SavedViewUpdated {
        /// The view.
        saved_view_id: SavedViewId,
    },
    /// The admin reordered the shared views.
    SavedViewsOrdered {},
    /// The admin retired a shared view.
    SavedViewRetired {
        /// The view.
        saved_view_id: SavedViewId,
    },
    /// The admin restored a shared view.
    SavedViewRestored {
        /// The view.
        saved_view_id: SavedViewId,
    },
    /// A stored event that this version cannot read: a newer version wrote it. It keeps
    /// its place in the audit trail, and is never written.
    #[serde(skip)]
    Unknown,
}

/// What an event about an account means for its owner's sessions and live streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// This session ended.
    Ended(SessionId),
    /// Sessions with another role than this one lose their rights.
    RoleChanged(Role),
    /// Nothing that this version knows of.
    Unchanged,
}

impl AccountEvent {
    /// What the event means for the owner's sessions and live streams.
    pub fn session_effect(&self) -> SessionEffect {
        match *self {
            Self::SessionRevoked { session_id } => SessionEffect::Ended(session_id),
            Self::RoleChanged { to, .. } => SessionEffect::RoleChanged(to),
            Self::SignedIn { .. }
            | Self::SecondFactorAdded { .. }
            | Self::SecondFactorRemoved { .. }
            | Self::SecondFactorsReset {}
            | Self::RecoveryCodeUsed {}
            | Self::RecoveryCodesRegenerated {}
            | Self::SecondFactorFailed {}
            | Self::PasswordChanged {}
            | Self::PasswordReset {}
            | Self::ServiceTokenCreated { .. }
            | Self::ServiceTokenRevoked { .. }
            | Self::CustomerProvisioned { .. }
            | Self::HandoffCreated { .. }
            | Self::HandoffRedeemed { .. }
            | Self::AccountDisabled {}
            | Self::AccountEnabled {}
            | Self::AccountUpdated {}
            | Self::EmailChanged {}
            | Self::AccountErased {}
            | Self::CategoryCreated { .. }
            | Self::CategoryRenamed { .. }
            | Self::CategoriesOrdered { .. }
            | Self::CategoryRetired { .. }
            | Self::CategoryRestored { .. }
            | Self::CannedAnswerCreated { .. }
            | Self::CannedAnswerUpdated { .. }
            | Self::CannedAnswersOrdered {}
            | Self::CannedAnswerRetired { .. }
            | Self::CannedAnswerRestored { .. }
            | Self::SavedViewCreated { .. }
            | Self::SavedViewUpdated { .. }
            | Self::SavedViewsOrdered {}
            | Self::SavedViewRetired { .. }
            | Self::SavedViewRestored { .. }
            | Self::Unknown => SessionEffect::Unchanged,
        }
    }
}

/// Who may see an event about a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everybody who may see the ticket.
    Participants,
    /// Staff only.
    Staff,
}

impl From<Visibility> for Audience {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Public => Self::Participants,
            Visibility::Internal => Self::Staff,
        }
    }
}

/// The values of a ticket that queues filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketState {
    /// The category.
    pub category: CategoryId,
    /// The status.
    pub status: Status,
    /// The priority.
    pub priority: Priority,
    /// The assignee.
    pub assignee: Option<AccountId>,
}

impl TicketState {
    /// The state before an event that led to this state. `None` if the event is
    /// [`TicketEvent::Unknown`], which may have changed anything.
    pub fn before(self, event: &TicketEvent) -> Option<Self> {
        Some(match *event {
            TicketEvent::StatusChanged { from, .. } => Self { status: from, ..self },
            TicketEvent::PriorityChanged { from, .. } => Self { priority: from, ..self },
            TicketEvent::AssigneeChanged { from, .. } => Self { assignee: from, ..self },
            TicketEvent::CategoryChanged { from, .. } => Self { category: from, ..self },
            TicketEvent::TicketCreated {}
            | TicketEvent::CommentAdded { .. }
            | TicketEvent::CommentEdited { .. }
            | TicketEvent::ContentRedacted { .. }
            | TicketEvent::SummaryChanged {}
            | TicketEvent::ParticipantInvited { .. }
            | TicketEvent::InvitationDeclined { .. }
            | TicketEvent::InvitationWithdrawn { .. }
            | TicketEvent::ParticipantAdded { .. }
            | TicketEvent::ParticipantRemoved { .. }
            | TicketEvent::TicketMerged { .. }
            | TicketEvent::TicketUnmerged { .. } => self,
            TicketEvent::Unknown => return None,
        })
    }
}

/// An event in the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// The id.
    pub id: EventId,
    /// Who caused it, or `None` for the system.
    pub actor_id: Option<AccountId>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What it is about, and what happened.
    pub subject: Subject,
}

/// What an event is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A ticket.
    Ticket(TicketSubject),
    /// An account.
    Account(AccountSubject),
    /// Neither: the stored event is broken. It keeps its position in the feed, and concerns nobody.
    Unreadable,
}

/// The ticket that an event is about.
#[derive(Clone, Debug)]
pub struct TicketSubject {
    /// The ticket.
    pub id: TicketId,
    /// The customer who opened it.
    pub reporter: AccountId,
    /// The other customers on the ticket, after the event.
    pub participants: Vec<AccountId>,
    /// The ticket's state after the event. `None` for events that were written before
    /// the log had it.
    pub state: Option<TicketState>,
    /// Who may see the event.
    pub audience: Audience,
    /// What happened.
    pub event: TicketEvent,
}

/// The account that an event is about.
#[derive(Clone, Debug)]
pub struct AccountSubject {
    /// The account.
    pub id: AccountId,
    /// What happened.
    pub event: AccountEvent,
}

impl Event {
    /// The ticket that the event is about.
    pub fn ticket(&self) -> Option<&TicketSubject> {
        match &self.subject {
            Subject::Ticket(ticket) => Some(ticket),
            Subject::Account(_) | Subject::Unreadable => None,
        }
    }

    /// The account that the event is about.
    pub fn account(&self) -> Option<&AccountSubject> {
        match &self.subject {
            Subject::Account(account) => Some(account),
            Subject::Ticket(_) | Subject::Unreadable => None,
        }
    }
}

/// An event and its position in the feed.
#[derive(Clone, Debug)]
pub struct FeedEvent {
    /// The position.
    pub cursor: Cursor,
    /// The random mark of the position, which tells one history of the feed from another. `None` if
    /// it has none, or if the event was not read from the feed.
    pub mark: Option<i64>,
    /// The event.
    pub event: Event,
}
