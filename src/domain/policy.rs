//! Who may do what: one pure function, and the scopes that lists and streams
//! derive from the same rule.

use super::{
    account::Role,
    actor::{Actor, Machine},
    comment::Visibility,
    event::{Audience, Event, Subject},
    ids::AccountId,
    service_token::Scope,
    ticket::{Standing, Ticket},
    unread::Reader,
};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// See the installation's categories, lists of tickets that one may see, one's own account.
    Enter,
    /// Open a ticket.
    CreateTicket,
    /// See a ticket, its public comments and history.
    ViewTicket,
    /// Post a public comment, or move the status as the table allows.
    Converse,
    /// Read internal notes and what else is for staff.
    ViewInternal,
    /// Write an internal note.
    WriteNote,
    /// Set priority, assignee, category, summary.
    Triage,
    /// Let other customers take part in a ticket, or no longer.
    ManageParticipants,
    /// See an account's name.
    ViewAccount,
    /// See an account's e-mail address, role and language.
    ViewContact,
    /// Make, rename, order, retire and restore categories, and see retired ones.
    ManageCategories,
    /// Make accounts and give roles.
    ManageAccounts,
    /// See and change what protects one's own account: password, second factors, sessions.
    SecureAccount,
    /// See what happened to anybody's account.
    ViewAudit,
    /// Make, see and revoke service tokens.
    ManageServiceTokens,
    /// Make and update customers' accounts, as the control panel does.
    ProvisionCustomers,
    /// Make links with which customers come over from the control panel.
    CreateHandoffs,
}

/// What it is to be done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The installation as a whole.
    Desk,
    /// A ticket.
    Ticket {
        /// Who opened it.
        reporter: AccountId,
        /// The other customers who take part in it.
        participants: &'a [AccountId],
    },
    /// An account.
    Account {
        /// Whose.
        id: AccountId,
        /// Its role.
        role: Role,
    },
}

impl<'a> From<&'a Ticket> for Resource<'a> {
    fn from(ticket: &'a Ticket) -> Self {
        Self::Ticket { reporter: ticket.reporter_id, participants: &ticket.participant_ids }
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go ahead.
    Allow,
    /// Sign in first.
    Unauthenticated,
    /// They may see it, and not do this to it.
    Forbidden,
    /// They may not see it, so it does not exist for them.
    NotFound,
    /// They have to configure a second factor first.
    SecondFactorMissing,
}

