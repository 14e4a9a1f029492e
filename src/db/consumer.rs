//! The offsets of the consumers of the feed.

use diesel::{dsl::sql, prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{consumer_offsets as offsets, feed_head},
};

/// The name of the consumer that creates notifications and mails.
pub const NOTIFICATIONS: &str = "notifications";

/// Returns the position up to which a consumer has processed the feed.
pub async fn offset(db: &mut Connection, name: &str) -> Result<i64, DbError> {
    Ok(offsets::table.find(name).select(offsets::pos).first(db).await?)
}

/// Returns whether the feed has events that a consumer has not processed.
pub async fn is_behind(db: &mut Connection, name: &str) -> Result<bool, DbError> {
    let head = feed_head::table.select(feed_head::pos).single_value();
    let behind = offsets::table.find(name).filter(offsets::pos.nullable().lt(head));
    Ok(diesel::select(diesel::dsl::exists(behind)).get_result(db).await?)
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
