//! Counting what accounts create, in the statement that creates it.

use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_types::{Array, Binary, Interval},
};
use diesel_async::RunQueryDsl;

use super::super::{Connection, DbError, prepared::Prepare as _, rate_limit::Bucket};
use crate::domain::clock::Timestamp;

/// The attempts that a statement counts, one value per attempt. `places` are those of their rows in
/// the statement, from 1.
#[derive(Default)]
pub(super) struct DueAttempts {
    pub(super) places: Vec<i32>,
    pub(super) buckets: Vec<Vec<u8>>,
    pub(super) intervals: Vec<TimeDelta>,
    /// How long a full bucket takes to empty. All of them have the same.
    pub(super) within: TimeDelta,
    /// When the attempts are made.
    pub(super) now: Timestamp,
}

/// The buckets that a statement has counted in.
#[derive(QueryableByName)]
pub(super) struct CountedAttempts {
    #[diesel(sql_type = Array<Binary>)]
    buckets: Vec<Vec<u8>>,
    #[diesel(sql_type = Array<Interval>)]
    fills: Vec<TimeDelta>,
}

impl DueAttempts {
    pub(super) fn add(&mut self, place: i32, bucket: &Bucket, now: Timestamp) {
        self.places.push(place);
        self.buckets.push(bucket.id.to_vec());
        self.intervals.push(bucket.interval());
        self.within = bucket.within;
        self.now = self.now.max(now);
    }
}

impl CountedAttempts {
    /// Takes back what was counted although nothing was created, because another bucket was full.
    pub(super) async fn refund(self, db: &mut Connection) -> Result<(), DbError> {
        if self.buckets.is_empty() {
            return Ok(());
        }
        diesel::sql_query(
            "UPDATE attempts a SET empty_at = empty_at - r.fill
             FROM unnest($1, $2) AS r (bucket, fill) WHERE a.bucket = r.bucket",
        )
        .bind::<Array<Binary>, _>(self.buckets)
        .bind::<Array<Interval>, _>(self.fills)
        .prepared()
        .execute(db)
        .await?;
        Ok(())
    }
}

/// Returns the expressions `due`, how much goes into each bucket for the rows of `rows (i)`, and
/// `counted`, the buckets that had room for it. The values of [`DueAttempts`] are the five
/// parameters from `$first` on, in its order. Rows are locked in the order of the buckets, so that
/// two such statements cannot deadlock.
pub(super) fn counting(rows: &str, first: usize) -> String {
    let [places, buckets, intervals, within, now] = [0, 1, 2, 3, 4].map(|n| first + n);
    format!(
        "due AS MATERIALIZED (
             SELECT bucket, sum(fill) AS fill FROM (
                 SELECT (${buckets})[p.i] AS bucket, (${intervals})[p.i] AS fill
                 FROM (SELECT place, i::int FROM unnest(${places}) WITH ORDINALITY AS p (place, i)) p
                 JOIN {rows} r ON r.i = p.place) attempts
             GROUP BY bucket
         ), counted AS (
             INSERT INTO attempts AS a (bucket, empty_at)
             SELECT bucket, ${now} + fill FROM due WHERE fill <= ${within} ORDER BY bucket
             ON CONFLICT (bucket) DO UPDATE
                 SET empty_at = greatest(a.empty_at, ${now}) + (excluded.empty_at - ${now})
                 WHERE greatest(a.empty_at, ${now}) + (excluded.empty_at - ${now})
                     <= ${now} + ${within}
             RETURNING bucket
         )"
    )
}

/// The columns of [`CountedAttempts`].
pub(super) const COUNTED: &str = "
    ARRAY(SELECT bucket FROM counted ORDER BY bucket) AS buckets,
    ARRAY(SELECT fill FROM due JOIN counted USING (bucket) ORDER BY bucket) AS fills";
