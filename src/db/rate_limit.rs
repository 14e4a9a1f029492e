//! Rate limits by the generic cell rate algorithm. Each row is a bucket that fills with each
//! attempt and empties at a constant rate.

use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_types::{Binary, Interval, Timestamptz},
};
use diesel_async::RunQueryDsl;

use super::{Connection, DbError, expiry, prepared::Prepare as _, schema::attempts};
use crate::domain::clock::Timestamp;

/// A bucket of attempts.
#[derive(Clone, Copy)]
pub struct Bucket {
    /// The SHA-256 hash of what is limited and for whom.
    pub id: [u8; 32],
    /// How many attempts fit into the bucket, at least 1.
    pub attempts: i32,
    /// How long a full bucket takes to empty.
    pub within: TimeDelta,
}

impl Bucket {
    /// Returns how long one attempt takes to leave the bucket.
    pub(super) fn interval(&self) -> TimeDelta {
        self.within / self.attempts.max(1)
    }

    /// Returns how long a bucket that is empty at a time has no room for another attempt. Negative
    /// or zero if it has room now.
    pub(super) fn wait(&self, empty_at: Timestamp, now: Timestamp) -> TimeDelta {
        self.wait_for(self.interval(), empty_at, now)
    }

    fn wait_for(&self, fill: TimeDelta, empty_at: Timestamp, now: Timestamp) -> TimeDelta {
        empty_at + fill - self.within - now
    }
}

#[derive(QueryableByName)]
struct EmptyAt {
    #[diesel(sql_type = Timestamptz)]
    #[expect(dead_code, reason = "only the presence of the row matters")]
    empty_at: Timestamp,
}

/// Counts an attempt. If the bucket is full, returns as the inner error how long to wait for the
/// next attempt. The row lock orders concurrent attempts.
pub async fn take(
    db: &mut Connection,
    bucket: &Bucket,
    now: Timestamp,
) -> Result<Result<(), TimeDelta>, DbError> {
    fill(db, bucket, bucket.interval(), now).await
}

/// Counts what takes this long to leave the bucket, like [`take`]. What is longer than the bucket takes
/// to empty fills it.
pub async fn fill(
    db: &mut Connection,
    bucket: &Bucket,
    fill: TimeDelta,
    now: Timestamp,
) -> Result<Result<(), TimeDelta>, DbError> {
    let fill = fill.min(bucket.within);
    let counted = diesel::sql_query(
        "INSERT INTO attempts AS a (bucket, empty_at) VALUES ($1, $2 + $3)
         ON CONFLICT (bucket) DO UPDATE SET empty_at = greatest(a.empty_at, $2) + $3
         WHERE greatest(a.empty_at, $2) + $3 <= $2 + $4
         RETURNING empty_at",
    )
    .bind::<Binary, _>(bucket.id.as_slice())
    .bind::<Timestamptz, _>(now)
    .bind::<Interval, _>(fill)
    .bind::<Interval, _>(bucket.within)
    .prepared()
    .load::<EmptyAt>(db)
    .await?;
    if !counted.is_empty() {
        return Ok(Ok(()));
    }
    let empty_at = attempts::table
        .find(bucket.id.as_slice())
        .select(attempts::empty_at)
        .first::<Timestamp>(db)
        .await
        .optional()?;
    Ok(Err(bucket.wait_for(fill, empty_at.unwrap_or(now), now).max(TimeDelta::seconds(1))))
}

/// Takes back an attempt that should not count.
pub async fn refund(db: &mut Connection, bucket: &Bucket) -> Result<(), DbError> {
    drain(db, bucket, bucket.interval()).await
}

/// Takes back what was counted with [`fill`].
pub async fn drain(db: &mut Connection, bucket: &Bucket, fill: TimeDelta) -> Result<(), DbError> {
    diesel::sql_query("UPDATE attempts SET empty_at = empty_at - $2 WHERE bucket = $1")
        .bind::<Binary, _>(bucket.id.as_slice())
        .bind::<Interval, _>(fill.min(bucket.within))
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

/// Empties a bucket.
pub async fn empty(db: &mut Connection, bucket: &Bucket) -> Result<(), DbError> {
    diesel::delete(attempts::table.find(bucket.id.as_slice())).execute(db).await?;
    Ok(())
}

/// Deletes empty buckets.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    expiry::delete(db, ("attempts", "empty_at"), now).await
}
