//! The offsets of the consumers of the feed.

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};
use diesel_async::RunQueryDsl;

use super::{Connection, DbError, prepared::Prepare as _, schema::consumer_offsets as offsets};

/// The name of the consumer that creates notifications and mails.
pub const NOTIFICATIONS: &str = "notifications";
/// The name of the consumer that adds new texts to the search.
pub const SEARCH: &str = "search";

/// Returns the position up to which a consumer has processed the feed.
pub async fn offset(db: &mut Connection, name: &str) -> Result<i64, DbError> {
    Ok(offsets::table.find(name).select(offsets::pos).first(db).await?)
}

/// What a consumer can do.
#[derive(QueryableByName)]
pub struct Work {
    /// The position up to which it has processed the feed.
    #[diesel(sql_type = BigInt)]
    pub pos: i64,
    /// Whether the feed has events after that.
    #[diesel(sql_type = Bool)]
    pub behind: bool,
    /// Whether another attempt was requested at events that it set aside.
    #[diesel(sql_type = Bool)]
    pub retries: bool,
}

/// Returns what a consumer can do. Locks nothing.
pub async fn work(db: &mut Connection, name: &str) -> Result<Work, DbError> {
    Ok(diesel::sql_query(
        "SELECT pos, pos < (SELECT pos FROM feed_head) AS behind,
                EXISTS (SELECT FROM set_aside_events
                        WHERE consumer = $1 AND retry_requested_at IS NOT NULL) AS retries
         FROM consumer_offsets WHERE name = $1",
    )
    .bind::<Text, _>(name)
    .prepared()
    .get_result(db)
    .await?)
}

/// Returns a consumer's offset and locks it until the transaction ends, so that only one node at
/// a time processes the feed for this consumer.
pub async fn lock(db: &mut Connection, name: &str) -> Result<i64, DbError> {
    Ok(offsets::table.find(name).select(offsets::pos).for_update().first(db).await?)
}

/// Sets a locked offset.
pub async fn move_to(db: &mut Connection, name: &str, pos: i64) -> Result<(), DbError> {
    diesel::update(offsets::table.find(name))
        .set(offsets::pos.eq(pos))
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

/// Moves a consumer's offset past all events so far, including those that are not in the feed yet.
/// Nothing else may write to the database at the same time.
pub async fn skip_to_end(db: &mut Connection, name: &str) -> Result<(), DbError> {
    let end = "(SELECT pos FROM feed_head) + (SELECT count(*) FROM pending_events)";
    diesel::update(offsets::table.find(name))
        .set(offsets::pos.eq(sql::<BigInt>(end)))
        .execute(db)
        .await?;
    Ok(())
}
