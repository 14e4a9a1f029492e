//! How far each consumer of the feed has got.

use diesel::{dsl::sql, prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{consumer_offsets as offsets, feed_head},
};

/// The one that tells people of events.
pub const NOTIFICATIONS: &str = "notifications";

/// How far a consumer has got.
pub async fn offset(db: &mut Connection, name: &str) -> Result<i64, DbError> {
    Ok(offsets::table.find(name).select(offsets::pos).first(db).await?)
}

/// Whether the feed has more than a consumer has dealt with.
pub async fn is_behind(db: &mut Connection, name: &str) -> Result<bool, DbError> {
    let head = feed_head::table.select(feed_head::pos).single_value();
    let behind = offsets::table.find(name).filter(offsets::pos.nullable().lt(head));
    Ok(diesel::select(diesel::dsl::exists(behind)).get_result(db).await?)
}

/// Locks a consumer's offset until the transaction ends: of many nodes one at a
/// time goes on from it.
pub async fn lock(db: &mut Connection, name: &str) -> Result<i64, DbError> {
    Ok(offsets::table.find(name).select(offsets::pos).for_update().first(db).await?)
}

/// Moves a locked offset.
pub async fn move_to(db: &mut Connection, name: &str, pos: i64) -> Result<(), DbError> {
    diesel::update(offsets::table.find(name))
        .set(offsets::pos.eq(pos))
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

/// Passes over everything that has happened so far, placed in the feed or not. For
/// a database that nobody else writes to meanwhile.
pub async fn skip_to_end(db: &mut Connection, name: &str) -> Result<(), DbError> {
    let end = "(SELECT pos FROM feed_head) + (SELECT count(*) FROM pending_events)";
    diesel::update(offsets::table.find(name))
        .set(offsets::pos.eq(sql::<BigInt>(end)))
        .execute(db)
        .await?;
    Ok(())
}
