//! Read and unread tickets.

use std::collections::HashSet;

use diesel::{
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{BigInt, Bool, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{comments, events, tickets},
    ticket::scope::{Condition, in_scope},
};
use crate::domain::{
    comment::Visibility,
    event::Audience,
    ids::{AccountId, CommentId, EventId, TicketId},
    policy::TicketScope,
    unread::{TicketCounts, TicketReader},
};

/// A summary of new events of a ticket, from which the ticket's unread state is derived.
pub(super) struct LatestEvents {
    /// The last of them.
    pub any: LatestEvent,
    /// The last that customers see, or `None` if they see none.
    pub public: Option<LatestEvent>,
}

/// The last of some new events. Their places are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LatestEvent {
    /// Its place.
    pub nth: i64,
    /// The account that caused it, or `None` for the system.
    pub actor: Option<AccountId>,
    /// The place of the last one before it that another actor caused, or `None` if there is none
    /// among them.
    pub nth_by_others: Option<i64>,
}

impl LatestEvents {
    /// Summarises new events: who caused each, and whether customers see it.
    pub(super) fn of(new: impl Iterator<Item = (Option<AccountId>, bool)>) -> Self {
        let (mut any, mut public) = (None, None);
        for (nth, (actor, is_public)) in (1..).zip(new) {
            any = Some(LatestEvent::after(any, nth, actor));
            if is_public {
                public = Some(LatestEvent::after(public, nth, actor));
            }
        }
        let none = LatestEvent { nth: 0, actor: None, nth_by_others: None };
        Self { any: any.unwrap_or(none), public }
    }
}

impl LatestEvent {
    /// Returns the event at a place that follows another one.
    fn after(last: Option<Self>, nth: i64, actor: Option<AccountId>) -> Self {
        let nth_by_others = match last {
            Some(last) if last.actor == actor => last.nth_by_others,
            Some(last) => Some(last.nth),
            None => None,
        };
        Self { nth, actor, nth_by_others }
    }
}

/// Returns the columns of the last event that a reader may see, of its actor, and of the last event
/// before it by others.
fn columns(reader: TicketReader) -> [&'static str; 3] {
    if reader.is_staff {
        ["any_seq", "any_actor_id", "any_seq_by_others"]
    } else {
        ["public_seq", "public_actor_id", "public_seq_by_others"]
    }
}

/// Returns a condition that selects the tickets that are unread for a person, or those that are not
/// if `unread` is false.
pub(super) fn is_unread(reader: TicketReader, unread: bool) -> Condition {
    let [last, actor, by_others] = columns(reader);
    let account = reader.account.0;
    let condition = sql::<Bool>(&format!("(CASE WHEN tickets.{actor} IS DISTINCT FROM "))
        .bind::<SqlUuid, _>(account)
        .sql(&format!(" THEN tickets.{last} ELSE tickets.{by_others} END > coalesce(("))
        .sql("SELECT r.seq FROM ticket_reads r WHERE r.account_id = ")
        .bind::<SqlUuid, _>(account)
        .sql(" AND r.ticket_id = tickets.id), 0)) = ")
        .bind::<Bool, _>(unread);
    Box::new(condition)
}

/// Returns those of the tickets in scope that are unread for a person.
pub async fn among(
    db: &mut Connection,
    scope: TicketScope,
    reader: TicketReader,
    ids: &[TicketId],
) -> Result<HashSet<TicketId>, DbError> {
    let found = in_scope(scope)
        .filter(tickets::id.eq_any(ids.iter().map(|id| id.0).collect::<Vec<_>>()))
        .filter(is_unread(reader, true))
        .select(tickets::id)
        .load::<Uuid>(db)
        .await?;
    Ok(found.into_iter().map(TicketId).collect())
}

#[derive(QueryableByName)]
struct CountsRow {
    #[diesel(sql_type = BigInt)]
    open: i64,
    #[diesel(sql_type = BigInt)]
    unread: i64,
}

