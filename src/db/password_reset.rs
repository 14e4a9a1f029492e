//! Password resets, each with a link that was mailed.

use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError, expiry, prepared::Prepare as _, schema::password_resets as resets,
};
use crate::{
    crypto::token::TokenHash,
    domain::{account::EmailAddress, clock::Timestamp},
};

/// The key of the lock on an address. A hash of the address is added to it.
const LOCK: i64 = 0x7274_6477_0000_0000;
/// How long a call may wait for the lock after it has read the clock. Meanwhile later calls overtake it.
const MAX_OVERTAKEN: TimeDelta = TimeDelta::minutes(1);

/// Inserts a password reset for an address and invalidates those for it that expire before this one: a
/// stranger who requests a reset ends no invitation. The address need not belong to an account.
pub async fn insert(
    db: &mut Connection,
    token: TokenHash,
    email: &EmailAddress,
    (now, expires_at): (Timestamp, Timestamp),
) -> Result<(), DbError> {
    // There may be no row to lock yet, and of two concurrent calls only one link may remain.
    diesel::sql_query("SELECT pg_advisory_xact_lock($1 + hashtext($2))")
        .bind::<BigInt, _>(LOCK)
        .bind::<Text, _>(email.as_str())
        .prepared()
        .execute(db)
        .await?;
    invalidate(db, email, expires_at + MAX_OVERTAKEN, now).await?;
    diesel::insert_into(resets::table)
        .values((
            resets::token_hash.eq(token.0.as_slice()),
            resets::email.eq(email.as_str()),
            resets::expires_at.eq(expires_at),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the address of the password reset with a token, if it is still valid.
pub async fn find(
    db: &mut Connection,
    token: TokenHash,
    now: Timestamp,
) -> Result<Option<String>, DbError> {
    Ok(resets::table
        .find(token.0.to_vec())
        .filter(resets::used_at.is_null())
        .filter(resets::expires_at.gt(now))
        .select(resets::email)
        .first(db)
        .await
        .optional()?)
}

/// Uses a password reset and invalidates all others for the address. Returns `false` if it is no
/// longer valid.
pub async fn consume(
    db: &mut Connection,
    token: TokenHash,
    email: &EmailAddress,
    now: Timestamp,
) -> Result<bool, DbError> {
    let used = diesel::update(resets::table.find(token.0.to_vec()))
        .filter(resets::used_at.is_null())
        .filter(resets::expires_at.gt(now))
        .set(resets::used_at.eq(now))
        .execute(db)
        .await?;
    if used == 1 {
        invalidate_all(db, email, now).await?;
    }
    Ok(used == 1)
}

/// Invalidates all password resets for an address.
pub async fn invalidate_all(
    db: &mut Connection,
    email: &EmailAddress,
    now: Timestamp,
) -> Result<(), DbError> {
    invalidate(db, email, Timestamp::MAX_UTC, now).await
}

async fn invalidate(
    db: &mut Connection,
    email: &EmailAddress,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::update(resets::table)
        .filter(resets::email.eq_any(email.spellings()))
        .filter(resets::expires_at.le(until))
        .filter(resets::used_at.is_null())
        .set(resets::used_at.eq(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes expired password resets.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    expiry::delete(db, ("password_resets", "expires_at"), now).await
}
