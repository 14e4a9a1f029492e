//! Who has which ticket open. Nodes announce it to each other and keep it in memory only.

use std::collections::HashMap;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    clock::Timestamp,
    ids::{AccountId, SessionId, TicketId},
};

/// How long somebody is shown after the last announcement.
pub const LIFETIME: TimeDelta = TimeDelta::seconds(15);
/// How often a client is announced on a ticket while nothing changes.
pub const ANNOUNCE_EVERY: TimeDelta = TimeDelta::seconds(5);
/// The maximum number of people that are shown on a ticket. Further ones are not.
pub const MAX_PEOPLE: usize = 50;
/// The maximum length of the name that a client gives itself, in characters.
pub const MAX_CLIENT_NAME: usize = 64;
/// The maximum number of clients of a person on a ticket. Further ones count as one.
const MAX_CLIENTS: usize = 10;
/// How many changes of a client are announced at once before [`ANNOUNCE_EVERY`] has passed.
const MAX_AT_ONCE: u8 = 3;
/// The maximum number of tickets that a node shows people on.
const MAX_TICKETS: usize = 10_000;
/// The maximum number of clients whose last announcement a node remembers, so that it announces no
/// client too often.
const MAX_ANNOUNCED: usize = 50_000;
/// The maximum number of clients of a person that a node remembers so, on all tickets. Further ones
/// are not announced.
const MAX_OF_PERSON: usize = 200;

/// What a person does with a ticket, from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// Has it open.
    Reading,
    /// Writes a comment or note.
    Writing,
}

/// One of the clients of a person, such as a tab of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(Uuid);

impl ClientId {
    /// Returns the client of a session that gives itself a name, or the one that all clients of the
    /// session are without a name.
    pub fn new(session: SessionId, name: Option<&str>) -> Self {
        let Some(name) = name else { return Self(session.0) };
        let hash = Sha256::new().chain_update(session.0.as_bytes()).chain_update(name).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the id that stands for all clients of a person beyond [`MAX_CLIENTS`].
    fn further(account: AccountId) -> Self {
        Self(account.0)
    }
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
    /// The person's client.
    pub client: ClientId,
    /// What the person does, or `None` if they have left the ticket.
    pub activity: Option<Activity>,
    /// Grows with each announcement of the same client on the same ticket. An older one that arrives
    /// later is ignored.
    pub sequence: i64,
    /// How long ago the person said it, in milliseconds.
    pub age: i64,
}

impl Announcement {
    /// Encodes the announcement, in at most 256 bytes.
    pub fn encode(&self) -> String {
        let activity = match self.activity {
            Some(Activity::Reading) => "reading",
            Some(Activity::Writing) => "writing",
            None => "left",
        };
        let Self { node, ticket, account, session, client, sequence, age, .. } = self;
        format!(
            "{node} {} {} {} {} {sequence} {age} {activity}",
            ticket.0, account.0, session.0, client.0
        )
    }

    /// Decodes an announcement. Returns `None` if this version cannot read it.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let mut id = || Uuid::try_parse(parts.next()?).ok();
        let (node, ticket, account, session, client) = (id()?, id()?, id()?, id()?, id()?);
        let mut number = || parts.next()?.parse().ok();
        let (sequence, age) = (number()?, number()?);
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
            client: ClientId(client),
            activity,
            sequence,
            age,
        })
    }

    fn key(&self) -> (TicketId, ClientId) {
        (self.ticket, self.client)
    }
}

/// The announcements of a client on a ticket.
struct Announced {
    session: SessionId,
    /// What was announced last.
    activity: Option<Activity>,
    /// When it was.
    at: Timestamp,
    /// The sequence of the latest announcement.
    sequence: i64,
    /// The sequence of the latest announcement that was received.
    received: i64,
    /// How many changes were announced at once since it had rest for [`ANNOUNCE_EVERY`].
    at_once: u8,
    /// What is announced later, and when the person said it.
    pending: Option<(Announcement, Timestamp)>,
}

