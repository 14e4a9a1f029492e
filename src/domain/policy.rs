//! The authorisation policy: one pure function that decides who may do what, and the same rule as
//! scopes for lists and streams.

use super::{
    account::Role,
    actor::{Actor, Identity, Machine},
    comment::Visibility,
    event::{Audience, Event, Subject},
    ids::AccountId,
    service_token::Scope,
    ticket::{Ticket, TicketRelation},
    unread::TicketReader,
};

/// An action to authorise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Use the application: list categories and visible tickets, see one's own account.
    Enter,
    /// Open a ticket.
    CreateTicket,
    /// Open a ticket for a customer.
    CreateTicketForCustomer,
    /// See a ticket with its public comments and history.
    ViewTicket,
    /// Post a public comment, or change the status as
    /// [`Status::may_move`](super::status::Status::may_move) allows.
    Converse,
    /// Read internal notes and other information for staff only.
    ViewInternal,
    /// Write an internal note.
    WriteNote,
    /// Set the priority, assignee, category or summary.
    Triage,
    /// Erase texts and files of a ticket.
    Redact,
    /// Edit one's own comment on a ticket.
    EditComment,
    /// Invite customers to take part in a ticket, withdraw invitations, or remove participants.
    ManageParticipants,
    /// Accept or decline an invitation to take part in a ticket.
    AnswerInvitation,
    /// See an account's name without having a ticket in common. Who has or had a part in a ticket
    /// that the actor can see is named in any case.
    ViewAccount,
    /// See an account's e-mail address, role and language.
    ViewContact,
    /// Create, rename, order, retire and restore categories, and see retired ones.
    ManageCategories,
    /// Create, change, order, retire and restore what all staff share, such as canned answers.
    ManageSharedLists,
    /// See all accounts, and change their names and languages.
    ManageAccounts,
    /// Create accounts, set their roles and e-mail addresses, disable and enable them, and remove
    /// their second factors.
    ControlAccess,
    /// See and change the password, second factors and sessions of one's own account.
    SecureAccount,
    /// Add a second factor to one's own account.
    AddSecondFactor,
    /// Replace or remove one's own second factors and recovery codes, or change one's own e-mail
    /// address.
    ReplaceSecondFactors,
    /// Erase accounts.
    EraseAccounts,
    /// See the audit trail of any account.
    ViewAudit,
    /// See and revoke service tokens.
    ManageServiceTokens,
    /// Create service tokens.
    CreateServiceTokens,
    /// See the events that a consumer of the log set aside, and have them tried again.
    ManageSetAside,
    /// Create and update customers' accounts, as the control panel does.
    ProvisionCustomers,
    /// Create links that sign customers in from the control panel.
    CreateHandoffs,
    /// Queue all mails again that could not be sent, and switch mail on or off.
    ManageMail,
}

/// How somebody must have proven who they are before an action, in the last 10 minutes: a person who
/// finds or steals a session cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By signing in or by re-authenticating.
    SignIn,
    /// By re-authenticating. Signing in does not count.
    Reauthentication,
}

impl Action {
    /// Returns the proof that people need for the action. Machines need none: their scopes limit
    /// them.
    pub fn proof(self) -> Option<Proof> {
        match self {
            Self::ControlAccess | Self::CreateServiceTokens | Self::AddSecondFactor => {
                Some(Proof::SignIn)
            }
            Self::ReplaceSecondFactors | Self::EraseAccounts => Some(Proof::Reauthentication),
            Self::Enter
            | Self::CreateTicket
            | Self::CreateTicketForCustomer
            | Self::ViewTicket
            | Self::Converse
            | Self::ViewInternal
            | Self::WriteNote
            | Self::Triage
            | Self::Redact
            | Self::EditComment
            | Self::ManageParticipants
            | Self::AnswerInvitation
            | Self::ViewAccount
            | Self::ViewContact
            | Self::ManageCategories
            | Self::ManageSharedLists
            | Self::ManageAccounts
            | Self::SecureAccount
            | Self::ViewAudit
            | Self::ManageServiceTokens
            | Self::ManageSetAside
            | Self::ProvisionCustomers
            | Self::CreateHandoffs
            | Self::ManageMail => None,
        }
    }

    /// Returns whether a session that must configure a second factor first may perform the action.
    fn secures_account(self) -> bool {
        matches!(self, Self::SecureAccount | Self::AddSecondFactor | Self::ReplaceSecondFactors)
    }
}

