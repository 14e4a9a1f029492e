//! Tickets and the rules by which they change.

use std::fmt;

use super::{
    account::AccountChangeCount,
    clock::Timestamp,
    comment::{Comment, Visibility},
    event::{TicketEvent, TicketState},
    ids::{AccountId, CategoryId, CommentId, TicketId},
    merge::Merge,
    redaction::{RedactedContent, TicketText},
    text::Summary,
};

pub use super::{
    status::{Priority, Status, TicketRelation},
    ticket_number::{NumberPrefix, TicketNumber},
};

/// The maximum number of participants of a ticket, not counting the customer who opened it.
pub const MAX_PARTICIPANTS: usize = 50;
/// The number of past participants of a ticket from which on nobody can be added. Those who take part
/// can still leave. Its history shows their names.
pub const MAX_PAST_PARTICIPANTS: usize = 200;

/// A ticket.
#[derive(Clone)]
pub struct Ticket {
    /// The ticket's id.
    pub id: TicketId,
    /// The number shown to people.
    pub number: TicketNumber,
    /// The category.
    pub category_id: CategoryId,
    /// The customer who opened the ticket.
    pub reporter_id: AccountId,
    /// The other customers who take part, in the order in which they were added. At most
    /// [`MAX_PARTICIPANTS`].
    pub participant_ids: Vec<AccountId>,
    /// The customers who took part and were removed. Fewer than [`MAX_PAST_PARTICIPANTS`] and
    /// [`MAX_PARTICIPANTS`] together.
    pub past_participant_ids: Vec<AccountId>,
    /// The member of staff who works on the ticket, if any.
    pub assignee_id: Option<AccountId>,
    /// The subject, in one line. Empty if it was redacted.
    pub summary: String,
    /// The customer's description of the problem. Empty if it was redacted.
    pub description: String,
    /// The status.
    pub status: Status,
    /// The priority.
    pub priority: Priority,
    /// Increases by one with each update of the status, priority, assignee, category or summary.
    pub version: i32,
    /// When the ticket was opened.
    pub created_at: Timestamp,
    /// When something that the customer can see last changed.
    pub updated_at: Timestamp,
    /// Since when the ticket has been waiting for support, or `None` if its status is another. Lists
    /// rely on that (`db/ticket/list.rs`).
    pub waiting_since: Option<Timestamp>,
    /// When the ticket was resolved, or `None` if its status is not resolved.
    pub resolved_at: Option<Timestamp>,
    /// The closed ticket that this one follows up on, if any.
    pub follow_up_to: Option<TicketId>,
    /// How many events the ticket has. Grows with everything that happens to it.
    pub events: i64,
    /// The last comments, or `None` if they must be looked up.
    pub last_comments: Option<LastComments>,
    /// How often accounts had changed when the ticket was read. `None` if it was not read.
    pub account_changes: Option<AccountChangeCount>,
}

/// The last comments of a ticket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastComments {
    /// The last of all comments and internal notes, if there is one.
    pub any: Option<CommentId>,
    /// The last comment that customers see, if there is one.
    pub public: Option<CommentId>,
}

// What people write must not appear in logs.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({}, version {})", self.number.0, self.version)
    }
}

/// Changes to a ticket. `None` leaves a field unchanged.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The new status.
    pub status: Option<Status>,
    /// The new priority.
    pub priority: Option<Priority>,
    /// The new assignee. `Some(None)` removes the current one.
    pub assignee: Option<Option<AccountId>>,
    /// The new category.
    pub category: Option<CategoryId>,
    /// The new summary.
    pub summary: Option<Summary>,
}

/// A status change that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalMove {
    /// The current status.
    pub from: Status,
    /// The requested status.
    pub to: Status,
}

/// A limit of participants that a ticket has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooManyParticipants {
    /// The ticket has [`MAX_PARTICIPANTS`].
    Current,
    /// The ticket has [`MAX_PAST_PARTICIPANTS`].
    Past,
}

impl Ticket {
    /// Returns about how many bytes the ticket takes in memory.
    pub fn size(&self) -> usize {
        let accounts = self.participant_ids.len() + self.past_participant_ids.len();
        let texts = self.summary.len() + self.description.len();
        size_of::<Self>() + texts + accounts * size_of::<AccountId>()
    }

