//! What waits on a node to be written together with others.

use super::{ServiceError, grouping::Call, meanwhile::SeenUpTo};
use crate::{
    db::event::NewTicketEvent,
    domain::{
        actor::Actor,
        comment::Comment,
        ids::{AccountId, TicketId},
        ticket::Ticket,
    },
};

/// Decides a change: checks that the actor may make it, applies it to the ticket, and returns its
/// events. Called again if the ticket has changed meanwhile.
pub(super) type Decide =
    Box<dyn Fn(&mut Ticket) -> Result<Vec<NewTicketEvent>, ServiceError> + Send + Sync>;

/// A change of a ticket by a caller.
pub(super) struct Change {
    /// The ticket.
    pub(super) id: TicketId,
    /// The comment that the change adds, if any.
    pub(super) comment: Option<Comment>,
    /// What the change counts as, if that is limited.
    pub(super) creation: Option<CountedCreation>,
    /// The last event that its author has seen, if others must not have commented since. Only
    /// for a change that is made on the locked ticket.
    pub(super) seen_up_to: Option<(Actor, SeenUpTo)>,
    /// Decides the change.
    pub(super) decide: Decide,
}

/// A ticket to open.
pub(super) struct Opening {
    /// The ticket. Its number is assigned when it is opened.
    pub(super) ticket: Ticket,
    /// Whom it is counted for.
    pub(super) creation: CountedCreation,
}

/// What an account creates.
#[derive(Clone, Copy)]
pub(super) enum Creation {
    /// Opening tickets.
    Ticket,
    /// Adding comments.
    Comment,
}

/// Something created that counts towards a limit of its creator.
#[derive(Clone, Copy)]
pub(super) struct CountedCreation {
    /// What is created.
    pub(super) creation: Creation,
    /// Who creates it.
    pub(super) actor: Actor,
    /// The account of the actor.
    pub(super) account: AccountId,
}

impl Call for Change {
    type Answer = Ticket;
}

impl Call for Opening {
    type Answer = Ticket;
}
