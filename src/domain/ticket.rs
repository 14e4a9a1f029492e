//! Tickets: what they are and how they may change.

use std::fmt;

use super::{
    clock::Timestamp,
    event::EventData,
    ids::{AccountId, CategoryId, TicketId},
    text::Summary,
};

pub use super::status::{Priority, Standing, Status};

/// The number that people call a ticket by, without the installation's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketNumber(pub i64);

/// The installation's prefix of ticket numbers: 1 to 10 capital letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberPrefix(String);

impl NumberPrefix {
    /// Accepts a prefix.
    ///
    /// # Errors
    /// Anything but 1 to 10 letters from A to Z.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be 1 to 10 letters from A to Z, like CS")
        }
    }

    /// The number as people see it: `CS-234567`.
    pub fn format(&self, number: TicketNumber) -> String {
        format!("{}-{}", self.0, number.0)
    }

    /// Reads a number as people write it, in any case, with or without spaces around it.
    pub fn read(&self, text: &str) -> Option<TicketNumber> {
        let (prefix, digits) = text.trim().split_once('-')?;
        if !prefix.eq_ignore_ascii_case(&self.0) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(TicketNumber)
    }
}

/// So many customers take part in a ticket besides its reporter.
pub const MAX_PARTICIPANTS: usize = 50;
/// So many may have left a ticket: their names are needed for its history.
const MAX_PAST_PARTICIPANTS: usize = 200;

/// A ticket.
#[derive(Clone)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// What people call it by.
    pub number: TicketNumber,
    /// What it is sorted into.
    pub category_id: CategoryId,
    /// The customer who opened it.
    pub reporter_id: AccountId,
    /// The other customers who take part in it, in the order in which they were added;
    /// [`MAX_PARTICIPANTS`] at most.
    pub participant_ids: Vec<AccountId>,
    /// Those who took part in it before and do no longer.
    pub past_participant_ids: Vec<AccountId>,
    /// The member of staff who works on it.
    pub assignee_id: Option<AccountId>,
    /// What it is about, in a line.
    pub summary: String,
    /// What it is about.
    pub description: String,
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// Moves by one with each change of status, priority, assignee, summary or category.
    pub version: i32,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When something last changed that the customer can see.
    pub updated_at: Timestamp,
    /// Since when it waits for support without a break; none: it doesn't.
    pub waiting_since: Option<Timestamp>,
    /// Since when it is resolved; none: it isn't.
    pub resolved_at: Option<Timestamp>,
    /// The closed ticket that it goes on from.
    pub follow_up_to: Option<TicketId>,
}

// What people write stays out of logs.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({}, version {})", self.number.0, self.version)
    }
}

/// What is to change about a ticket; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The new status.
    pub status: Option<Status>,
    /// The new priority.
    pub priority: Option<Priority>,
    /// The new assignee; `Some(None)` takes the present one off.
    pub assignee: Option<Option<AccountId>>,
    /// The new category.
    pub category: Option<CategoryId>,
    /// The new summary.
    pub summary: Option<Summary>,
}

/// A status change that the table doesn't allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalMove {
    /// Where the ticket stands.
    pub from: Status,
    /// Where it was to go.
    pub to: Status,
}

/// Why nobody can be added to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyParticipants;

impl Ticket {
    /// Lets a customer take part. Gives the event that tells of it; none where they have
    /// a part in it already.
    ///
    /// # Errors
    /// As many take part as can, or did.
    pub fn add_participant(
        &mut self,
        account_id: AccountId,
        now: Timestamp,
    ) -> Result<Option<EventData>, TooManyParticipants> {
        if account_id == self.reporter_id || self.participant_ids.contains(&account_id) {
            return Ok(None);
        }
        if self.participant_ids.len() >= MAX_PARTICIPANTS
            || self.past_participant_ids.len() >= MAX_PAST_PARTICIPANTS
        {
            return Err(TooManyParticipants);
        }
        self.past_participant_ids.retain(|&id| id != account_id);
        self.participant_ids.push(account_id);
        self.updated_at = now;
        Ok(Some(EventData::ParticipantAdded { account_id }))
    }