/// The target of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The installation as a whole.
    Desk,
    /// A ticket.
    Ticket {
        /// The customer who opened it.
        reporter: AccountId,
        /// The other customers who take part in it.
        participants: &'a [AccountId],
    },
    /// An invitation to take part in a ticket.
    Invitation {
        /// Whether it is to the actor's address.
        to_actor: bool,
    },
    /// An account.
    Account {
        /// The account's id.
        id: AccountId,
        /// The account's role.
        role: Role,
    },
}

impl<'a> From<&'a Ticket> for Resource<'a> {
    fn from(ticket: &'a Ticket) -> Self {
        Self::Ticket { reporter: ticket.reporter_id, participants: &ticket.participant_ids }
    }
}

/// The outcome of a policy check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The action is allowed.
    Allow,
    /// The actor must sign in first.
    Unauthenticated,
    /// The actor may see the target but not perform the action.
    Forbidden,
    /// The actor may not see the target, so it is reported as nonexistent.
    NotFound,
    /// The actor must configure a second factor first.
    SecondFactorMissing,
    /// The action is allowed if the actor has proven who they are.
    ProofRequired(Proof),
}

/// Decides whether an actor may perform an action on a target.
pub fn decide(actor: &Actor, action: Action, resource: Resource<'_>) -> Decision {
    match actor {
        Actor::System => Decision::Allow,
        Actor::Anonymous => Decision::Unauthenticated,
        Actor::Machine(machine) => decide_for_machine(machine, action, resource),
        Actor::Account(identity) => {
            match (decide_for_person(identity, action, resource), action.proof()) {
                (Decision::Allow, Some(proof)) => Decision::ProofRequired(proof),
                (decision, _) => decision,
            }
        }
    }
}

/// Decides what a person may do after they have proven who they are.
fn decide_for_person(identity: &Identity, action: Action, resource: Resource<'_>) -> Decision {
    use Decision::{Allow, Forbidden, NotFound, SecondFactorMissing};

    let staff = identity.role.is_staff();
    if identity.confined && !action.secures_account() {
        return SecondFactorMissing;
    }
    match resource {
        Resource::Desk => match action {
            Action::Enter | Action::CreateTicket => Allow,
            _ if action.secures_account() => Allow,
            Action::ViewInternal | Action::CreateTicketForCustomer if staff => Allow,
            Action::ManageCategories
            | Action::ManageSharedLists
            | Action::ManageAccounts
            | Action::ControlAccess
            | Action::ViewAudit
            | Action::ManageServiceTokens
            | Action::CreateServiceTokens
            | Action::ManageSetAside
            | Action::ManageMail
            | Action::EraseAccounts
                if identity.role == Role::Admin =>
            {
                Allow
            }
            _ => Forbidden,
        },
        Resource::Ticket { reporter, participants } => match action {
            _ if !staff && reporter != identity.id && !participants.contains(&identity.id) => {
                NotFound
            }
            Action::ViewTicket | Action::Converse => Allow,
            Action::ManageParticipants if staff || reporter == identity.id => Allow,
            Action::ViewInternal | Action::WriteNote | Action::Triage | Action::Redact if staff => {
                Allow
            }
            // Staff correct themselves by another comment: customers see what they were told.
            Action::EditComment if !staff => Allow,
            _ => Forbidden,
        },
        Resource::Invitation { to_actor } => match action {
            _ if !to_actor => NotFound,
            // Staff see every ticket. They don't take part as customers.
            Action::AnswerInvitation if !staff => Allow,
            _ => Forbidden,
        },
        Resource::Account { id, role } => match action {
            _ if !staff && id != identity.id && !role.is_staff() => NotFound,
            Action::ViewAccount => Allow,
            Action::ViewContact if staff || id == identity.id => Allow,
            Action::ManageAccounts if identity.role == Role::Admin => Allow,
            _ => Forbidden,
        },
    }
}

/// A machine may do what its scopes allow. It sees no tickets and no accounts.
fn decide_for_machine(machine: &Machine, action: Action, resource: Resource<'_>) -> Decision {
    let required_scope = match (resource, action) {
        (Resource::Desk, Action::ProvisionCustomers) => Scope::ProvisionCustomers,
        (Resource::Desk, Action::CreateHandoffs) => Scope::CreateHandoffs,
        (Resource::Desk, _) => return Decision::Forbidden,
        (Resource::Ticket { .. } | Resource::Invitation { .. } | Resource::Account { .. }, _) => {
            return Decision::NotFound;
        }
    };
    if machine.scopes.has(required_scope) { Decision::Allow } else { Decision::Forbidden }
}

/// The tickets that a list or stream may show. It follows the same rule as [`decide`], in a form
/// for SQL and for the topics of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketScope {
    /// No tickets.
    Nothing,
    /// The tickets that this account opened or takes part in.
    Of(AccountId),
    /// All tickets.
    All,
}

