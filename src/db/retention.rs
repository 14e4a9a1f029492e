//! Deletes old data in batches, each of which reads a bounded part of a table. Rows that another
//! transaction has locked are skipped until the next time.

use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Interval, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{deliveries, sessions},
};
use crate::domain::clock::Timestamp;

/// Returns the last id of the `count` sessions that follow `after` in the order of their ids, or
/// `None` if none follow.
pub async fn last_session(
    db: &mut Connection,
    after: Uuid,
    count: i64,
) -> Result<Option<Uuid>, DbError> {
    let ids = sessions::table
        .filter(sessions::id.gt(after))
        .order(sessions::id)
        .limit(count)
        .select(sessions::id)
        .load::<Uuid>(db)
        .await?;
    Ok(ids.last().copied())
}

/// Deletes the network addresses and devices of the sessions after `after` up to `last` that were
/// last used at `used_at` or earlier. Returns how many.
pub async fn erase_origins(
    db: &mut Connection,
    (after, last): (Uuid, Uuid),
    used_at: Timestamp,
) -> Result<usize, DbError> {
    let old = "UPDATE sessions SET address = NULL, network = NULL, device = NULL
         WHERE id IN (
             SELECT id FROM sessions
             WHERE id > $1 AND id <= $2 AND last_used_at <= $3
               AND num_nonnulls(address, network, device) > 0
             FOR UPDATE SKIP LOCKED)";
    Ok(diesel::sql_query(old)
        .bind::<SqlUuid, _>(after)
        .bind::<SqlUuid, _>(last)
        .bind::<Timestamptz, _>(used_at)
        .execute(db)
        .await?)
}

/// Deletes the sessions after `after` up to `last` that ended at `ended_at` or earlier and have
/// neither a network address nor a device. A session that is not used for `idle` has ended. The
/// session of each account that was used last stays. Returns how many were deleted.
pub async fn delete_sessions(
    db: &mut Connection,
    (after, last): (Uuid, Uuid),
    ended_at: Timestamp,
    idle: TimeDelta,
) -> Result<usize, DbError> {
    let old = "DELETE FROM sessions WHERE id IN (
             SELECT s.id FROM sessions s
             WHERE s.id > $1 AND s.id <= $2
               AND LEAST(s.revoked_at, s.expires_at, s.last_used_at + $4) <= $3
               AND num_nonnulls(s.address, s.network, s.device) = 0
               AND EXISTS (
                   SELECT FROM sessions later WHERE later.account_id = s.account_id
                     AND (later.last_used_at, later.id) > (s.last_used_at, s.id))
             FOR UPDATE OF s SKIP LOCKED)";
    Ok(diesel::sql_query(old)
        .bind::<SqlUuid, _>(after)
        .bind::<SqlUuid, _>(last)
        .bind::<Timestamptz, _>(ended_at)
        .bind::<Interval, _>(idle)
        .execute(db)
        .await?)
}

/// Returns `seq` of the last of the `count` deliveries that follow `after` in the order of planning,
/// and when it was planned, or `None` if none follow.
pub async fn last_delivery(
    db: &mut Connection,
    after: i64,
    count: i64,
) -> Result<Option<(i64, Timestamp)>, DbError> {
    let page = deliveries::table
        .filter(deliveries::seq.gt(after))
        .order(deliveries::seq)
        .limit(count)
        .select((deliveries::seq, deliveries::created_at))
        .load(db)
        .await?;
    Ok(page.last().copied())
}

/// Deletes the deliveries after `after` up to `last` that finished at `finished_at` or earlier,
/// except those of tickets that are not closed. Returns how many.
pub async fn delete_deliveries(
    db: &mut Connection,
    (after, last): (i64, i64),
    finished_at: Timestamp,
) -> Result<usize, DbError> {
    let old = "WITH old AS (
             SELECT d.id FROM deliveries d
             WHERE d.seq > $1 AND d.seq <= $2 AND d.finished_at <= $3
               AND NOT EXISTS (
                   SELECT FROM tickets t WHERE t.id = d.ticket_id AND t.status <> 'closed')
             FOR UPDATE OF d SKIP LOCKED
         ), events AS (
             DELETE FROM delivery_events e USING old WHERE e.delivery_id = old.id
         )
         DELETE FROM deliveries d USING old WHERE d.id = old.id";
    Ok(diesel::sql_query(old)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(last)
        .bind::<Timestamptz, _>(finished_at)
        .execute(db)
        .await?)
}
