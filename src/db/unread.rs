//! What people have read of tickets, and what they have not.

use std::collections::HashSet;

use diesel::{
    dsl::{case_when, sql},
    pg::Pg,
    prelude::*,
    query_builder::QueryFragment,
    sql_types::{BigInt, Bool, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{events, tickets},
    ticket::scope::{Condition, in_scope},
};
use crate::domain::{
    event::Audience,
    ids::{AccountId, EventId, TicketId},
    policy::TicketScope,
    unread::{Reader, TicketCounts},
};

/// New events by one person in a ticket, as far as those who have not read them are concerned.
pub(super) struct LatestEvents {
    /// Who did it; none: the system.
    pub actor: Option<AccountId>,
    /// How many there are.
    pub events: i64,
    /// Which of them, from 1, is the last that customers see; none: they see none.
    pub last_public: Option<i64>,
}

/// What a ticket keeps of latest: the last place of an event, and which are the last ones, by
/// whom.
pub(super) fn latest_event_columns(
    latest: &LatestEvents,
) -> impl AsChangeset<Target = tickets::table, Changeset: QueryFragment<Pg> + Send> + use<> {
    let actor = latest.actor.map(|id| id.0);
    let place = |nth: i64| tickets::event_seq + nth;
    (
        tickets::event_seq.eq(place(latest.events)),
        tickets::any_seq.eq(place(latest.events)),
        tickets::any_seq_by_others.eq(case_when(
            tickets::any_actor_id.is_distinct_from(actor),
            tickets::any_seq,
        )
        .otherwise(tickets::any_seq_by_others)),
        tickets::any_actor_id.eq(actor),
        latest.last_public.map(|nth| {
            (
                tickets::public_seq.eq(place(nth)),
                tickets::public_seq_by_others.eq(case_when(
                    tickets::public_actor_id.is_distinct_from(actor),
                    tickets::public_seq,
                )
                .otherwise(tickets::public_seq_by_others)),
                tickets::public_actor_id.eq(actor),
            )
        }),
    )
}

/// The columns of the last event that a reader may see, of who did it, and of the last
/// one before it that others did.
fn columns(reader: Reader) -> [&'static str; 3] {
    if reader.is_staff {
        ["any_seq", "any_actor_id", "any_seq_by_others"]
    } else {
        ["public_seq", "public_actor_id", "public_seq_by_others"]
    }
}

/// Whether tickets are unread by somebody, or (`wanted` is false) are not.
pub(super) fn is_unread(reader: Reader, wanted: bool) -> Condition {
    let [last, actor, by_others] = columns(reader);
    let account = reader.account.0;
    let condition = sql::<Bool>(&format!("(CASE WHEN tickets.{actor} IS DISTINCT FROM "))
        .bind::<SqlUuid, _>(account)
        .sql(&format!(" THEN tickets.{last} ELSE tickets.{by_others} END > coalesce(("))
        .sql("SELECT r.seq FROM ticket_reads r WHERE r.account_id = ")
        .bind::<SqlUuid, _>(account)
        .sql(" AND r.ticket_id = tickets.id), 0)) = ")
        .bind::<Bool, _>(wanted);
    Box::new(condition)
}

/// Which of some tickets in scope somebody has not read.
pub async fn among(
    db: &mut Connection,
    scope: TicketScope,
    reader: Reader,
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

/// How many tickets are somebody's concern: of a customer those that they opened or take
/// part in, of staff those that are assigned to them.
pub async fn counts(db: &mut Connection, reader: Reader) -> Result<TicketCounts, DbError> {
    let [last, actor, by_others] = columns(reader);
    let part = |condition| {
        format!(
            "SELECT id, status,
                    CASE WHEN {actor} IS DISTINCT FROM $1 THEN {last} ELSE {by_others} END AS last
             FROM tickets WHERE {condition}"
        )
    };
    // Each part has an index of its own.
    let mine = if reader.is_staff {
        part("assignee_id = $1")
    } else {
        let shared = part("participant_ids <> '{}' AND participant_ids @> ARRAY[$1]");
        format!("{} UNION ALL {shared}", part("reporter_id = $1"))
    };
    let row = diesel::sql_query(format!(
        "SELECT count(*) FILTER (WHERE m.status NOT IN ('resolved', 'closed')) AS open,
                count(*) FILTER (WHERE m.last > coalesce(r.seq, 0)) AS unread
         FROM ({mine}) m
         LEFT JOIN ticket_reads r ON r.account_id = $1 AND r.ticket_id = m.id"
    ))
    .bind::<SqlUuid, _>(reader.account.0)
    .get_result::<CountsRow>(db)
    .await?;
    Ok(TicketCounts { open: row.open, unread: row.unread })
}

/// Which place in a ticket an event has, if somebody who reads it sees it there.
pub async fn event_seq(
    db: &mut Connection,
    ticket: TicketId,
    event: EventId,
    reader: Reader,
) -> Result<Option<i64>, DbError> {
    let mut query = events::table
        .filter(events::id.eq(event.0))
        .filter(events::ticket_id.eq(ticket.0))
        .select(events::seq)
        .into_boxed();
    if !reader.is_staff {
        query = query.filter(events::audience.eq(Audience::Participants));
    }
    Ok(query.first(db).await.optional()?)
}

/// Notes that somebody has read a ticket up to a place, or (`None`) all that there is.
/// What they had read further stays read.
pub async fn mark_read(
    db: &mut Connection,
    ticket: TicketId,
    reader: Reader,
    up_to: Option<i64>,
) -> Result<(), DbError> {
    let [last, ..] = columns(reader);
    diesel::sql_query(format!(
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
    Ok(())
}
