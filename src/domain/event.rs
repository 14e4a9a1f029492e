//! Events: what happened, in the words of the log.

use super::{
    account::Role,
    clock::Timestamp,
    cursor::Cursor,
    ids::{
        AccountId, CategoryId, CommentId, EventId, HandoffId, ServiceTokenId, SessionId, TicketId,
    },
    queue::TicketState,
    second_factor::Method,
    status::{Priority, Status},
};

/// What happened. Ids and from/to values, never text that people wrote: the log
/// is kept for good, and text has to be erasable.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum EventData {
    /// A ticket was opened.
    TicketCreated {},
    /// A comment was posted, or an internal note (the audience tells).
    CommentAdded {
        /// The comment.
        comment_id: CommentId,
    },
    /// A ticket's status changed.
    StatusChanged {
        /// The old one.
        from: Status,
        /// The new one.
        to: Status,
    },
    /// A ticket's priority changed.
    PriorityChanged {
        /// The old one.
        from: Priority,
        /// The new one.
        to: Priority,
    },
    /// A ticket was assigned, handed on or taken off somebody.
    AssigneeChanged {
        /// The old assignee.
        from: Option<AccountId>,
        /// The new assignee.
        to: Option<AccountId>,
    },
    /// A ticket was moved to another category.
    CategoryChanged {
        /// The old one.
        from: CategoryId,
        /// The new one.
        to: CategoryId,
    },
    /// A ticket's summary was reworded.
    SummaryChanged {},
    /// A customer takes part in a ticket.
    ParticipantAdded {
        /// The customer.
        account_id: AccountId,
    },
    /// A customer takes part in a ticket no longer.
    ParticipantRemoved {
        /// The customer.
        account_id: AccountId,
    },
    /// Somebody signed in.
    SignedIn {
        /// The session that began.
        session_id: SessionId,
    },
    /// A session was ended before its time.
    SessionRevoked {
        /// The session.
        session_id: SessionId,
    },
    /// A second factor was configured.
    SecondFactorAdded {
        /// Which.
        method: Method,
    },
    /// A second factor was removed.
    SecondFactorRemoved {
        /// Which.
        method: Method,
    },
    /// The staff removed all second factors.
    SecondFactorsReset {},
    /// Somebody signed in with a recovery code.
    RecoveryCodeUsed {},
    /// New recovery codes were made.
    RecoveryCodesRegenerated {},
    /// The password was changed by its owner.
    PasswordChanged {},
    /// The password was set anew by a link that was mailed.
    PasswordReset {},
    /// An account was made by an admin, or another role given to it.
    RoleChanged {
        /// The old role; none for a new account.
        from: Option<Role>,
        /// The new role.
        to: Role,
    },
    /// An admin made a service token.
    ServiceTokenCreated {
        /// The token.
        token_id: ServiceTokenId,
    },
    /// An admin revoked a service token.
    ServiceTokenRevoked {
        /// The token.
        token_id: ServiceTokenId,
    },
    /// The control panel made a customer's account, or changed it.
    CustomerProvisioned {
        /// The token that it did it with.
        token_id: Option<ServiceTokenId>,
        /// Whether the account is new.
        created: bool,
        /// Whether it has another password now.
        password_changed: bool,
    },
    /// The control panel made a link to hand a customer over.
    HandoffCreated {
        /// The hand-over.
        handoff_id: HandoffId,
        /// The token that it did it with.
        token_id: Option<ServiceTokenId>,
    },
    /// A customer came over by such a link.
    HandoffRedeemed {
        /// The hand-over.
        handoff_id: HandoffId,
    },
    /// An admin disabled an account.
    AccountDisabled {},
    /// An admin let a disabled account sign in again.
    AccountEnabled {},
    /// An admin changed an account's name or language.
    AccountUpdated {},
    /// An admin made a category.
    CategoryCreated {
        /// The category.
        category_id: CategoryId,
    },
    /// An admin gave a category another name.
    CategoryRenamed {
        /// The category.
        category_id: CategoryId,
    },
    /// An admin put the categories in another order.
    CategoriesOrdered {
        /// The old one.
        from: Vec<CategoryId>,
        /// The new one.
        to: Vec<CategoryId>,
    },
    /// An admin retired a category.
    CategoryRetired {
        /// The category.
        category_id: CategoryId,
    },
    /// An admin let a category take tickets again.
    CategoryRestored {
        /// The category.
        category_id: CategoryId,
    },
}

impl EventData {
    /// Whether an event about an account can end live streams: the others are
    /// nobody's news.
    pub fn ends_streams(&self) -> bool {
        matches!(self, Self::SessionRevoked { .. } | Self::RoleChanged { .. })
    }
}

/// For whom an event about a ticket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everybody who may see the ticket.
    Participants,
    /// Staff only.
    Staff,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A ticket, with the reporter who may see it.
    Ticket {
        /// The ticket.
        id: TicketId,
        /// Its reporter.
        reporter: AccountId,
    },
    /// An account.
    Account(AccountId),
}

/// An event as it stands in the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// What it is about.
    pub subject: Subject,
    /// For whom it is.
    pub audience: Audience,
    /// Who did it; none: the system.
    pub actor_id: Option<AccountId>,
    /// What happened; none: a newer version wrote a kind that this one doesn't know.
    pub data: Option<EventData>,
    /// How its ticket stood after it; none where it is about an account.
    pub state: Option<TicketState>,
    /// The customers who took part in its ticket after it, besides the reporter.
    pub participants: Vec<AccountId>,
    /// When.
    pub occurred_at: Timestamp,
}

/// An event and the place in the feed where everybody sees it.
#[derive(Clone, Debug)]
pub struct FeedEvent {
    /// The place.
    pub cursor: Cursor,
    /// The event.
    pub event: Event,
}
