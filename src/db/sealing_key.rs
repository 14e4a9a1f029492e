//! Which sealing keys the database was used with.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Binary},
};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    schema::{sealing_keys, second_factors},
};
use crate::{crypto::seal::KeyId, domain::clock::Timestamp};

/// The length of a key's id, in bytes.
const ID_BYTES: i32 = 4;
/// The key of the lock under which keys are compared and added.
const LOCK: i64 = 0x6b65_7974_7700_0001;

diesel::define_sql_function! {
    /// Returns the first `bytes` bytes.
    #[sql_name = "substr"]
    fn start_of(data: Binary, from: diesel::sql_types::Integer, bytes: diesel::sql_types::Integer) -> Binary;
}

/// Makes other transactions that call this wait until this one ends: of two nodes that start with
/// different keys at the same time, one is first.
pub async fn lock(db: &mut Connection) -> Result<(), DbError> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the ids of the keys that the database was used with, of those that a version without
/// check values has sealed with if there are no others.
pub async fn used(db: &mut Connection) -> Result<Vec<Vec<u8>>, DbError> {
    let known = sealing_keys::table.select(sealing_keys::id).load::<Vec<u8>>(db).await?;
    if !known.is_empty() {
        return Ok(known);
    }
    Ok(second_factors::table
        .filter(second_factors::secret.is_not_null())
        .select(start_of(second_factors::secret.assume_not_null(), 1, ID_BYTES))
        .distinct()
        .load::<Vec<u8>>(db)
        .await?)
}

/// Stores that keys are in use.
pub async fn add(db: &mut Connection, ids: &[KeyId], now: Timestamp) -> Result<(), DbError> {
    let row = |id: &KeyId| (sealing_keys::id.eq(id.to_vec()), sealing_keys::first_used_at.eq(now));
    diesel::insert_into(sealing_keys::table)
        .values(ids.iter().map(row).collect::<Vec<_>>())
        .on_conflict_do_nothing()
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets all keys.
pub async fn clear(db: &mut Connection) -> Result<(), DbError> {
    diesel::delete(sealing_keys::table).execute(db).await?;
    Ok(())
}

/// Counts the authenticators that none of these keys opens.
pub async fn unreadable_authenticators(db: &mut Connection, ids: &[KeyId]) -> Result<i64, DbError> {
    let ids = ids.iter().map(|id| id.to_vec()).collect::<Vec<_>>();
    let id = start_of(second_factors::secret.assume_not_null(), 1, ID_BYTES);
    Ok(second_factors::table
        .filter(second_factors::secret.is_not_null())
        .filter(id.ne_all(ids))
        .count()
        .get_result(db)
        .await?)
}