    /// Records a comment that is added to the ticket.
    pub fn add_last_comment(&mut self, comment: &Comment) {
        let id = Some(comment.id);
        self.last_comments = match comment.visibility {
            Visibility::Public => Some(LastComments { any: id, public: id }),
            Visibility::Internal => self.last_comments.map(|last| LastComments { any: id, ..last }),
        };
    }

    /// The values that queues filter by.
    pub fn state(&self) -> TicketState {
        TicketState {
            category: self.category_id,
            status: self.status,
            priority: self.priority,
            assignee: self.assignee_id,
        }
    }

    /// Returns whether somebody may be invited. `invited` is the number of open invitations.
    ///
    /// # Errors
    /// The ticket has reached its limit of participants, counting everybody who is invited, or of
    /// past participants.
    pub fn check_room(&self, invited: usize) -> Result<(), TooManyParticipants> {
        if self.participant_ids.len() + invited >= MAX_PARTICIPANTS {
            return Err(TooManyParticipants::Current);
        }
        if self.past_participant_ids.len() >= MAX_PAST_PARTICIPANTS {
            return Err(TooManyParticipants::Past);
        }
        Ok(())
    }

    /// Adds a participant. Returns the event to record, or `None` if the customer opened the
    /// ticket or already takes part.
    ///
    /// # Errors
    /// The ticket has reached its limit of current or past participants.
    pub fn add_participant(
        &mut self,
        account_id: AccountId,
        now: Timestamp,
    ) -> Result<Option<TicketEvent>, TooManyParticipants> {
        if account_id == self.reporter_id || self.participant_ids.contains(&account_id) {
            return Ok(None);
        }
        self.check_room(0)?;
        self.past_participant_ids.retain(|&id| id != account_id);
        self.participant_ids.push(account_id);
        self.touch(now);
        Ok(Some(TicketEvent::ParticipantAdded { account_id }))
    }

    /// Removes a participant. Returns the event to record, or `None` if the customer does not
    /// take part.
    pub fn remove_participant(
        &mut self,
        account_id: AccountId,
        now: Timestamp,
    ) -> Option<TicketEvent> {
        let index = self.participant_ids.iter().position(|&id| id == account_id)?;
        self.participant_ids.remove(index);
        self.past_participant_ids.push(account_id);
        self.touch(now);
        Some(TicketEvent::ParticipantRemoved { account_id })
    }

    /// Applies all changes or none. Returns the events to record, one for each field whose value
    /// differs from the current one.
    ///
    /// # Errors
    /// The person may not make this status change.
    pub fn apply(
        &mut self,
        changes: Changes,
        by: TicketRelation,
        now: Timestamp,
    ) -> Result<Vec<TicketEvent>, IllegalMove> {
        if let Some(to) = changes.status
            && to != self.status
            && !self.status.may_move(to, by)
        {
            return Err(IllegalMove { from: self.status, to });
        }
        Ok(self.set(changes, now))
    }

    /// Changes the status as a public comment requires. The table of allowed changes does not
    /// apply, because the change is automatic and not a person's choice.
    pub fn move_after_comment(&mut self, by: TicketRelation, now: Timestamp) -> Vec<TicketEvent> {
        let status = self.status.after_comment(by);
        self.set(Changes { status, ..Changes::default() }, now)
    }

    /// Closes the ticket if it is resolved. The caller checks that it was resolved long enough
    /// ago.
    pub fn close_if_resolved(&mut self, now: Timestamp) -> Vec<TicketEvent> {
        let status = (self.status == Status::Resolved).then_some(Status::Closed);
        self.set(Changes { status, ..Changes::default() }, now)
    }