    /// Lets a customer take part no longer. Gives the event that tells of it; none where
    /// they did not.
    pub fn remove_participant(
        &mut self,
        account_id: AccountId,
        now: Timestamp,
    ) -> Option<EventData> {
        let index = self.participant_ids.iter().position(|&id| id == account_id)?;
        self.participant_ids.remove(index);
        self.past_participant_ids.push(account_id);
        self.updated_at = now;
        Some(EventData::ParticipantRemoved { account_id })
    }

    /// Applies changes, or none of them. Gives the events that tell of what did
    /// change: a field that is set to what it is already is no change.
    ///
    /// # Errors
    /// A status change that the table doesn't allow.
    pub fn apply(
        &mut self,
        changes: Changes,
        by: Standing,
        now: Timestamp,
    ) -> Result<Vec<EventData>, IllegalMove> {
        if let Some(to) = changes.status
            && to != self.status
            && !self.status.may_move(to, by)
        {
            return Err(IllegalMove { from: self.status, to });
        }
        Ok(self.set(changes, now))
    }

    /// Moves the ticket to whose turn it is after a public comment. The table of
    /// moves doesn't bind this: it is the rule, not a person's choice.
    pub fn move_after_comment(&mut self, by: Standing, now: Timestamp) -> Vec<EventData> {
        let status = self.status.after_comment(by);
        self.set(Changes { status, ..Changes::default() }, now)
    }

    /// Closes the ticket, if it is resolved: nobody has taken it up again for long enough.
    pub fn close_if_resolved(&mut self, now: Timestamp) -> Vec<EventData> {
        let status = (self.status == Status::Resolved).then_some(Status::Closed);
        self.set(Changes { status, ..Changes::default() }, now)
    }

    fn set(&mut self, changes: Changes, now: Timestamp) -> Vec<EventData> {
        let mut events = Vec::new();
        if let Some((from, to)) = replace(&mut self.status, changes.status) {
            events.push(EventData::StatusChanged { from, to });
            self.waiting_since = (to == Status::WaitingForSupport).then_some(now);
            self.resolved_at = (to == Status::Resolved).then_some(now);
        }
        if let Some((from, to)) = replace(&mut self.priority, changes.priority) {
            events.push(EventData::PriorityChanged { from, to });
        }
        if let Some((from, to)) = replace(&mut self.assignee_id, changes.assignee) {
            events.push(EventData::AssigneeChanged { from, to });
        }
        if let Some((from, to)) = replace(&mut self.category_id, changes.category) {
            events.push(EventData::CategoryChanged { from, to });
        }
        if replace(&mut self.summary, changes.summary.map(Summary::into_string)).is_some() {
            events.push(EventData::SummaryChanged {});
        }
        if !events.is_empty() {
            self.version += 1;
            self.updated_at = now;
        }
        events
    }
}

/// Puts the new value in, and gives the old and the new one if they differ.
fn replace<T: Clone + PartialEq>(field: &mut T, new: Option<T>) -> Option<(T, T)> {
    let new = new.filter(|new| new != field)?;
    let old = std::mem::replace(field, new.clone());
    Some((old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        let prefix = NumberPrefix::parse("CS").unwrap();
        assert_eq!(prefix.format(TicketNumber(234_567)), "CS-234567");
        assert_eq!(prefix.read(" cs-234567 "), Some(TicketNumber(234_567)));
        for text in ["234567", "XX-1", "CS-", "CS--1", "CS-+1", "CS-99999999999999999999", "CS-1٣"]
        {
            assert_eq!(prefix.read(text), None, "{text}");
        }
        assert!(NumberPrefix::parse("cs").is_err() && NumberPrefix::parse("").is_err());
    }
}
