//! Counting what accounts write, in the statement that writes it.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_types::{Array, Binary, Interval, Nullable, Timestamptz},
};
use diesel_async::RunQueryDsl;

use super::super::{Connection, DbError, prepared::Prepare as _, rate_limit::Bucket};
use crate::domain::clock::Timestamp;

/// The attempts that a statement counts.
#[derive(Default)]
pub(super) struct DueAttempts {
    /// The place of each attempt's row in the statement, from 1.
    pub(super) places: Vec<i32>,
    /// The bucket of each attempt.
    pub(super) attempted: Vec<Vec<u8>>,
    /// How much goes into each bucket.
    pub(super) fills: BTreeMap<Vec<u8>, TimeDelta>,
    /// How long a full bucket takes to empty. All of them have the same.
    pub(super) within: TimeDelta,
    /// When the attempts are made.
    pub(super) now: Timestamp,
}

/// What a statement has counted.
#[derive(QueryableByName)]
pub(super) struct CountedAttempts {
    /// The buckets that had room.
    #[diesel(sql_type = Array<Binary>)]
    buckets: Vec<Vec<u8>>,
    /// When each bucket of the statement is empty, as far as that was known before it.
    #[diesel(sql_type = Array<Nullable<Timestamptz>>)]
    empty_at: Vec<Option<Timestamp>>,
}

/// The buckets that had no room for what a statement would have counted.
#[derive(Default)]
pub struct FullBuckets(BTreeMap<Vec<u8>, Option<Timestamp>>);

impl FullBuckets {
    /// Returns whether a bucket had no room.
    pub fn contains(&self, bucket: &Bucket) -> bool {
        self.0.contains_key(bucket.id.as_slice())
    }

    /// Returns how long to wait until a bucket has room for one attempt, or `None` if it may have
    /// room for one now.
    pub fn wait(&self, bucket: &Bucket, now: Timestamp) -> Option<TimeDelta> {
        let empty_at = (*self.0.get(bucket.id.as_slice())?)?;
        let wait = bucket.wait(empty_at, now);
        (wait > TimeDelta::zero()).then(|| wait.max(TimeDelta::seconds(1)))
    }
}

impl DueAttempts {
    pub(super) fn add(&mut self, place: i32, bucket: &Bucket, now: Timestamp) {
        self.places.push(place);
        self.attempted.push(bucket.id.to_vec());
        *self.fills.entry(bucket.id.to_vec()).or_default() += bucket.interval();
        self.within = bucket.within;
        self.now = self.now.max(now);
    }

    /// Returns the buckets, in the order of the statement.
    pub(super) fn buckets(&self) -> Vec<Vec<u8>> {
        self.fills.keys().cloned().collect()
    }
}

impl CountedAttempts {
    /// Returns the full buckets, and what was counted for rows that were not written. `due` are the
    /// buckets of the statement, and `unwritten` those of the rows, one for each attempt.
    pub(super) fn split(
        self,
        due: Vec<Vec<u8>>,
        unwritten: impl Iterator<Item = Bucket>,
    ) -> (FullBuckets, UnwrittenAttempts) {
        let mut fills = BTreeMap::<_, TimeDelta>::new();
        for bucket in unwritten {
            if self.buckets.iter().any(|counted| *counted == bucket.id) {
                *fills.entry(bucket.id).or_default() += bucket.interval();
            }
        }
        let full = due.into_iter().zip(self.empty_at).filter(|(id, _)| !self.buckets.contains(id));
        (FullBuckets(full.collect()), UnwrittenAttempts(fills))
    }
}

/// What a statement has counted for rows that it has not written.
#[derive(Default)]
pub struct UnwrittenAttempts(BTreeMap<[u8; 32], TimeDelta>);

impl UnwrittenAttempts {
    /// Takes back what was counted. A failure is only logged: the statement has committed what it
    /// wrote, and the buckets empty in time.
    pub async fn uncount(&self, db: &mut Connection) {
        if let Err(error) = self.try_to_uncount(db).await {
            tracing::warn!(%error, "what was not written still counts towards rate limits");
        }
    }

    async fn try_to_uncount(&self, db: &mut Connection) -> Result<(), DbError> {
        let Self(fills) = self;
        if fills.is_empty() {
            return Ok(());
        }
        // Locks the rows in the order in which `counting` does.
        diesel::sql_query(
            "WITH r AS MATERIALIZED (
                 SELECT a.bucket, n.fill FROM unnest($1, $2) AS n (bucket, fill)
                 JOIN attempts a ON a.bucket = n.bucket
                 ORDER BY a.bucket FOR NO KEY UPDATE OF a
             )
             UPDATE attempts a SET empty_at = a.empty_at - r.fill FROM r WHERE a.bucket = r.bucket",
        )
        .bind::<Array<Binary>, _>(fills.keys().map(|id| id.to_vec()).collect::<Vec<_>>())
        .bind::<Array<Interval>, _>(fills.values().copied().collect::<Vec<_>>())
        .prepared()
        .execute(db)
        .await?;
        Ok(())
    }
}

/// Returns the expression `counted`, the buckets that had room for what goes into them. The values of
/// [`DueAttempts`] are the six parameters from `$first` on: the places, the buckets of the attempts,
/// the buckets and what goes into them, and the two times.
///
/// Rows are locked in the order of the buckets, so that two such statements cannot deadlock, and
/// before any ticket. So what a bucket counts must not depend on the tickets: the caller takes back
/// what was counted for nothing. A change that is made alone locks its ticket before the bucket. That
/// cannot deadlock with this statement, which does not wait for tickets.
pub(super) fn counting(first: usize) -> String {
    let [buckets, fills, within, now] = [2, 3, 4, 5].map(|n| first + n);
    format!(
        "counted AS (
             INSERT INTO attempts AS a (bucket, empty_at)
             SELECT bucket, ${now} + fill
             FROM unnest(${buckets}, ${fills}) AS due (bucket, fill) WHERE fill <= ${within}
             ON CONFLICT (bucket) DO UPDATE
                 SET empty_at = greatest(a.empty_at, ${now}) + (excluded.empty_at - ${now})
                 WHERE greatest(a.empty_at, ${now}) + (excluded.empty_at - ${now})
                     <= ${now} + ${within}
             RETURNING bucket
         )"
    )
}

/// Returns a query for the places of rows whose bucket was full. It reads all of `counted`, so that
/// everything is counted before a ticket is locked.
pub(super) fn uncounted(first: usize) -> String {
    let (places, attempted) = (first, first + 1);
    format!(
        "SELECT place FROM unnest(${places}, ${attempted}) AS attempt (place, bucket)
         WHERE bucket <> ALL (ARRAY(SELECT bucket FROM counted))"
    )
}

/// Returns the columns of [`CountedAttempts`].
pub(super) fn counted(first: usize) -> String {
    let buckets = first + 2;
    format!(
        "ARRAY(SELECT bucket FROM counted) AS buckets,
         ARRAY(SELECT (SELECT empty_at FROM attempts WHERE bucket = due.bucket)
               FROM unnest(${buckets}) AS due (bucket)) AS empty_at"
    )
}

/// The columns of [`CountedAttempts`] of a statement that counts nothing.
pub(super) const NOTHING_COUNTED: &str =
    "'{}'::bytea[] AS buckets, '{}'::timestamptz[] AS empty_at";
