//! Deleting rows that have expired.

use diesel::{
    sql_query,
    sql_types::{BigInt, Timestamptz},
};
use diesel_async::RunQueryDsl as _;

use super::{Connection, DbError};
use crate::domain::clock::Timestamp;

/// How many rows one statement deletes at most, so that it ends within the time of a statement
/// however many have expired.
const BATCH: usize = 10_000;

/// Deletes the rows of a table whose time in `column` is `until` or earlier. Several nodes may do this
/// at the same time. A row whose time changes meanwhile stays.
pub(super) async fn delete(
    db: &mut Connection,
    (table, column): (&str, &str),
    until: Timestamp,
) -> Result<(), DbError> {
    // The second condition is for rows that change meanwhile. `IS TRUE` keeps an index of the column from
    // it: each row of the index would be compared with the whole list.
    let statement = format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM {table} WHERE {column} <= $1 LIMIT $2))
         AND ({column} <= $1) IS TRUE"
    );
    loop {
        let deleted = sql_query(&statement)
            .bind::<Timestamptz, _>(until)
            .bind::<BigInt, _>(i64::try_from(BATCH).unwrap_or(i64::MAX))
            .execute(db)
            .await?;
        if deleted < BATCH {
            return Ok(());
        }
    }
}