impl Announced {
    fn new(announcement: &Announcement, now: Timestamp) -> Self {
        Self {
            session: announcement.session,
            activity: None,
            at: now,
            sequence: 0,
            received: 0,
            at_once: 0,
            pending: None,
        }
    }

    /// Returns an announcement with its place in the sequence.
    fn announce(
        &mut self,
        (announcement, said_at): (Announcement, Timestamp),
        now: Timestamp,
    ) -> Announcement {
        self.sequence = now.timestamp_micros().max(self.sequence + 1);
        (self.activity, self.at, self.pending) = (announcement.activity, now, None);
        let age = (now - said_at).num_milliseconds();
        Announcement { sequence: self.sequence, age, ..announcement }
    }

    /// Returns whether a change must be announced at once.
    fn is_urgent(&self, activity: Option<Activity>) -> bool {
        (activity.is_none() || activity > self.activity) && self.at_once < MAX_AT_ONCE
    }
}

/// A client on a ticket.
#[derive(Clone, Copy)]
struct PresentClient {
    id: ClientId,
    session: SessionId,
    activity: Activity,
    announced_at: Timestamp,
}

/// A person on a ticket, with at least one client.
struct Person {
    account: AccountId,
    clients: Vec<PresentClient>,
}

impl Person {
    /// Returns the strongest activity of the clients.
    fn activity(&self) -> Option<Activity> {
        self.clients.iter().map(|client| client.activity).max()
    }

    /// Shows a client. Returns whether the person's activity has changed.
    fn show(&mut self, client: PresentClient) -> bool {
        let before = self.activity();
        if let Some(known) = self.clients.iter_mut().find(|known| known.id == client.id) {
            *known = client;
        } else if self.clients.len() <= MAX_CLIENTS {
            self.clients.push(client);
        }
        self.activity() != before
    }
}

/// The people on tickets, as one node knows them.
#[derive(Default)]
pub struct PresenceBoard {
    /// The people of each ticket that has any, in the order of their arrival.
    tickets: HashMap<TicketId, Vec<Person>>,
    /// The latest announcements of each person's clients.
    announced: HashMap<AccountId, HashMap<(TicketId, ClientId), Announced>>,
}

