//! Who has which ticket open. Nodes announce it to each other and keep it in memory only.

use std::collections::HashMap;

use chrono::TimeDelta;
use uuid::Uuid;

use super::{
    clock::Timestamp,
    ids::{AccountId, SessionId, TicketId},
};

/// How long somebody is shown after the last announcement.
pub const LIFETIME: TimeDelta = TimeDelta::seconds(15);
/// How often a person is announced on a ticket while nothing changes.
pub const ANNOUNCE_EVERY: TimeDelta = TimeDelta::seconds(5);
/// The maximum number of people that are shown on a ticket. Further ones are not.
pub const MAX_PEOPLE: usize = 50;
/// The maximum number of tickets that a node shows people on.
const MAX_TICKETS: usize = 10_000;
/// The maximum number of announcements that a node remembers, to repeat none too soon.
const MAX_ANNOUNCED: usize = 50_000;

/// What a person does with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Has it open.
    Reading,
    /// Writes a comment or note.
    Writing,
}

/// What nodes tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The node that announces it: a random id that a node has while it runs.
    pub node: Uuid,
    /// The ticket.
    pub ticket: TicketId,
    /// The person.
    pub account: AccountId,
    /// The person's session.
    pub session: SessionId,
    /// What the person does, or `None` if they have left the ticket.
    pub activity: Option<Activity>,
}

impl Announcement {
    /// Encodes the announcement, in at most 160 bytes.
    pub fn encode(&self) -> String {
        let activity = match self.activity {
            Some(Activity::Reading) => "reading",
            Some(Activity::Writing) => "writing",
            None => "left",
        };
        format!("{} {} {} {} {activity}", self.node, self.ticket.0, self.account.0, self.session.0)
    }

    /// Decodes an announcement. Returns `None` if this version cannot read it.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let mut id = || Uuid::try_parse(parts.next()?).ok();
        let (node, ticket, account, session) = (id()?, id()?, id()?, id()?);
        let activity = match parts.next()? {
            "reading" => Some(Activity::Reading),
            "writing" => Some(Activity::Writing),
            "left" => None,
            _ => return None,
        };
        Some(Self {
            node,
            ticket: TicketId(ticket),
            account: AccountId(account),
            session: SessionId(session),
            activity,
        })
    }
}

/// A person on a ticket.
#[derive(Clone, Copy, Debug)]
struct Person {
    account: AccountId,
    session: SessionId,
    activity: Activity,
    announced_at: Timestamp,
}

/// The people on tickets, as one node knows them.
#[derive(Default)]
pub struct PresenceBoard {
    /// The people of each ticket that has any, in the order of their arrival.
    tickets: HashMap<TicketId, Vec<Person>>,
    /// The latest announcements.
    announced: HashMap<(TicketId, AccountId), (Option<Activity>, Timestamp)>,
}

