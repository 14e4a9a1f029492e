//! The feed: the order in which all readers see the events. The sequencer writes it; the tailer,
//! replays and the planner read it.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    event::{EVENT_COLUMNS, EventRow},
    prepared::Prepare as _,
    schema::{feed, feed_epochs, feed_head, pending_events},
};
use crate::domain::{
    clock::Timestamp,
    cursor::Cursor,
    event::FeedEvent,
    ids::{AccountId, EventId, TicketId},
};

/// An epoch of the feed: a part of its history that begins when the database is created, restored
/// or failed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The random tag that the epoch's cursors carry.
    pub tag: i32,
    /// The last position before the epoch.
    pub start_pos: i64,
}

/// Which events a replay reads.
#[derive(Clone, Copy, Debug)]
pub enum ReplayScope {
    /// The events of one ticket.
    Ticket {
        /// The ticket.
        id: TicketId,
        /// Whether to include events that only staff may see.
        internal: bool,
    },
    /// The events of the tickets that a customer opened or participated in at the time, and those
    /// that removed the customer from a ticket. Without events that only staff may see.
    Customer(AccountId),
    /// The events of all tickets, including those that only staff may see.
    AllTickets,
}

/// Returns whether any event waits for its position in the feed.
pub async fn has_pending(db: &mut Connection) -> Result<bool, DbError> {
    Ok(diesel::select(diesel::dsl::exists(pending_events::table.select(pending_events::event_id)))
        .get_result(db)
        .await?)
}

/// Returns the last position of the feed.
pub async fn head(db: &mut Connection) -> Result<i64, DbError> {
    Ok(feed_head::table.select(feed_head::pos).first(db).await?)
}

/// Returns the epochs, oldest first. Empty until a sequencer has run.
pub async fn epochs(db: &mut Connection) -> Result<Vec<Epoch>, DbError> {
    let rows = feed_epochs::table
        .order(feed_epochs::epoch)
        .select((feed_epochs::tag, feed_epochs::start_pos))
        .load::<(i32, i64)>(db)
        .await?;
    Ok(rows.into_iter().map(|(tag, start_pos)| Epoch { tag, start_pos }).collect())
}

/// Returns the last position of the feed and locks it until the transaction ends, so that only one
/// sequencer at a time extends the feed.
pub async fn lock_head(db: &mut Connection) -> Result<i64, DbError> {
    Ok(feed_head::table.select(feed_head::pos).for_update().first(db).await?)
}

/// Opens an epoch with this tag after `head` if the database was restored or failed over. Returns
/// whether it did. Compares the system identifier and the timeline of Postgres with those of the
/// last epoch.
pub async fn open_epoch_if_rewound(
    db: &mut Connection,
    head: i64,
    tag: i32,
    now: Timestamp,
) -> Result<bool, DbError> {
    let opened = diesel::sql_query(
        "WITH here AS (
             SELECT system_identifier,
                    ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
                        AS timeline
             FROM pg_control_system()
         ), last AS (
             SELECT * FROM feed_epochs ORDER BY epoch DESC LIMIT 1
         )
         INSERT INTO feed_epochs (epoch, tag, start_pos, system_identifier, timeline, opened_at)
         SELECT coalesce((SELECT epoch FROM last), 0) + 1, $1, $2, system_identifier, timeline, $3
         FROM here
         WHERE NOT EXISTS (
             SELECT FROM last
             WHERE last.system_identifier = here.system_identifier AND last.timeline = here.timeline
         )",
    )
    .bind::<Integer, _>(tag)
    .bind::<BigInt, _>(head)
    .bind::<Timestamptz, _>(now)
    .prepared()
    .execute(db)
    .await?;
    Ok(opened == 1)
}

#[derive(QueryableByName)]
struct Placed {
    #[diesel(sql_type = BigInt)]
    placed: i64,
}

/// Moves up to `limit` pending events, those with the lowest ids, to the positions after `head`.
/// Returns how many. The transaction must have locked the head.
pub async fn place_pending(db: &mut Connection, head: i64, limit: i64) -> Result<i64, DbError> {
    let row = diesel::sql_query(
        "WITH batch AS (
             DELETE FROM pending_events
             WHERE event_id = ANY (ARRAY(
                 SELECT event_id FROM pending_events ORDER BY event_id LIMIT $2))
             RETURNING event_id
         ), placed AS (
             INSERT INTO feed (pos, event_id, ticket_id)
             SELECT $1 + row_number() OVER (ORDER BY e.id), e.id, e.ticket_id
             FROM batch
             CROSS JOIN LATERAL (
                 SELECT id, ticket_id FROM events WHERE id = batch.event_id LIMIT 1) e
             RETURNING pos
         ), moved AS (
             UPDATE feed_head SET pos = placed.last
             FROM (SELECT max(pos) AS last FROM placed) placed
             WHERE placed.last IS NOT NULL
         )
         SELECT count(*) AS placed FROM placed",
    )
    .bind::<BigInt, _>(head)
    .bind::<BigInt, _>(limit)
    .prepared()
    .get_result::<Placed>(db)
    .await?;
    Ok(row.placed)
}