impl PresenceBoard {
    /// Returns whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty() && self.announced.is_empty()
    }

    /// Returns the announcement that the caller must send now, if any. A client is announced at once
    /// when it comes, leaves or does more than before, a few times. Otherwise it is announced once in
    /// [`ANNOUNCE_EVERY`], with what it does then: see [`Self::due`].
    pub fn begin_announcement(
        &mut self,
        mut announcement: Announcement,
        now: Timestamp,
    ) -> Option<Announcement> {
        announcement.client = self.client_of(&announcement);
        let activity = announcement.activity;
        let Some(known) = self.find(&announcement) else {
            let new = self.remember(&announcement, now)?;
            return Some(new.announce((announcement, now), now));
        };
        let has_rested = now - known.at >= ANNOUNCE_EVERY;
        if known.activity == activity && (activity.is_none() || !has_rested) {
            known.pending = None;
            return None;
        }
        if has_rested {
            known.at_once = 0;
        } else if known.is_urgent(activity) {
            known.at_once += 1;
        } else {
            known.pending = Some((announcement, now));
            return None;
        }
        Some(known.announce((announcement, now), now))
    }

    /// Returns the client that an announcement counts for.
    fn client_of(&self, announcement: &Announcement) -> ClientId {
        let Some(known) = self.announced.get(&announcement.account) else {
            return announcement.client;
        };
        if known.contains_key(&announcement.key()) {
            return announcement.client;
        }
        // Also those that have just left, so that a new name does not count as another client.
        let on_ticket = known.keys().filter(|(ticket, _)| *ticket == announcement.ticket).count();
        let is_full = on_ticket >= MAX_CLIENTS;
        if is_full { ClientId::further(announcement.account) } else { announcement.client }
    }

    fn find(&mut self, announcement: &Announcement) -> Option<&mut Announced> {
        self.announced.get_mut(&announcement.account)?.get_mut(&announcement.key())
    }

    /// Remembers the client of an announcement, if there is room.
    fn remember(&mut self, announcement: &Announcement, now: Timestamp) -> Option<&mut Announced> {
        let all = self.announced.values().map(HashMap::len).sum::<usize>();
        let of_person = self.announced.get(&announcement.account).map_or(0, HashMap::len);
        if all >= MAX_ANNOUNCED || of_person >= MAX_OF_PERSON {
            return None;
        }
        let known = self.announced.entry(announcement.account).or_default();
        Some(known.entry(announcement.key()).or_insert(Announced::new(announcement, now)))
    }

    /// Forgets the clients that are not to be kept.
    fn retain(&mut self, is_kept: impl Fn(&Announced) -> bool) {
        self.announced.retain(|_, clients| {
            clients.retain(|_, known| is_kept(known));
            !clients.is_empty()
        });
    }

    /// Returns the announcements that had to wait and that the caller must send now.
    pub fn due(&mut self, now: Timestamp) -> Vec<Announcement> {
        let mut due = Vec::new();
        for known in self.announced.values_mut().flat_map(HashMap::values_mut) {
            let Some((announcement, said_at)) = known.pending else { continue };
            if now - known.at < ANNOUNCE_EVERY {
                continue;
            }
            known.at_once = 0;
            known.pending = None;
            // Nobody is shown who has said nothing for longer.
            if now - said_at < LIFETIME {
                due.push(known.announce((announcement, said_at), now));
            }
        }
        due
    }

    /// Forgets an announcement that could not be sent: the next call is announced at once.
    pub fn cancel_announcement(&mut self, announcement: &Announcement) {
        let known = self.find(announcement);
        if let Some(known) = known.filter(|known| known.sequence == announcement.sequence) {
            known.at -= ANNOUNCE_EVERY;
            if announcement.activity.is_none() {
                known.activity = Some(Activity::Reading);
            }
        }
    }

    /// Receives an announcement, which this node has sent if `is_own`. Returns whether the people on
    /// the ticket, or what they do, have changed.
    pub fn receive(&mut self, announcement: &Announcement, is_own: bool, now: Timestamp) -> bool {
        if !self.is_newest(announcement, is_own, now) {
            return false;
        }
        let Some(activity) = announcement.activity else {
            let (account, client) = (announcement.account, announcement.client);
            return self.remove(announcement.ticket, |by, it| by == account && it.id == client);
        };
        let said_at = now - TimeDelta::milliseconds(announcement.age.clamp(0, 15_000));
        let (id, session) = (announcement.client, announcement.session);
        let client = PresentClient { id, session, activity, announced_at: said_at };
        self.show(announcement.ticket, announcement.account, client)
    }

    /// Returns whether no later announcement of the client was received, and remembers this one.
    fn is_newest(&mut self, announcement: &Announcement, is_own: bool, now: Timestamp) -> bool {
        if self.find(announcement).is_none() {
            self.remember(announcement, now);
        }
        let Some(known) = self.find(announcement) else { return true };
        if announcement.sequence <= known.received {
            return false;
        }
        known.received = announcement.sequence;
        if !is_own && announcement.sequence > known.sequence {
            (known.activity, known.at, known.pending) = (announcement.activity, now, None);
            known.sequence = announcement.sequence;
        }
        true
    }

    fn show(&mut self, ticket: TicketId, account: AccountId, client: PresentClient) -> bool {
        if !self.tickets.contains_key(&ticket) && self.tickets.len() >= MAX_TICKETS {
            return false;
        }
        let people = self.tickets.entry(ticket).or_default();
        if let Some(known) = people.iter_mut().find(|person| person.account == account) {
            return known.show(client);
        }
        let has_room = people.len() < MAX_PEOPLE;
        if has_room {
            people.push(Person { account, clients: vec![client] });
        }
        has_room
    }

    /// Removes clients from a ticket. Returns whether there were any.
    fn remove(
        &mut self,
        ticket: TicketId,
        gone: impl Fn(AccountId, &PresentClient) -> bool,
    ) -> bool {
        let Some(people) = self.tickets.get_mut(&ticket) else { return false };
        let mut has_changed = false;
        for person in people.iter_mut() {
            let (account, before) = (person.account, person.clients.len());
            person.clients.retain(|client| !gone(account, client));
            has_changed |= person.clients.len() != before;
        }
        people.retain(|person| !person.clients.is_empty());
        if people.is_empty() {
            self.tickets.remove(&ticket);
        }
        has_changed
    }

    /// Removes clients from all tickets. Returns the tickets that they were on.
    fn remove_everywhere(
        &mut self,
        gone: impl Fn(AccountId, &PresentClient) -> bool,
    ) -> Vec<TicketId> {
        let tickets = self.tickets.keys().copied().collect::<Vec<_>>();
        tickets.into_iter().filter(|&ticket| self.remove(ticket, &gone)).collect()
    }

    /// Removes the people who were not announced for [`LIFETIME`]. Returns the tickets that they were
    /// on.
    pub fn expire(&mut self, now: Timestamp) -> Vec<TicketId> {
        self.retain(|known| known.pending.is_some() || now - known.at < LIFETIME);
        self.remove_everywhere(|_, client| now - client.announced_at >= LIFETIME)
    }

    /// Removes the clients of a session that has ended. Returns the tickets that they were on.
    pub fn end_session(&mut self, session: SessionId) -> Vec<TicketId> {
        self.retain(|known| known.session != session);
        self.remove_everywhere(|_, client| client.session == session)
    }

    /// Removes a person who is no longer staff. Returns the tickets that they were on.
    pub fn remove_account(&mut self, account: AccountId) -> Vec<TicketId> {
        self.announced.remove(&account);
        self.remove_everywhere(|by, _| by == account)
    }

    /// Returns the people on a ticket and what they do, in the order of their arrival: at most
    /// [`MAX_PEOPLE`]. Of the clients of a person, the strongest activity counts.
    pub fn people(&self, ticket: TicketId) -> Vec<(AccountId, Activity)> {
        let people = self.tickets.get(&ticket).into_iter().flatten();
        people.filter_map(|person| Some((person.account, person.activity()?))).collect()
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
            client: ClientId(Uuid::from_u128(account)),
            activity,
            sequence: 1,
            age: 0,
        }
    }

    #[test]
    fn an_announcement_is_decoded_as_it_was_encoded() {
        for activity in [Some(Activity::Reading), Some(Activity::Writing), None] {
            let announcement = announcement(1, 2, activity);
            assert_eq!(Announcement::decode(&announcement.encode()), Some(announcement));
            assert!(announcement.encode().len() <= 256);
        }
        let of_a_later_version = announcement(1, 2, None).encode().replace("left", "drawing");
        for text in ["", "nonsense", &of_a_later_version] {
            assert_eq!(Announcement::decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_client_is_announced_at_once_when_it_does_more_and_else_within_five_seconds() {
        let mut board = PresenceBoard::default();
        let (reading, writing) = (Some(Activity::Reading), Some(Activity::Writing));
        let steps = [
            (0, reading, true),
            (4, reading, false),
            (4, writing, true),
            (5, reading, false),
            (6, writing, false),
            (7, reading, false),
            (9, reading, true),
            (10, None, true),
            (11, None, false),
            (11, reading, true),
            (12, writing, true),
            // Too many changes at once.
            (13, None, false),
            (17, None, true),
        ];
        for (second, activity, expected) in steps {
            let announcement = announcement(1, 2, activity);
            let announced = board.begin_announcement(announcement, at(second));
            assert_eq!(announced.is_some(), expected, "{second} {activity:?}");
        }
    }

    #[test]
    fn the_latest_change_is_announced_when_the_five_seconds_are_over() {
        let mut board = PresenceBoard::default();
        let (reading, writing) = (Some(Activity::Reading), Some(Activity::Writing));
        let first = board.begin_announcement(announcement(1, 2, writing), at(0)).unwrap();
        assert_eq!(board.begin_announcement(announcement(1, 2, reading), at(2)), None);
        assert_eq!(board.due(at(4)), []);
        let due = board.due(at(5));
        assert_eq!((due[0].activity, due[0].age, due.len()), (reading, 3_000, 1));
        assert_eq!(board.due(at(10)), []);
        // What was sent earlier and arrives later is ignored.
        assert!(board.receive(&due[0], true, at(5)));
        assert!(!board.receive(&first, true, at(5)));
        assert_eq!(board.people(first.ticket), [(first.account, Activity::Reading)]);
        // The person has said it three seconds before.
        assert_eq!(board.expire(at(16)), []);
        assert_eq!(board.expire(at(17)), [first.ticket]);
    }

    #[test]
    fn of_the_clients_of_a_person_the_strongest_activity_is_shown() {
        let mut board = PresenceBoard::default();
        let call = |client: u128, activity| Announcement {
            // Further clients have the id of the account, 2.
            client: ClientId(Uuid::from_u128(100 + client)),
            ..announcement(1, 2, activity)
        };
        let mut set = |client, activity, second| {
            let announced = board.begin_announcement(call(client, activity), at(second));
            if let Some(announced) = announced {
                board.receive(&announced, true, at(second));
            }
            let people = board.people(announcement(1, 2, None).ticket);
            people.into_iter().map(|(_, activity)| activity).collect::<Vec<_>>()
        };
        assert_eq!(set(1, Some(Activity::Writing), 0), [Activity::Writing]);
        assert_eq!(set(2, Some(Activity::Reading), 0), [Activity::Writing]);
        assert_eq!(set(1, None, 1), [Activity::Reading]);
        for client in 3..1_000 {
            set(client, Some(Activity::Reading), 1);
        }
        assert_eq!(board.announced.values().map(HashMap::len).sum::<usize>(), MAX_CLIENTS + 1);
    }

    #[test]
    fn a_person_who_has_very_many_tickets_open_takes_no_room_from_others() {
        let mut board = PresenceBoard::default();
        let reading = Some(Activity::Reading);
        let most = u128::try_from(MAX_OF_PERSON).unwrap();
        for ticket in 0..most {
            assert!(board.begin_announcement(announcement(ticket, 1, reading), at(0)).is_some());
        }
        assert_eq!(board.begin_announcement(announcement(most, 1, reading), at(0)), None);
        assert!(board.begin_announcement(announcement(most, 2, reading), at(0)).is_some());
        // The first ones are forgotten, as nobody has said anything about them since.
        board.expire(at(15));
        assert!(board.begin_announcement(announcement(most, 1, reading), at(15)).is_some());
    }

    #[test]
    fn another_node_has_announced_a_person_for_this_one() {
        let mut board = PresenceBoard::default();
        let reading = announcement(1, 2, Some(Activity::Reading));
        assert!(board.receive(&reading, false, at(0)));
        assert_eq!(board.begin_announcement(reading, at(4)), None);
        assert!(board.begin_announcement(reading, at(5)).is_some());
    }

    #[test]
    fn people_are_gone_fifteen_seconds_after_the_last_announcement() {
        let mut board = PresenceBoard::default();
        let reading = announcement(1, 2, Some(Activity::Reading));
        assert!(board.receive(&reading, true, at(0)));
        assert!(!board.receive(&Announcement { sequence: 2, ..reading }, true, at(5)));
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
        let writing = announcement(0, 1, Some(Activity::Writing));
        assert!(board.receive(&Announcement { sequence: 2, ..writing }, true, at(0)));
        for ticket in 1..tickets {
            assert!(board.receive(&announcement(ticket, 1, Some(Activity::Reading)), true, at(0)));
        }
        assert!(!board.receive(&announcement(tickets, 1, Some(Activity::Reading)), true, at(0)));
    }
}
