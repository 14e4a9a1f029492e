//! What callers write to tickets: changes, and tickets to open.

use std::sync::Arc;

use uuid::Uuid;

use super::{ServiceError, grouping::Call, idempotency::IdempotentCall, seen_up_to::SeenUpTo};
use crate::{
    db::event::{Files, NewTicketEvent, Seen, Terms},
    domain::{
        actor::Actor,
        clock::Timestamp,
        comment::Comment,
        ids::{AccountId, AttachmentId, TicketId},
        policy,
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
    /// When it is changed.
    pub(super) now: Timestamp,
    /// The comment that the change adds, if any.
    pub(super) comment: Option<Arc<Comment>>,
    /// What the change counts as.
    pub(super) counted: CountedWrite,
    /// The last event that its author has seen, if others must not have commented since.
    pub(super) seen_up_to: Option<(Actor, SeenUpTo)>,
    /// The call that adds the comment, if it may be repeated.
    pub(super) call: Option<IdempotentCall>,
    /// The files that are attached to the comment.
    pub(super) files: Vec<AttachmentId>,
    /// Decides the change.
    pub(super) decide: Decide,
}

/// A ticket to open.
pub(super) struct Opening {
    /// The ticket. Its number is assigned when it is opened.
    pub(super) ticket: Ticket,
    /// Whom it is counted for.
    pub(super) counted: CountedWrite,
    /// The call that opens it, which may be repeated.
    pub(super) call: IdempotentCall,
    /// The files that are attached to its description.
    pub(super) files: Vec<AttachmentId>,
    /// The customer for whom staff open it, or `None` if it is the author's own.
    pub(super) customer: Option<AccountId>,
}

/// The outcome of a call that may be a repetition.
pub(super) enum Made {
    /// The ticket after the change, or as it was opened.
    Now(Box<Ticket>),
    /// The same call was made before, and created what has this id.
    Earlier(Uuid),
}

/// What an account writes. Each kind is counted separately.
#[derive(Clone, Copy)]
pub(super) enum Write {
    /// Opening tickets.
    Ticket,
    /// Adding and editing comments.
    Comment,
    /// Changing tickets and preferences.
    Change,
    /// Marking tickets and notifications as read.
    Mark,
}

/// A write that counts towards a limit of its author.
#[derive(Clone, Copy)]
pub(super) struct CountedWrite {
    /// What is written.
    pub(super) kind: Write,
    /// Who writes it.
    pub(super) actor: Actor,
    /// The account of the actor.
    pub(super) account: AccountId,
}

impl Change {
    /// Returns what the change depends on besides its ticket, or `None` if the locked ticket must
    /// tell.
    pub(super) fn terms(&self) -> Option<Terms<'_>> {
        let seen = match &self.seen_up_to {
            None => None,
            Some((actor, SeenUpTo(event))) => {
                Some(Seen { event: (*event)?, reader: policy::reader(actor)? })
            }
        };
        let Some(comment) = &self.comment else {
            return Some(Terms { seen, ..Terms::default() });
        };
        let claim = self.call.as_ref().and_then(|it| it.claim(comment.id.0, comment.created_at));
        Some(Terms { claim, files: files(comment.author_id, &self.files), seen })
    }

    /// Whether an earlier call may have made the change.
    pub(super) fn is_keyed(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.key.is_some())
    }
}

impl Opening {
    /// Returns what the opening depends on besides its category.
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            claim: self.call.claim(self.ticket.id.0, self.ticket.created_at),
            files: files(self.counted.account, &self.files),
            seen: None,
        }
    }
}

fn files(uploader: AccountId, ids: &[AttachmentId]) -> Option<Files<'_>> {
    (!ids.is_empty()).then_some(Files { uploader, ids })
}

impl Call for Change {
    type Answer = Made;

    fn subject(&self) -> Option<TicketId> {
        Some(self.id)
    }
}

impl Call for Opening {
    type Answer = Made;
}