#[derive(QueryableByName)]
struct FeedRow {
    #[diesel(sql_type = BigInt)]
    pos: i64,
    #[diesel(sql_type = Integer)]
    epoch: i32,
    #[diesel(embed)]
    event: EventRow,
}

impl From<FeedRow> for FeedEvent {
    fn from(row: FeedRow) -> Self {
        let cursor = Cursor { epoch: row.epoch, pos: row.pos };
        Self { cursor, event: row.event.into() }
    }
}

/// Returns the query for a [`FeedRow`], without a condition. `LIMIT 1` tells Postgres that a row of
/// the feed has one event and one ticket. Without it, a plan that was cached while there were few
/// events could read all of them.
fn feed_rows() -> String {
    format!(
        "SELECT f.pos, {EVENT_COLUMNS},
                (SELECT tag FROM feed_epochs WHERE start_pos < f.pos ORDER BY epoch DESC LIMIT 1) AS epoch
         FROM feed f
         CROSS JOIN LATERAL (SELECT * FROM events WHERE id = f.event_id LIMIT 1) e
         LEFT JOIN LATERAL (SELECT reporter_id FROM tickets WHERE id = f.ticket_id LIMIT 1) t ON true"
    )
}

/// Returns up to `limit` events after a position, in order and without a gap.
pub async fn following(
    db: &mut Connection,
    after: i64,
    limit: i64,
) -> Result<Vec<FeedEvent>, DbError> {
    // Lists every position. A range has no known size until its bounds are known, so Postgres would
    // plan the query again for every execution.
    let query = format!(
        "{}
         WHERE f.pos = ANY (ARRAY(
             SELECT generate_series($1 + 1, least($1 + $2, (SELECT pos FROM feed_head)))))
         ORDER BY f.pos",
        feed_rows(),
    );
    let rows = diesel::sql_query(query)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(limit)
        .prepared()
        .load::<FeedRow>(db)
        .await?;
    Ok(rows.into_iter().map(FeedEvent::from).collect())
}

/// Returns the first `limit` events in scope with `after` < position ≤ `until`, in order.
pub async fn replay(
    db: &mut Connection,
    scope: ReplayScope,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<FeedEvent>, DbError> {
    let (condition, id, internal) = match scope {
        ReplayScope::Ticket { id, internal } => ("f.ticket_id = $4", Some(id.0), internal),
        ReplayScope::Customer(id) => (
            "(t.reporter_id = $4 OR $4 = ANY (e.participant_ids)
              OR (e.kind = 'participant_removed' AND e.data ->> 'account_id' = $4::text))",
            Some(id.0),
            false,
        ),
        ReplayScope::AllTickets => ("f.ticket_id IS NOT NULL AND $4 IS NULL", None, true),
    };
    let query = format!(
        "{}
         WHERE f.pos > $1 AND f.pos <= $2 AND {condition}
           AND ($5 OR e.audience = 'participants')
         ORDER BY f.pos
         LIMIT $3",
        feed_rows(),
    );
    let rows = diesel::sql_query(query)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(until)
        .bind::<BigInt, _>(limit)
        .bind::<Nullable<SqlUuid>, _>(id)
        .bind::<Bool, _>(internal)
        .prepared()
        .load::<FeedRow>(db)
        .await?;
    Ok(rows.into_iter().map(FeedEvent::from).collect())
}

/// Returns the id of the event at a position, or `None` beyond the end of the feed. Unlike
/// [`at`], it reads nothing of the event.
pub async fn event_id_at(db: &mut Connection, pos: i64) -> Result<Option<EventId>, DbError> {
    let id = feed::table.find(pos).select(feed::event_id).first(db).await.optional()?;
    Ok(id.map(EventId))
}

/// Returns the events at these positions, in any order. Unknown positions are left out.
pub async fn at(db: &mut Connection, positions: &[i64]) -> Result<Vec<FeedEvent>, DbError> {
    let rows = diesel::sql_query(format!("{} WHERE f.pos = ANY ($1)", feed_rows()))
        .bind::<diesel::sql_types::Array<BigInt>, _>(positions)
        .prepared()
        .load::<FeedRow>(db)
        .await?;
    Ok(rows.into_iter().map(FeedEvent::from).collect())
}