/// Returns the tickets that an actor may see.
pub fn ticket_scope(actor: &Actor) -> TicketScope {
    match actor {
        Actor::System => TicketScope::All,
        Actor::Anonymous | Actor::Machine(_) => TicketScope::Nothing,
        Actor::Account(identity) if identity.confined => TicketScope::Nothing,
        Actor::Account(identity) if identity.role.is_staff() => TicketScope::All,
        Actor::Account(identity) => TicketScope::Of(identity.id),
    }
}

/// Returns whether an actor may see internal notes and events for staff only.
pub fn sees_internal(actor: &Actor) -> bool {
    decide(actor, Action::ViewInternal, Resource::Desk) == Decision::Allow
}

/// Returns the actor as a reader of tickets, or `None` if the actor has no account.
pub fn reader(actor: &Actor) -> Option<TicketReader> {
    let account = actor.account_id()?;
    Some(TicketReader { account, is_staff: sees_internal(actor) })
}

/// Returns whether an actor who may see a ticket may see a comment on it.
pub fn sees_comment(actor: &Actor, visibility: Visibility) -> bool {
    visibility == Visibility::Public || sees_internal(actor)
}

/// Returns whether an actor may see an event about a ticket, judged by the participants at the
/// time of the event. A former participant may have lost access since then.
pub fn sees_event(actor: &Actor, event: &Event) -> bool {
    match &event.subject {
        Subject::Account(_) | Subject::Unreadable => false,
        Subject::Ticket(subject) => {
            let action = match subject.audience {
                Audience::Participants => Action::ViewTicket,
                Audience::Staff => Action::ViewInternal,
            };
            let ticket = Resource::Ticket {
                reporter: subject.reporter,
                participants: &subject.participants,
            };
            decide(actor, action, ticket) == Decision::Allow
        }
    }
}