impl PresenceBoard {
    /// Returns whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty() && self.announced.is_empty()
    }

    /// Returns whether the caller must announce this, and remembers that it does. Nothing is
    /// announced again within [`ANNOUNCE_EVERY`] unless it has changed.
    pub fn begin_announcement(&mut self, announcement: &Announcement, now: Timestamp) -> bool {
        let key = (announcement.ticket, announcement.account);
        match self.announced.get(&key) {
            Some((activity, at)) if *activity == announcement.activity => {
                if now - *at < ANNOUNCE_EVERY {
                    return false;
                }
            }
            Some(_) => {}
            None if self.announced.len() >= MAX_ANNOUNCED => return false,
            None => {}
        }
        self.announced.insert(key, (announcement.activity, now));
        true
    }

    /// Forgets an announcement that could not be sent.
    pub fn cancel_announcement(&mut self, announcement: &Announcement) {
        self.announced.remove(&(announcement.ticket, announcement.account));
    }

    /// Receives an announcement, which this node has sent if `is_own`. Returns whether the people on
    /// the ticket, or what they do, have changed.
    pub fn receive(&mut self, announcement: &Announcement, is_own: bool, now: Timestamp) -> bool {
        if !is_own && self.announced.len() < MAX_ANNOUNCED {
            let key = (announcement.ticket, announcement.account);
            self.announced.insert(key, (announcement.activity, now));
        }
        match announcement.activity {
            Some(activity) => self.show(announcement, activity, now),
            None => self.remove(announcement.ticket, |it| it.account == announcement.account),
        }
    }

    fn show(&mut self, announced: &Announcement, activity: Activity, now: Timestamp) -> bool {
        if !self.tickets.contains_key(&announced.ticket) && self.tickets.len() >= MAX_TICKETS {
            return false;
        }
        let people = self.tickets.entry(announced.ticket).or_default();
        let person = Person {
            account: announced.account,
            session: announced.session,
            activity,
            announced_at: now,
        };
        if let Some(known) = people.iter_mut().find(|it| it.account == announced.account) {
            let before = std::mem::replace(known, person);
            return before.activity != activity;
        }
        let has_room = people.len() < MAX_PEOPLE;
        if has_room {
            people.push(person);
        }
        has_room
    }

    /// Removes people from a ticket. Returns whether there were any.
    fn remove(&mut self, ticket: TicketId, gone: impl Fn(&Person) -> bool) -> bool {
        let Some(people) = self.tickets.get_mut(&ticket) else { return false };
        let before = people.len();
        people.retain(|person| !gone(person));
        let after = people.len();
        if after == 0 {
            self.tickets.remove(&ticket);
        }
        after != before
    }

    /// Removes people from all tickets. Returns the tickets that they were on.
    fn remove_everywhere(&mut self, gone: impl Fn(&Person) -> bool) -> Vec<TicketId> {
        let has_any = |people: &Vec<Person>| people.iter().any(&gone);
        let tickets = self.tickets.iter().filter(|(_, people)| has_any(people));
        let tickets = tickets.map(|(id, _)| *id).collect::<Vec<_>>();
        for &ticket in &tickets {
            self.remove(ticket, &gone);
        }
        tickets
    }

    /// Removes the people who were not announced for [`LIFETIME`]. Returns the tickets that they were
    /// on.
    pub fn expire(&mut self, now: Timestamp) -> Vec<TicketId> {
        self.announced.retain(|_, (_, at)| now - *at < ANNOUNCE_EVERY);
        self.remove_everywhere(|person| now - person.announced_at >= LIFETIME)
    }

    /// Removes the person of a session that has ended. Returns the tickets that they were on.
    pub fn end_session(&mut self, session: SessionId) -> Vec<TicketId> {
        self.leave(|person| person.session == session)
    }

    /// Removes a person who is no longer staff. Returns the tickets that they were on.
    pub fn remove_account(&mut self, account: AccountId) -> Vec<TicketId> {
        self.leave(|person| person.account == account)
    }

    /// Removes people so that they are announced at once if they return.
    fn leave(&mut self, gone: impl Fn(&Person) -> bool) -> Vec<TicketId> {
        let all = self.tickets.iter();
        let keys = all.flat_map(|(&id, people)| {
            people.iter().filter(|person| gone(person)).map(move |person| (id, person.account))
        });
        for key in keys.collect::<Vec<_>>() {
            self.announced.remove(&key);
        }
        self.remove_everywhere(gone)
    }

    /// Returns the people on a ticket and what they do, in the order of their arrival: at most
    /// [`MAX_PEOPLE`].
    pub fn people(&self, ticket: TicketId) -> Vec<(AccountId, Activity)> {
        let people = self.tickets.get(&ticket).into_iter().flatten();
        people.map(|person| (person.account, person.activity)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    fn announcement(ticket: u128, account: u128, activity: Option<Activity>) -> Announcement {
        Announcement {
            node: Uuid::from_u128(1),
            ticket: TicketId(Uuid::from_u128(ticket)),
            account: AccountId(Uuid::from_u128(account)),
            session: SessionId(Uuid::from_u128(account)),
            activity,
        }
    }

    #[test]
    fn an_announcement_is_decoded_as_it_was_encoded() {
        for activity in [Some(Activity::Reading), Some(Activity::Writing), None] {
            let announcement = announcement(1, 2, activity);
            assert_eq!(Announcement::decode(&announcement.encode()), Some(announcement));
            assert!(announcement.encode().len() <= 160);
        }
        let of_a_later_version = announcement(1, 2, None).encode().replace("left", "drawing");
        for text in ["", "nonsense", &of_a_later_version] {
            assert_eq!(Announcement::decode(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_announced_again_within_five_seconds_unless_it_has_changed() {
        let mut board = PresenceBoard::default();
        let (reading, writing) = (Some(Activity::Reading), Some(Activity::Writing));
        let steps = [
            (0, reading, true),
            (4, reading, false),
            (4, writing, true),
            (5, reading, true),
            (9, reading, false),
            (10, reading, true),
            (11, None, true),
            (12, None, false),
            (12, reading, true),
        ];
        for (second, activity, expected) in steps {
            let announcement = announcement(1, 2, activity);
            assert_eq!(board.begin_announcement(&announcement, at(second)), expected, "{second}");
        }
    }

    #[test]
    fn another_node_has_announced_a_person_for_this_one() {
        let mut board = PresenceBoard::default();
        let reading = announcement(1, 2, Some(Activity::Reading));
        assert!(board.receive(&reading, false, at(0)));
        assert!(!board.begin_announcement(&reading, at(4)));
        assert!(board.begin_announcement(&reading, at(5)));
    }

    #[test]
    fn people_are_gone_fifteen_seconds_after_the_last_announcement() {
        let mut board = PresenceBoard::default();
        let reading = announcement(1, 2, Some(Activity::Reading));
        assert!(board.receive(&reading, true, at(0)));
        assert!(!board.receive(&reading, true, at(5)));
        assert_eq!(board.expire(at(19)), []);
        assert_eq!(board.people(reading.ticket), [(reading.account, Activity::Reading)]);
        assert_eq!(board.expire(at(20)), [reading.ticket]);
        assert_eq!(board.people(reading.ticket), []);
        assert!(board.is_empty());
    }

    #[test]
    fn what_a_node_remembers_is_bounded() {
        let mut board = PresenceBoard::default();
        let people = u128::try_from(MAX_PEOPLE).unwrap();
        let tickets = u128::try_from(MAX_TICKETS).unwrap();
        for account in 0..people {
            assert!(board.receive(&announcement(0, account, Some(Activity::Reading)), true, at(0)));
        }
        assert!(!board.receive(&announcement(0, people, Some(Activity::Reading)), true, at(0)));
        // Somebody who is shown already still is.
        assert!(board.receive(&announcement(0, 1, Some(Activity::Writing)), true, at(0)));
        for ticket in 1..tickets {
            assert!(board.receive(&announcement(ticket, 1, Some(Activity::Reading)), true, at(0)));
        }
        assert!(!board.receive(&announcement(tickets, 1, Some(Activity::Reading)), true, at(0)));
    }
}