/// The policy.
pub fn decide(actor: &Actor, action: Action, resource: Resource<'_>) -> Decision {
    use Decision::{Allow, Forbidden, NotFound, SecondFactorMissing, Unauthenticated};

    let identity = match actor {
        Actor::System => return Allow,
        Actor::Anonymous => return Unauthenticated,
        Actor::Machine(machine) => return decide_for_machine(machine, action, resource),
        Actor::Account(identity) => identity,
    };
    let staff = identity.role.is_staff();
    if identity.confined && action != Action::SecureAccount {
        return SecondFactorMissing;
    }
    match resource {
        Resource::Desk => match action {
            Action::Enter | Action::CreateTicket | Action::SecureAccount => Allow,
            Action::ViewInternal if staff => Allow,
            Action::ManageCategories
            | Action::ManageAccounts
            | Action::ViewAudit
            | Action::ManageServiceTokens
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
            Action::ViewInternal | Action::WriteNote | Action::Triage if staff => Allow,
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

/// A machine may do what its scopes say, and sees nobody's things.
fn decide_for_machine(machine: &Machine, action: Action, resource: Resource<'_>) -> Decision {
    let required_scope = match (resource, action) {
        (Resource::Desk, Action::ProvisionCustomers) => Scope::ProvisionCustomers,
        (Resource::Desk, Action::CreateHandoffs) => Scope::CreateHandoffs,
        (Resource::Desk, _) => return Decision::Forbidden,
        (Resource::Ticket { .. } | Resource::Account { .. }, _) => return Decision::NotFound,
    };
    if machine.scopes.has(required_scope) { Decision::Allow } else { Decision::Forbidden }
}

/// Which tickets a list or stream may show: the same rule as [`decide`], for SQL
/// and for topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketScope {
    /// None at all.
    Nothing,
    /// Those that this account opened or takes part in.
    Of(AccountId),
    /// Every ticket.
    All,
}

/// The tickets that somebody may see.
pub fn ticket_scope(actor: &Actor) -> TicketScope {
    match actor {
        Actor::System => TicketScope::All,
        Actor::Anonymous | Actor::Machine(_) => TicketScope::Nothing,
        Actor::Account(identity) if identity.confined => TicketScope::Nothing,
        Actor::Account(identity) if identity.role.is_staff() => TicketScope::All,
        Actor::Account(identity) => TicketScope::Of(identity.id),
    }
}

/// The comment visibility and event audience that somebody may see: staff see
/// what is internal, others don't.
pub fn sees_internal(actor: &Actor) -> bool {
    decide(actor, Action::ViewInternal, Resource::Desk) == Decision::Allow
}

/// As whom somebody reads tickets; nobody who has no account does.
pub fn reader(actor: &Actor) -> Option<Reader> {
    let account = actor.account_id()?;
    Some(Reader { account, is_staff: sees_internal(actor) })
}

/// Whether somebody may see a comment on a ticket that they may see.
pub fn sees_comment(actor: &Actor, visibility: Visibility) -> bool {
    visibility == Visibility::Public || sees_internal(actor)
}

/// Whether somebody may see an event about a ticket, as far as it shows itself: who took
/// part in the ticket then may do so no longer.
pub fn sees_event(actor: &Actor, event: &Event) -> bool {
    match &event.subject {
        Subject::Account(_) => false,
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

/// In what capacities somebody stands to a ticket.
pub fn standing(actor: &Actor, ticket: &Ticket) -> Standing {
    let account = actor.account_id();
    Standing {
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
        actor::Identity,
        ids::{ServiceTokenId, SessionId},
    };

    const ACTIONS: [Action; 17] = [
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
    ];

    fn person(id: u128, role: Role) -> Actor {
        Actor::Account(Identity {
            id: AccountId(Uuid::from_u128(id)),
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

    /// The decisions of all actions, in the order of `ACTIONS`, one letter each.
    fn row(actor: &Actor, resource: Resource<'_>) -> String {
        let letter = |action| match decide(actor, action, resource) {
            Allow => 'A',
            Unauthenticated => 'u',
            Forbidden => 'f',
            NotFound => '-',
            SecondFactorMissing => 's',
        };
        ACTIONS.into_iter().map(letter).collect()
    }

    #[test]
    fn the_whole_matrix_is_exactly_this() {
        let customer = AccountId(Uuid::from_u128(1));
        let agent = AccountId(Uuid::from_u128(3));
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
        let matrix = |resource| actors.map(|actor| row(&actor, resource));

        // Enter, CreateTicket, ViewTicket, Converse, ViewInternal, WriteNote, Triage,
        // ManageParticipants, ViewAccount, ViewContact, ManageAccounts, ViewAudit,
        // ManageServiceTokens, ProvisionCustomers, CreateHandoffs, SecureAccount,
        // ManageCategories; by nobody, the customer, another customer, one who takes part,
        // the agent, the admin, machines with no scope and with one each, the system.
        let all = "AAAAAAAAAAAAAAAAA";
        let nobody = "uuuuuuuuuuuuuuuuu";
        let nothing = "-----------------";
        assert_eq!(
            matrix(Resource::Desk),
            [
                nobody,
                "AAfffffffffffffAf",
                "AAfffffffffffffAf",
                "AAfffffffffffffAf",
                "AAffAffffffffffAf",
                "AAffAfffffAAAffAA",
                "fffffffffffffffff",
                "fffffffffffffAfff",
                "ffffffffffffffAff",
                all
            ]
        );
        let by_people = |[own, other, participant, agent, admin]: [&'static str; 5]| {
            [nobody, own, other, participant, agent, admin, nothing, nothing, nothing, all]
        };
        let participants = [AccountId(Uuid::from_u128(5))];
        assert_eq!(
            matrix(Resource::Ticket { reporter: customer, participants: &participants }),
            by_people([
                "ffAAfffAfffffffff",
                nothing,
                "ffAAfffffffffffff",
                "ffAAAAAAfffffffff",
                "ffAAAAAAfffffffff"
            ])
        );
        assert_eq!(
            matrix(Resource::Account { id: customer, role: Role::Customer }),
            by_people([
                "ffffffffAAfffffff",
                nothing,
                nothing,
                "ffffffffAAfffffff",
                "ffffffffAAAffffff"
            ])
        );
        assert_eq!(
            matrix(Resource::Account { id: agent, role: Role::Agent }),
            by_people([
                "ffffffffAffffffff",
                "ffffffffAffffffff",
                "ffffffffAffffffff",
                "ffffffffAAfffffff",
                "ffffffffAAAffffff"
            ])
        );
        // Without the second factor that they need, nobody does anything but get one.
        let ticket = Resource::Ticket { reporter: customer, participants: &[] };
        for role in [Role::Customer, Role::Agent, Role::Admin] {
            let Actor::Account(identity) = person(1, role) else { unreachable!() };
            let actor = Actor::Account(Identity { confined: true, ..identity });
            assert_eq!(row(&actor, Resource::Desk), "sssssssssssssssAs");
            assert_eq!(row(&actor, ticket), "sssssssssssssssfs");
            assert_eq!(ticket_scope(&actor), TicketScope::Nothing);
        }
    }

    #[test]
    fn lists_and_streams_follow_the_same_rule() {
        let reporter = AccountId(Uuid::from_u128(1));
        let participants = [AccountId(Uuid::from_u128(5))];
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
