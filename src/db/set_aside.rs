//! Events that a consumer of the feed set aside.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError, savepoint,
    schema::{events, set_aside_events},
};
use crate::domain::{
    clock::Timestamp,
    ids::{EventId, SetAsideId, TicketId},
    set_aside::SetAsideEvent,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = set_aside_events)]
struct SetAsideRow {
    id: Uuid,
    consumer: String,
    event_id: i64,
    pos: i64,
    error: String,
    attempts: i32,
    set_aside_at: Timestamp,
    attempted_at: Timestamp,
    retry_requested_at: Option<Timestamp>,
}

impl SetAsideRow {
    fn of_ticket(self, ticket_id: Option<Uuid>) -> SetAsideEvent {
        SetAsideEvent {
            id: SetAsideId(self.id),
            consumer: self.consumer,
            event_id: EventId(self.event_id),
            ticket_id: ticket_id.map(TicketId),
            pos: self.pos,
            error: self.error,
            attempts: self.attempts,
            set_aside_at: self.set_aside_at,
            attempted_at: self.attempted_at,
            retry_requested_at: self.retry_requested_at,
        }
    }
}

/// An event to set aside.
pub struct NewSetAside<'a> {
    /// The id.
    pub id: SetAsideId,
    /// The name of the consumer.
    pub consumer: &'a str,
    /// The event.
    pub event_id: EventId,
    /// The event's position in the feed.
    pub pos: i64,
    /// Why the consumer could not process it.
    pub error: &'a DbError,
    /// The current time.
    pub now: Timestamp,
}

/// Sets an event aside, unless the consumer already has.
pub async fn insert(db: &mut Connection, new: &NewSetAside<'_>) -> Result<(), DbError> {
    diesel::insert_into(set_aside_events::table)
        .values((
            set_aside_events::id.eq(new.id.0),
            set_aside_events::consumer.eq(new.consumer),
            set_aside_events::event_id.eq(new.event_id.0),
            set_aside_events::pos.eq(new.pos),
            set_aside_events::error.eq(new.error.without_values()),
            set_aside_events::attempts.eq(1),
            set_aside_events::set_aside_at.eq(new.now),
            set_aside_events::attempted_at.eq(new.now),
        ))
        .on_conflict_do_nothing()
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the first event of a consumer for which another attempt was requested: its id and its
/// position in the feed.
pub async fn requested(
    db: &mut Connection,
    consumer: &str,
) -> Result<Option<(SetAsideId, i64)>, DbError> {
    let found = set_aside_events::table
        .filter(set_aside_events::consumer.eq(consumer))
        .filter(set_aside_events::retry_requested_at.is_not_null())
        .order(set_aside_events::pos)
        .select((set_aside_events::id, set_aside_events::pos))
        .for_update()
        .first::<(Uuid, i64)>(db)
        .await
        .optional()?;
    Ok(found.map(|(id, pos)| (SetAsideId(id), pos)))
}

/// Deletes an event that was processed after all.
pub async fn delete(db: &mut Connection, id: SetAsideId) -> Result<(), DbError> {
    diesel::delete(set_aside_events::table.find(id.0)).execute(db).await?;
    Ok(())
}

/// Records another failed attempt, and that no further one is requested.
pub async fn record_failure(
    db: &mut Connection,
    id: SetAsideId,
    error: &DbError,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::update(set_aside_events::table.find(id.0))
        .set((
            set_aside_events::attempts.eq(set_aside_events::attempts + 1),
            set_aside_events::error.eq(error.without_values()),
            set_aside_events::attempted_at.eq(now),
            set_aside_events::retry_requested_at.eq(None::<Timestamp>),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Requests another attempt at the events with these ids, or at all if `ids` is `None`. Returns
/// how many there are. Unknown ids are ignored.
pub async fn request_retry(
    db: &mut Connection,
    ids: Option<&[SetAsideId]>,
    now: Timestamp,
) -> Result<usize, DbError> {
    let requested = set_aside_events::retry_requested_at.eq(now);
    Ok(match ids {
        None => diesel::update(set_aside_events::table).set(requested).execute(db).await?,
        Some(ids) => {
            let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
            diesel::update(set_aside_events::table.filter(set_aside_events::id.eq_any(ids)))
                .set(requested)
                .execute(db)
                .await?
        }
    })
}

/// Returns the first `limit` events that are set aside, in the order of the feed.
pub async fn first(db: &mut Connection, limit: i64) -> Result<Vec<SetAsideEvent>, DbError> {
    let rows = set_aside_events::table
        .left_join(events::table.on(events::id.eq(set_aside_events::event_id)))
        .order((set_aside_events::pos, set_aside_events::id))
        .limit(limit)
        .select((SetAsideRow::as_select(), events::ticket_id.nullable()))
        .load::<(SetAsideRow, Option<Uuid>)>(db)
        .await?;
    Ok(rows.into_iter().map(|(row, ticket)| row.of_ticket(ticket)).collect())
}

/// Returns the events with these ids, in the order of the feed. Unknown ids are left out.
pub async fn by_ids(
    db: &mut Connection,
    ids: &[SetAsideId],
) -> Result<Vec<SetAsideEvent>, DbError> {
    let rows = set_aside_events::table
        .left_join(events::table.on(events::id.eq(set_aside_events::event_id)))
        .filter(set_aside_events::id.eq_any(ids.iter().map(|id| id.0).collect::<Vec<_>>()))
        .order((set_aside_events::pos, set_aside_events::id))
        .select((SetAsideRow::as_select(), events::ticket_id.nullable()))
        .load::<(SetAsideRow, Option<Uuid>)>(db)
        .await?;
    Ok(rows.into_iter().map(|(row, ticket)| row.of_ticket(ticket)).collect())
}

/// Counts the events that are set aside.
pub async fn count(db: &mut Connection) -> Result<i64, DbError> {
    Ok(set_aside_events::table.count().get_result(db).await?)
}

/// Checks that the database can write: stores a row that needs new pages, and undoes it. Fails if
/// the disk is full.
pub async fn check_writable(db: &mut Connection) -> Result<(), DbError> {
    // Random text, because repeated text could be compressed.
    savepoint::begin(db).await?;
    let written = diesel::sql_query(
        "INSERT INTO set_aside_events
             (id, consumer, event_id, pos, error, attempts, set_aside_at, attempted_at)
         SELECT gen_random_uuid(), 'check', -n, 0, filler, 1, now(), now()
         FROM generate_series(1, 64) n, (SELECT string_agg(md5(random()::text), '') AS filler
             FROM generate_series(1, 31)) f",
    )
    .execute(db)
    .await;
    savepoint::roll_back(db).await?;
    written?;
    Ok(())
}