/// Counts a person's own tickets: for a customer those that they opened or take part in, for staff
/// those assigned to them.
pub async fn counts(db: &mut Connection, reader: TicketReader) -> Result<TicketCounts, DbError> {
    let [last, actor, by_others] = columns(reader);
    let part = |condition| {
        format!(
            "SELECT id, status,
                    CASE WHEN {actor} IS DISTINCT FROM $1 THEN {last} ELSE {by_others} END AS last
             FROM tickets WHERE {condition}"
        )
    };
    // Each part of the union can use an index.
    let own = if reader.is_staff {
        part("id = ANY (ARRAY(SELECT ticket_id FROM queue_entries WHERE assignee_id = $1))")
    } else {
        let shared = part("participant_ids <> '{}' AND participant_ids @> ARRAY[$1]");
        format!("{} UNION ALL {shared}", part("reporter_id = $1"))
    };
    let row = diesel::sql_query(format!(
        "SELECT count(*) FILTER (WHERE m.status NOT IN ('resolved', 'closed')) AS open,
                count(*) FILTER (WHERE m.last > coalesce(r.seq, 0)) AS unread
         FROM ({own}) m
         LEFT JOIN ticket_reads r ON r.account_id = $1 AND r.ticket_id = m.id"
    ))
    .bind::<SqlUuid, _>(reader.account.0)
    .get_result::<CountsRow>(db)
    .await?;
    Ok(TicketCounts { open: row.open, unread: row.unread })
}

/// Returns the number of an event among those of a ticket, or `None` if the ticket has no such event
/// that the reader may see.
pub async fn event_seq(
    db: &mut Connection,
    ticket: TicketId,
    event: EventId,
    reader: TicketReader,
) -> Result<Option<i64>, DbError> {
    let query = visible_events(ticket, reader).filter(events::id.eq(event.0));
    Ok(query.select(events::seq).first(db).await.optional()?)
}

/// Returns the event that has added a comment to a ticket, or `None` if the ticket has no such comment
/// that the reader may see. It reads the events of the ticket since the comment.
pub async fn event_of_comment(
    db: &mut Connection,
    ticket: TicketId,
    comment: CommentId,
    reader: TicketReader,
) -> Result<Option<EventId>, DbError> {
    let mut query = comments::table
        .filter(comments::id.eq(comment.0))
        .filter(comments::ticket_id.eq(ticket.0))
        .select(comments::id)
        .into_boxed();
    if !reader.is_staff {
        query = query.filter(comments::visibility.eq(Visibility::Public));
    }
    // Without a look at the events if there is nothing to find.
    let Some(comment) = query.first::<Uuid>(db).await.optional()? else { return Ok(None) };
    let added = sql::<Bool>("kind = 'comment_added' AND (data ->> 'comment_id')::uuid = ");
    let query = visible_events(ticket, reader).filter(added.bind::<SqlUuid, _>(comment));
    let event = query.order(events::seq.desc()).select(events::id).first(db).await.optional()?;
    Ok(event.map(EventId))
}

fn visible_events(ticket: TicketId, reader: TicketReader) -> events::BoxedQuery<'static, Pg> {
    let query = events::table.filter(events::ticket_id.eq(ticket.0)).into_boxed();
    if reader.is_staff { query } else { query.filter(events::audience.eq(Audience::Participants)) }
}

/// Marks a ticket as read up to a sequence number, or up to its last event if `up_to` is `None`.
/// Events after it that were read before stay read. Returns `false` if nothing changes.
pub async fn mark_read(
    db: &mut Connection,
    ticket: TicketId,
    reader: TicketReader,
    up_to: Option<i64>,
) -> Result<bool, DbError> {
    let [last, ..] = columns(reader);
    let marked = diesel::sql_query(format!(
        "INSERT INTO ticket_reads AS r (account_id, ticket_id, seq)
         SELECT $1, id, coalesce($3, {last}) FROM tickets WHERE id = $2
         ON CONFLICT (account_id, ticket_id) DO UPDATE SET seq = excluded.seq
             WHERE r.seq < excluded.seq"
    ))
    .bind::<SqlUuid, _>(reader.account.0)
    .bind::<SqlUuid, _>(ticket.0)
    .bind::<Nullable<BigInt>, _>(up_to)
    .prepared()
    .execute(db)
    .await?;
    Ok(marked > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_events_of_several_actors_are_those_of_the_last_one_and_of_the_others() {
        let [anna, marta] = [1, 2].map(|n| Some(AccountId(Uuid::from_u128(n))));
        let latest = |events: &[_]| LatestEvents::of(events.iter().copied());
        let last = |nth, actor, nth_by_others| LatestEvent { nth, actor, nth_by_others };
        let alone = latest(&[(anna, true), (anna, false)]);
        assert_eq!(alone.any, last(2, anna, None));
        assert_eq!(alone.public, Some(last(1, anna, None)));
        let both = latest(&[(anna, true), (marta, true), (None, false), (marta, false)]);
        assert_eq!(both.any, last(4, marta, Some(3)));
        assert_eq!(both.public, Some(last(2, marta, Some(1))));
        assert_eq!(latest(&[(anna, false)]).public, None);
    }
}
