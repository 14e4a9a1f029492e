//! The one way in which what people do to a ticket is written.
//!
//! A change is decided on a ticket that was read without a lock, and written by a statement that
//! compares what the decision was made on. If the ticket has changed in between or is locked, the
//! change is decided again on the locked ticket. Changes that arrive together are written together
//! (`grouping.rs`): each is decided on the ticket as those before it leave it. A ticket that others
//! keep locked holds up its own changes only.

use std::collections::HashMap;

use super::{
    ServiceError, Services,
    grouping::{Waiting, repeated, submit},
    meanwhile::check_nothing_said,
    queued::Change,
    rate_limit::{self, creation_bucket},
};
use crate::{
    db::{
        Connection, DbError,
        event::{self, NewTicketEvent, TicketChange},
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
    decided: Vec<Decided>,
    /// Those that were refused after a change in the group, which is not written yet: they are
    /// decided again.
    refused: Vec<Waiting<Change>>,
}

/// Makes a change together with others. Returns the ticket after it.
///
/// # Errors
/// Returns the error of the decision, [`ServiceError::NotFound`] if there is no such ticket, and
/// [`ServiceError::TooFrequent`] if the account has created too much within a minute.
pub(super) async fn make(services: &Services, change: Change) -> Result<Ticket, ServiceError> {
    let all = services.clone();
    submit(&services.changes, change, move |group| process(all.clone(), group)).await
}

async fn process(services: Services, waiting: Vec<Waiting<Change>>) {
    let mut connection = match services.database.read().await {
        Ok(connection) => connection,
        Err(error) => return fail(waiting, &error),
    };
    let mut ids = waiting.iter().map(|waiting| waiting.call.id).collect::<Vec<_>>();
    ids.sort_unstable();
    ids.dedup();
    let found = match tickets::by_ids(&mut connection, TicketScope::All, &ids).await {
        Ok(found) => found,
        Err(error) => return fail(waiting, &error),
    };
    let group = Group::decide(found, waiting);
    let written = group.write(&services, &mut connection).await;
    group.finish(&services, written);
}

fn fail(waiting: Vec<Waiting<Change>>, error: &DbError) {
    for waiting in waiting {
        waiting.answer(Err(repeated(error)));
    }
}

impl Group {
    /// Decides each change on the ticket as those before it leave it. Answers those that nothing
    /// needs to be written for.
    fn decide(found: Vec<Ticket>, waiting: Vec<Waiting<Change>>) -> Self {
        let tickets = found.into_iter().map(|ticket| (ticket.id, ticket)).collect();
        let mut group = Self { tickets, ..Self::default() };
        for waiting in waiting {
            group.decide_one(waiting);
        }
        // Changes of one ticket must follow each other. The sort is stable.
        group.decided.sort_by_key(|decided| decided.ticket.id);
        group
    }

    fn decide_one(&mut self, waiting: Waiting<Change>) {
        let id = waiting.call.id;
        let Some(before) = self.tickets.get_mut(&id) else {
            return waiting.answer(Err(ServiceError::NotFound));
        };
        let is_written = !self.decided.iter().any(|decided| decided.ticket.id == id);
        let mut ticket = before.clone();
        match (waiting.call.decide)(&mut ticket) {
            Ok(events) if events.is_empty() && is_written => waiting.answer(Ok(ticket)),
            Ok(events) => {
                *before = ticket.clone();
                self.decided.push(Decided { waiting, ticket, events });
            }
            Err(error) if is_written => waiting.answer(Err(error)),
            Err(_) => self.refused.push(waiting),
        }
    }

    /// Writes the changes. Returns the tickets that were written.
    async fn write(
        &self,
        services: &Services,
        db: &mut Connection,
    ) -> Result<Vec<TicketId>, DbError> {
        if self.decided.is_empty() {
            return Ok(vec![]);
        }
        let changes = self.decided.iter().filter(|decided| !decided.events.is_empty());
        let changes = changes.map(|decided| TicketChange {
            ticket: &decided.ticket,
            comment: decided.waiting.call.comment.as_ref(),
            events: &decided.events,
            counted: decided.waiting.call.creation.and_then(|it| creation_bucket(services, it)),
        });
        let written = event::save(db, &changes.collect::<Vec<_>>()).await?;
        services.database.announce_commit();
        Ok(written)
    }

    /// Answers the calls whose tickets were written, and makes the other changes one by one.
    fn finish(self, services: &Services, written: Result<Vec<TicketId>, DbError>) {
        let mut again = self.refused;
        let written = match written {
            Err(error) if error.is_unavailable() => {
                // Whether it was written is unknown, so it must not be written again.
                for decided in self.decided {
                    decided.waiting.answer(Err(repeated(&error)));
                }
                return make_singly(services, again);
            }
            Err(error) => {
                tracing::warn!(%error, "writing a group of changes failed; making them one by one");
                vec![]
            }
            Ok(written) => written,
        };
        let mut events = HashMap::<TicketId, i64>::new();
        for Decided { waiting, mut ticket, events: new } in self.decided {
            if written.contains(&ticket.id) {
                let count = events.entry(ticket.id).or_default();
                *count += i64::try_from(new.len()).unwrap_or(i64::MAX);
                ticket.events += *count;
                waiting.answer(Ok(ticket));
            } else {
                again.push(waiting);
            }
        }
        make_singly(services, again);
    }
}

/// Makes changes one by one, each ticket's in turn.
fn make_singly(services: &Services, waiting: Vec<Waiting<Change>>) {
    let mut by_ticket = HashMap::<TicketId, Vec<Waiting<Change>>>::new();
    for waiting in waiting {
        by_ticket.entry(waiting.call.id).or_default().push(waiting);
    }
    for waiting in by_ticket.into_values() {
        tokio::spawn(make_in_turn(services.clone(), waiting));
    }
}

async fn make_in_turn(services: Services, waiting: Vec<Waiting<Change>>) {
    for waiting in waiting {
        let change = &waiting.call;
        let services = &services;
        let made = services.database.write(async |db| make_locked(services, db, change).await);
        let made = made.await;
        waiting.answer(made);
    }
}

/// Makes a change in a transaction, on the locked ticket. Returns the ticket after it.
///
/// # Errors
/// Returns the same errors as [`make`].
pub(super) async fn make_locked(
    services: &Services,
    db: &mut Connection,
    change: &Change,
) -> Result<Ticket, ServiceError> {
    let mut ticket = tickets::lock(db, change.id).await?.ok_or(ServiceError::NotFound)?;
    let before = change.seen_up_to.map(|seen| (ticket.clone(), seen));
    let events = (change.decide)(&mut ticket)?;
    if let Some((ticket, (actor, seen))) = &before {
        check_nothing_said(actor, db, ticket, *seen).await?;
    }
    if let Some(creation) = change.creation {
        rate_limit::count_creation(services, db, creation).await?;
    }
    event::save_change(db, &mut ticket, change.comment.as_ref(), &events).await?;
    Ok(ticket)
}

/// Creates an event for everybody who may see the ticket.
pub(super) fn public_event(event: TicketEvent, actor: AccountId, now: Timestamp) -> NewTicketEvent {
    NewTicketEvent {
        event,
        audience: Audience::Participants,
        actor_id: Some(actor),
        occurred_at: now,
    }
}