/// Returns how an actor relates to a ticket.
pub fn relation(actor: &Actor, ticket: &Ticket) -> TicketRelation {
    let account = actor.account_id();
    TicketRelation {
        staff: actor.is_staff(),
        reporter: account == Some(ticket.reporter_id),
        participant: account.is_some_and(|id| ticket.participant_ids.contains(&id)),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Action::*, Decision::*, *};
    use crate::domain::{
        account::Locale,
        ids::{ServiceTokenId, SessionId},
    };

    const ACTIONS: [Action; 29] = [
        Enter,
        CreateTicket,
        ViewTicket,
        Converse,
        ViewInternal,
        WriteNote,
        Triage,
        ManageParticipants,
        ViewAccount,
        ViewContact,
        ManageAccounts,
        ViewAudit,
        ManageServiceTokens,
        ProvisionCustomers,
        CreateHandoffs,
        SecureAccount,
        ManageCategories,
        ManageSetAside,
        ManageMail,
        ControlAccess,
        CreateServiceTokens,
        AddSecondFactor,
        ReplaceSecondFactors,
        CreateTicketForCustomer,
        AnswerInvitation,
        Redact,
        EditComment,
        EraseAccounts,
        ManageSharedLists,
    ];

    fn person(id: u128, role: Role) -> Actor {
        Actor::Account(Identity {
            id: account(id),
            role,
            locale: Locale::En,
            session: SessionId(Uuid::nil()),
            confined: false,
        })
    }

    fn machine(scopes: &[Scope]) -> Actor {
        let scopes = scopes.iter().copied().collect();
        Actor::Machine(Machine { token: ServiceTokenId(Uuid::nil()), scopes })
    }

    /// Returns the decisions on all actions, one letter each, in the order of `ACTIONS`.
    fn row(actor: &Actor, resource: Resource<'_>) -> String {
        let letter = |action| match decide(actor, action, resource) {
            Allow => 'A',
            Unauthenticated => 'u',
            Forbidden => 'f',
            NotFound => '-',
            SecondFactorMissing => 's',
            ProofRequired(Proof::SignIn) => 'p',
            ProofRequired(Proof::Reauthentication) => 'r',
        };
        ACTIONS.into_iter().map(letter).collect()
    }

    const NOBODY: &str = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuu";
    const NOTHING: &str = "-----------------------------";
    const ALL: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn account(id: u128) -> AccountId {
        AccountId(Uuid::from_u128(id))
    }

    /// Returns one row per actor: anonymous, the customer, another customer, a participant, the
    /// agent, the admin, machines without a scope and with one scope each, the system.
    fn matrix(resource: Resource<'_>) -> [String; 10] {
        let actors = [
            Actor::Anonymous,
            person(1, Role::Customer),
            person(2, Role::Customer),
            person(5, Role::Customer),
            person(3, Role::Agent),
            person(4, Role::Admin),
            machine(&[]),
            machine(&[Scope::ProvisionCustomers]),
            machine(&[Scope::CreateHandoffs]),
            Actor::System,
        ];
        actors.map(|actor| row(&actor, resource))
    }

    /// Completes the rows of people with those of actors that see no tickets and no accounts.
    fn by_people([own, other, participant, agent, admin]: [&'static str; 5]) -> [&'static str; 10] {
        [NOBODY, own, other, participant, agent, admin, NOTHING, NOTHING, NOTHING, ALL]
    }

    #[test]
    fn every_action_on_the_installation_is_decided_as_in_this_matrix() {
        assert_eq!(
            matrix(Resource::Desk),
            [
                NOBODY,
                "AAfffffffffffffAfffffprffffff",
                "AAfffffffffffffAfffffprffffff",
                "AAfffffffffffffAfffffprffffff",
                "AAffAffffffffffAfffffprAfffff",
                "AAffAfffffAAAffAAAAppprAfffrA",
                "fffffffffffffffffffffffffffff",
                "fffffffffffffAfffffffffffffff",
                "ffffffffffffffAffffffffffffff",
                ALL
            ]
        );
    }

    #[test]
    fn every_action_on_a_ticket_is_decided_as_in_this_matrix() {
        assert_eq!(
            matrix(Resource::Ticket { reporter: account(1), participants: &[account(5)] }),
            by_people([
                "ffAAfffAffffffffffffffffffAff",
                NOTHING,
                "ffAAffffffffffffffffffffffAff",
                "ffAAAAAAfffffffffffffffffAfff",
                "ffAAAAAAfffffffffffffffffAfff"
            ])
        );
    }

    #[test]
    fn every_action_on_an_account_is_decided_as_in_this_matrix() {
        assert_eq!(
            matrix(Resource::Account { id: account(1), role: Role::Customer }),
            by_people([
                "ffffffffAAfffffffffffffffffff",
                NOTHING,
                NOTHING,
                "ffffffffAAfffffffffffffffffff",
                "ffffffffAAAffffffffffffffffff"
            ])
        );
        assert_eq!(
            matrix(Resource::Account { id: account(3), role: Role::Agent }),
            by_people([
                "ffffffffAffffffffffffffffffff",
                "ffffffffAffffffffffffffffffff",
                "ffffffffAffffffffffffffffffff",
                "ffffffffAAfffffffffffffffffff",
                "ffffffffAAAffffffffffffffffff"
            ])
        );
    }

    #[test]
    fn every_action_on_an_invitation_is_decided_as_in_this_matrix() {
        let answer = "ffffffffffffffffffffffffAffff";
        let nothing = "fffffffffffffffffffffffffffff";
        assert_eq!(
            matrix(Resource::Invitation { to_actor: true }),
            by_people([answer, answer, answer, nothing, nothing])
        );
        assert_eq!(
            matrix(Resource::Invitation { to_actor: false }),
            by_people([NOTHING, NOTHING, NOTHING, NOTHING, NOTHING])
        );
    }

    #[test]
    fn a_confined_session_can_only_configure_a_second_factor() {
        let ticket = Resource::Ticket { reporter: account(1), participants: &[] };
        for role in [Role::Customer, Role::Agent, Role::Admin] {
            let Actor::Account(identity) = person(1, role) else { unreachable!() };
            let actor = Actor::Account(Identity { confined: true, ..identity });
            assert_eq!(row(&actor, Resource::Desk), "sssssssssssssssAsssssprssssss");
            assert_eq!(row(&actor, ticket), "sssssssssssssssfsssssffssssss");
            assert_eq!(ticket_scope(&actor), TicketScope::Nothing);
        }
    }

    #[test]
    fn the_scope_of_lists_and_streams_agrees_with_the_policy() {
        let reporter = account(1);
        let participants = [account(5)];
        for actor in [
            Actor::Anonymous,
            person(1, Role::Customer),
            person(2, Role::Customer),
            person(5, Role::Customer),
            person(3, Role::Agent),
            person(4, Role::Admin),
            machine(&Scope::ALL),
            Actor::System,
        ] {
            let listed = match ticket_scope(&actor) {
                TicketScope::Nothing => false,
                TicketScope::Of(id) => id == reporter || participants.contains(&id),
                TicketScope::All => true,
            };
            let ticket = Resource::Ticket { reporter, participants: &participants };
            let may = |action| decide(&actor, action, ticket) == Allow;
            assert_eq!(listed, may(ViewTicket), "{actor:?}");
            assert_eq!(sees_comment(&actor, Visibility::Internal), may(ViewInternal), "{actor:?}");
        }
    }
}
