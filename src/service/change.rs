//! The one way in which what people do to a ticket is written.
//!
//! A change is decided on a ticket that was read without a lock, or as this node has just written it
//! (`written_tickets.rs`), and written by a statement that compares what the decision was made on. If the ticket
//! has changed in between or is locked, the change is decided again: first on the ticket as it is read,
//! then on the locked ticket. A ticket that was not read refuses nothing. Changes that arrive together
//! are written together (`grouping.rs`): each is decided on the ticket as those before it leave it. A
//! ticket that others keep locked holds up its own changes only.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use chrono::TimeDelta;

use super::{
    ServiceError, Services,
    grouping::{Turn, Waiting, log_failure, repeated, submit},
    rate_limit::{self, too_frequent, write_bucket},
    seen_up_to::check_nothing_said,
    session::{CurrentRoles, ensure_unchanged},
    ticket_writes::{Change, Made},
    upload,
    used_terms::UsedTerms,
};
use crate::{
    db::{
        Blame, Connection, DbError,
        event::{self, NewTicketEvent, Saved, TicketChange},
        ticket as tickets,
    },
    domain::{
        clock::Timestamp,
        event::{Audience, TicketEvent},
        ids::{AccountId, TicketId},
        policy::TicketScope,
        ticket::Ticket,
    },
};

/// How long after its call a change is written without a look at whether its author is still who they
/// were: about as long as other nodes take to learn that a session has ended.
const UNCHECKED: TimeDelta = TimeDelta::seconds(1);

/// A change that was decided.
struct Decided {
    waiting: Waiting<Change>,
    ticket: Ticket,
    events: Vec<NewTicketEvent>,
}

/// A group whose changes are being decided.
#[derive(Default)]
struct Group {
    tickets: HashMap<TicketId, Ticket>,
    /// The tickets that were not read: they may have changed since this node wrote them.
    unread: HashSet<TicketId>,
    /// The epoch in which they were written.
    epoch: Option<i32>,
    decided: Vec<Decided>,
    used: UsedTerms,
    /// Those that are decided again, in a group of their own, on tickets that it reads.
    again: Vec<Waiting<Change>>,
    /// Those that the group cannot decide: they are made after it, one by one.
    later: Vec<Waiting<Change>>,
}

/// Makes a change together with others. Returns the ticket after it, or the result of an earlier
/// equal call.
///
/// # Errors
/// Returns the error of the decision, [`ServiceError::NotFound`] if there is no such ticket,
/// [`ServiceError::TooFrequent`] if the account has written too much within a minute,
/// [`ServiceError::AnsweredMeanwhile`] if others have said what the author has not seen, and a user
/// error if a file cannot be attached or the key was used with another input.
pub(super) async fn make(services: &Services, change: Change) -> Result<Made, ServiceError> {
    let all = services.clone();
    submit(&services.changes, change, move |group, turn| process(all.clone(), group, turn)).await
}

async fn process(services: Services, mut waiting: Vec<Waiting<Change>>, mut turn: Turn<Change>) {
    while !waiting.is_empty() {
        waiting = process_once(&services, waiting, &mut turn).await;
    }
}

