//! How often guessable things were tried: the generic cell rate algorithm, one row a
//! bucket. A bucket fills with each try and empties evenly.

use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_types::{Binary, Interval, Timestamptz},
};
use diesel_async::RunQueryDsl;

use super::{Connection, DbError, prepared::Prepare as _, schema::attempts};
use crate::domain::clock::Timestamp;

/// A bucket: so many tries, given back evenly in so long.
pub struct Bucket {
    /// SHA-256 of what is limited and for whom.
    pub id: [u8; 32],
    /// Tries that fit, at least 1.
    pub attempts: i32,
    /// How long a full one takes to empty.
    pub within: TimeDelta,
}

impl Bucket {
    fn pause(&self) -> TimeDelta {
        self.within / self.attempts.max(1)
    }
}

#[derive(QueryableByName)]
struct EmptyAt {
    #[diesel(sql_type = Timestamptz)]
    #[expect(dead_code, reason = "that there is a row is the answer")]
    empty_at: Timestamp,
}

/// Takes a try; otherwise how long to wait until there is one. The row decides
/// between callers that come at once.
pub async fn take(
    db: &mut Connection,
    bucket: &Bucket,
    now: Timestamp,
) -> Result<Result<(), TimeDelta>, DbError> {
    let taken = diesel::sql_query(
        "INSERT INTO attempts AS a (bucket, empty_at) VALUES ($1, $2 + $3)
         ON CONFLICT (bucket) DO UPDATE SET empty_at = greatest(a.empty_at, $2) + $3
         WHERE greatest(a.empty_at, $2) + $3 <= $2 + $4
         RETURNING empty_at",
    )
    .bind::<Binary, _>(bucket.id.as_slice())
    .bind::<Timestamptz, _>(now)
    .bind::<Interval, _>(bucket.pause())
    .bind::<Interval, _>(bucket.within)
    .prepared()
    .load::<EmptyAt>(db)
    .await?;
    if !taken.is_empty() {
        return Ok(Ok(()));
    }
    let empty_at = attempts::table
        .find(bucket.id.as_slice())
        .select(attempts::empty_at)
        .first::<Timestamp>(db)
        .await
        .optional()?;
    let wait = empty_at.unwrap_or(now) + bucket.pause() - bucket.within - now;
    Ok(Err(wait.max(TimeDelta::seconds(1))))
}

/// Gives a try back that turned out to be none.
pub async fn refund(db: &mut Connection, bucket: &Bucket) -> Result<(), DbError> {
    diesel::sql_query("UPDATE attempts SET empty_at = empty_at - $2 WHERE bucket = $1")
        .bind::<Binary, _>(bucket.id.as_slice())
        .bind::<Interval, _>(bucket.pause())
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

/// Forgets the buckets that are empty.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    diesel::delete(attempts::table.filter(attempts::empty_at.le(now))).execute(db).await?;
    Ok(())
}