    /// Closes the ticket, which continues in another one. Returns the merge, and the events to
    /// record.
    pub fn merge_into(&mut self, into: TicketId, now: Timestamp) -> (Merge, Vec<TicketEvent>) {
        let merge = Merge {
            ticket_id: self.id,
            into_id: into,
            merged_at: now,
            status: self.status,
            waiting_since: self.waiting_since,
            resolved_at: self.resolved_at,
        };
        let merged = TicketEvent::TicketMerged { from: self.id, into, status: self.status };
        let closed = self.set(Changes { status: Some(Status::Closed), ..Changes::default() }, now);
        self.touch(now);
        (merge, [merged].into_iter().chain(closed).collect())
    }

    /// Waits for support in the place of a ticket that is merged into this one, if that does: its
    /// customer must not be forgotten. Returns the events to record.
    pub fn wait_for_merged(&mut self, merge: &Merge, now: Timestamp) -> Vec<TicketEvent> {
        if merge.status != Status::WaitingForSupport {
            return vec![];
        }
        let as_customer = TicketRelation { staff: false, reporter: true, participant: false };
        let waited = self.waiting_since;
        let events = self.move_after_comment(as_customer, now);
        if self.status == Status::WaitingForSupport {
            self.waiting_since = waited.into_iter().chain(merge.waiting_since).min();
        }
        events
    }

    /// Gives the ticket the status back that it had before a merge. Returns the events to record.
    pub fn unmerge(&mut self, merge: &Merge, now: Timestamp) -> Vec<TicketEvent> {
        let unmerged = TicketEvent::TicketUnmerged { from: self.id, into: merge.into_id };
        let status = Some(merge.status);
        let opened = self.set(Changes { status, ..Changes::default() }, now);
        self.waiting_since = merge.waiting_since;
        self.resolved_at = merge.resolved_at;
        self.touch(now);
        [unmerged].into_iter().chain(opened).collect()
    }

    /// Erases a text. Returns the event to record, or `None` if the text is empty already.
    pub fn redact(&mut self, text: TicketText, now: Timestamp) -> Option<TicketEvent> {
        let (field, content) = match text {
            TicketText::Summary => (&mut self.summary, RedactedContent::Summary),
            TicketText::Description => (&mut self.description, RedactedContent::Description),
        };
        if field.is_empty() {
            return None;
        }
        field.clear();
        // As an update of the summary, which an earlier version would undo.
        self.version += i32::from(text == TicketText::Summary);
        self.touch(now);
        Some(TicketEvent::ContentRedacted { content })
    }

    /// Removes the assignee.
    pub fn unassign(&mut self, now: Timestamp) -> Vec<TicketEvent> {
        self.set(Changes { assignee: Some(None), ..Changes::default() }, now)
    }

    /// Moves the time of the last change forward: a change that waited can be written after a later one,
    /// and the clocks of nodes differ.
    pub fn touch(&mut self, now: Timestamp) {
        self.updated_at = self.updated_at.max(now);
    }

    fn set(&mut self, changes: Changes, now: Timestamp) -> Vec<TicketEvent> {
        let now = now.max(self.updated_at);
        let mut events = Vec::new();
        if let Some((from, to)) = replace(&mut self.status, changes.status) {
            events.push(TicketEvent::StatusChanged { from, to });
            self.waiting_since = (to == Status::WaitingForSupport).then_some(now);
            self.resolved_at = (to == Status::Resolved).then_some(now);
        }
        if let Some((from, to)) = replace(&mut self.priority, changes.priority) {
            events.push(TicketEvent::PriorityChanged { from, to });
        }
        if let Some((from, to)) = replace(&mut self.assignee_id, changes.assignee) {
            events.push(TicketEvent::AssigneeChanged { from, to });
        }
        if let Some((from, to)) = replace(&mut self.category_id, changes.category) {
            events.push(TicketEvent::CategoryChanged { from, to });
        }
        if replace(&mut self.summary, changes.summary.map(Summary::into_string)).is_some() {
            events.push(TicketEvent::SummaryChanged {});
        }
        if !events.is_empty() {
            self.version += 1;
            self.touch(now);
        }
        events
    }
}

/// Replaces a value. Returns the old and the new value if they differ.
fn replace<T: Clone + PartialEq>(field: &mut T, new: Option<T>) -> Option<(T, T)> {
    let new = new.filter(|new| new != field)?;
    let old = std::mem::replace(field, new.clone());
    Some((old, new))
}