/// Makes changes together: decides them, and writes them when it is their turn. Returns those that
/// must be decided again, without some of the others or on tickets that are read.
async fn process_once(
    services: &Services,
    waiting: Vec<Waiting<Change>>,
    turn: &mut Turn<Change>,
) -> Vec<Waiting<Change>> {
    let mut group = Group::default();
    match group.read(services, &waiting).await {
        Ok(()) => {}
        Err(error) if error.is_unavailable() || error.blame() == Blame::Outage => {
            return fail(waiting, &error);
        }
        Err(error) => {
            tracing::warn!(%error, "reading the tickets of a group failed; changing them one by one");
            make_singly(services, waiting);
            return vec![];
        }
    }
    group.decide(waiting);
    if group.decided.is_empty() {
        return group.finish(services, Ok(Saved::default()));
    }
    // Without a connection, which the group before may need.
    turn.wait().await;
    let written = match services.database.read().await {
        Ok(mut connection) => match group.check_authors(services, &mut connection).await {
            Ok(()) => group.write(services, &mut connection).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    // Those that are decided again have their tickets for themselves as long as the turn lasts.
    if group.is_done(&written) {
        turn.end().await;
    }
    group.finish(services, written)
}

fn fail(waiting: Vec<Waiting<Change>>, error: &DbError) -> Vec<Waiting<Change>> {
    for waiting in waiting {
        waiting.answer(Err(repeated(error)));
    }
    vec![]
}

impl Group {
    /// Reads the tickets of changes, except those that this node has just written.
    async fn read(
        &mut self,
        services: &Services,
        waiting: &[Waiting<Change>],
    ) -> Result<(), DbError> {
        let mut ids = waiting.iter().map(|waiting| waiting.call.id).collect::<Vec<_>>();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|&id| match services.written.take(id) {
            Some(written) if written.epoch == *self.epoch.get_or_insert(written.epoch) => {
                self.unread.insert(id);
                self.tickets.insert(id, written.ticket);
                false
            }
            _ => true,
        });
        if !ids.is_empty() {
            let mut connection = services.database.read().await?;
            let found = tickets::by_ids(&mut connection, TicketScope::All, &ids).await?;
            self.tickets.extend(found.into_iter().map(|ticket| (ticket.id, ticket)));
        }
        Ok(())
    }

    /// Decides each change on the ticket as those before it leave it. Answers those that nothing
    /// needs to be written for.
    fn decide(&mut self, waiting: Vec<Waiting<Change>>) {
        for waiting in waiting {
            self.decide_one(waiting);
        }
        // Changes of one ticket must follow each other. The sort is stable.
        self.decided.sort_by_key(|decided| decided.ticket.id);
    }

    fn decide_one(&mut self, waiting: Waiting<Change>) {
        let change = &waiting.call;
        let id = change.id;
        let Some(before) = self.tickets.get_mut(&id) else {
            return waiting.answer(Err(ServiceError::NotFound));
        };
        let is_first = !self.decided.iter().any(|decided| decided.ticket.id == id);
        let has_seen = change.seen_up_to.is_some();
        let is_possible = change.terms().is_some_and(|terms| self.used.add(&terms));
        // What those before it say, it has not seen.
        if !is_possible || (has_seen && !is_first) {
            return self.later.push(waiting);
        }
        let mut ticket = before.clone();
        let decided = (change.decide)(&mut ticket);
        let may_be_out_of_date = match &decided {
            Err(ServiceError::NotFound) => true,
            Ok(events) => is_first && events.is_empty(),
            Err(_) => is_first,
        };
        if may_be_out_of_date && self.unread.contains(&id) {
            return self.again.push(waiting);
        }
        match decided {
            Ok(events) if events.is_empty() && is_first && !has_seen => {
                waiting.answer(Ok(Made::Now(Box::new(ticket))));
            }
            Ok(events) if events.is_empty() && has_seen => self.later.push(waiting),
            Ok(events) => {
                *before = ticket.clone();
                self.decided.push(Decided { waiting, ticket, events });
            }
            // An earlier equal call may have succeeded, but the caller may not see its result.
            Err(error @ ServiceError::NotFound) => waiting.answer(Err(error)),
            Err(error) if is_first && !change.is_keyed() => waiting.answer(Err(error)),
            Err(_) => self.later.push(waiting),
        }
    }

    /// Refuses the changes of authors who are no longer who they were, if the group has waited for long.
    /// Those that were decided after them are decided again.
    async fn check_authors(
        &mut self,
        services: &Services,
        db: &mut Connection,
    ) -> Result<(), DbError> {
        let now = services.ambient.now();
        if self.decided.iter().all(|decided| now - decided.waiting.call.now <= UNCHECKED) {
            return Ok(());
        }
        let actor = |decided: &Decided| decided.waiting.call.counted.actor;
        let actors = self.decided.iter().map(actor).collect::<Vec<_>>();
        let roles = CurrentRoles::of(&actors, db, now).await?;
        let mut refused = HashSet::new();
        for decided in mem::take(&mut self.decided) {
            if let Err(error) = roles.ensure_unchanged(&actor(&decided)) {
                refused.insert(decided.ticket.id);
                decided.waiting.answer(Err(error));
            } else if refused.contains(&decided.ticket.id) {
                self.again.push(decided.waiting);
            } else {
                self.decided.push(decided);
            }
        }
        Ok(())
    }

    /// Writes the changes.
    async fn write(&self, services: &Services, db: &mut Connection) -> Result<Saved, DbError> {
        for comment in self.decided.iter().filter_map(|it| it.waiting.call.comment.as_ref()) {
            services.posted.add(comment);
        }
        let changes = self.decided.iter().filter(|decided| !decided.events.is_empty());
        let changes = changes.map(|decided| TicketChange {
            ticket: &decided.ticket,
            comment: decided.waiting.call.comment.as_deref(),
            events: &decided.events,
            counted: write_bucket(services, decided.waiting.call.counted),
            terms: decided.waiting.call.terms().unwrap_or_default(),
        });
        let changes = changes.collect::<Vec<_>>();
        if changes.is_empty() {
            return Ok(Saved::default());
        }
        let saved = event::save(db, &changes, services.placing(), self.epoch).await;
        let mut saved = saved.inspect_err(|_| services.announce_failure())?;
        services.announce(mem::take(&mut saved.placement));
        saved.unwritten.uncount(db).await;
        Ok(saved)
    }

    /// Whether nothing is decided again.
    fn is_done(&self, written: &Result<Saved, DbError>) -> bool {
        let is_written = |saved: &Saved| {
            self.decided.iter().all(|decided| saved.written.contains(&decided.ticket.id))
        };
        self.again.is_empty() && written.as_ref().map_or(true, is_written)
    }

    /// Answers the calls whose tickets were written and those whose buckets are full. Returns the
    /// others of the tickets on which one was refused or that were not read, and makes the rest one by
    /// one.
    fn finish(self, services: &Services, written: Result<Saved, DbError>) -> Vec<Waiting<Change>> {
        let (mut again, mut later, mut unread) = (self.again, self.later, self.unread);
        let saved = match written {
            Err(error) if error.is_unavailable() => {
                // Whether it was written is unknown, so it must not be written again.
                fail(self.decided.into_iter().map(|it| it.waiting).collect(), &error);
                make_singly(services, later);
                return again;
            }
            Err(error) => {
                log_failure(&error);
                unread.clear();
                Saved::default()
            }
            Ok(saved) => saved,
        };
        let mut events = HashMap::<TicketId, i64>::new();
        let mut decided = self.decided.into_iter().peekable();
        while let Some(Decided { waiting, mut ticket, events: new }) = decided.next() {
            if saved.written.contains(&ticket.id) {
                let count = events.entry(ticket.id).or_default();
                *count += i64::try_from(new.len()).unwrap_or(i64::MAX);
                ticket.events += *count;
                let is_last = decided.peek().is_none_or(|next| next.ticket.id != ticket.id);
                if let Some(epoch) = saved.epoch.filter(|_| is_last) {
                    services.written.add(ticket.clone(), epoch);
                }
                waiting.answer(Ok(Made::Now(Box::new(ticket))));
                continue;
            }
            match Refusal::of(services, &waiting.call, &saved) {
                Refusal::No => again.push(waiting),
                Refusal::Certain(error) => waiting.answer(Err(error)),
                Refusal::Possible if unread.contains(&ticket.id) => again.push(waiting),
                Refusal::Possible => later.push(waiting),
            }
        }
        make_singly(services, later);
        again
    }
}

/// Whether a change that was not written was refused.
enum Refusal {
    /// It was not: another change of the ticket was.
    No,
    /// It was or its ticket was not written for another reason, which only the locked ticket tells.
    Possible,
    /// It was, with this error.
    Certain(ServiceError),
}

impl Refusal {
    fn of(services: &Services, change: &Change, saved: &Saved) -> Self {
        if let Some(bucket) = write_bucket(services, change.counted)
            && saved.full.contains(&bucket)
        {
            return match saved.full.wait(&bucket, change.now) {
                // The result of an earlier equal call is returned in spite of the limit.
                Some(wait) if !change.is_keyed() => {
                    Self::Certain(too_frequent(services, change.counted, wait))
                }
                _ => Self::Possible,
            };
        }
        let is_plain = change.terms().is_some_and(|terms| terms.is_empty());
        if is_plain && saved.refused.contains(&change.id) { Self::No } else { Self::Possible }
    }
}

/// Makes changes one by one, each ticket's in turn.
fn make_singly(services: &Services, waiting: Vec<Waiting<Change>>) {
    for waiting in waiting {
        let id = waiting.call.id;
        if services.single_changes.push(waiting) {
            tokio::spawn(make_in_turn(services.clone(), id));
        }
    }
}

async fn make_in_turn(services: Services, id: TicketId) {
    while let Some(waiting) = services.single_changes.next(id) {
        if waiting.is_given_up() {
            continue;
        }
        let (own, behind) = (services.clone(), services.single_changes.count(id));
        // A panic ends one change only.
        let made = tokio::spawn(async move {
            let is_locked = AtomicBool::new(false);
            let made = make_alone(&own, &waiting.call, &is_locked).await;
            waiting.answer(made);
            is_locked.into_inner()
        });
        if made.await.unwrap_or(false) {
            // They have waited for the same lock.
            for waiting in services.single_changes.take(id, behind) {
                waiting.answer(Err(DbError::Locked.into()));
            }
        }
    }
}

/// Makes a change alone, on the locked ticket. Sets `is_locked` if others keep it locked for too long.
async fn make_alone(
    services: &Services,
    change: &Change,
    is_locked: &AtomicBool,
) -> Result<Made, ServiceError> {
    if let Some(call) = &change.call {
        let mut connection = services.database.read().await?;
        if let Some(earlier) = call.find_earlier_result(&mut connection, change.now).await? {
            return Ok(Made::Earlier(earlier));
        }
    }
    let made = services
        .database
        .write(async |db| {
            let ticket = tickets::lock(db, change.id).await;
            let ticket = ticket.inspect_err(|it| is_locked.store(it.is_held_up(), Relaxed))?;
            make_locked(services, db, change, ticket.ok_or(ServiceError::NotFound)?).await
        })
        .await;
    match (made, &change.call) {
        (Err(error), Some(call)) => {
            let earlier = call.in_spite_of_limit(&services.database, error, change.now).await;
            earlier.map(Made::Earlier)
        }
        (made, _) => made,
    }
}

/// Makes a change in a transaction that has locked its ticket. Locks the bucket only now: other changes
/// of the account would wait with it for a ticket that others keep locked. The files and then the key
/// come last, as in the statement of a group.
async fn make_locked(
    services: &Services,
    db: &mut Connection,
    change: &Change,
    mut ticket: Ticket,
) -> Result<Made, ServiceError> {
    ensure_unchanged(&change.counted.actor, db, services.ambient.now()).await?;
    rate_limit::count_write(services, db, change.counted).await?;
    upload::lock(db, &change.files).await?;
    if let (Some(call), Some(comment)) = (&change.call, &change.comment)
        && let Some(earlier) = call.earlier_result(db, comment.id.0, comment.created_at).await?
    {
        rate_limit::uncount_write(services, db, change.counted).await?;
        return Ok(Made::Earlier(earlier));
    }
    let before = change.seen_up_to.map(|seen| (ticket.clone(), seen));
    let events = (change.decide)(&mut ticket)?;
    if let Some((ticket, (actor, seen))) = &before {
        check_nothing_said(actor, db, ticket, *seen).await?;
    }
    if events.is_empty() {
        rate_limit::uncount_write(services, db, change.counted).await?;
    }
    event::save_change(db, &mut ticket, change.comment.as_deref(), &events).await?;
    if let Some(comment) = &change.comment {
        let (author, id) = (comment.author_id, Some(comment.id));
        upload::attach(db, author, &change.files, ticket.id, id).await?;
    }
    Ok(Made::Now(Box::new(ticket)))
}

/// Creates an event for everybody who may see the ticket. `actor` may be `None`.
pub(super) fn public_event(
    event: TicketEvent,
    actor: impl Into<Option<AccountId>>,
    now: Timestamp,
) -> NewTicketEvent {
    NewTicketEvent {
        event,
        audience: Audience::Participants,
        actor_id: actor.into(),
        occurred_at: now,
    }
}
