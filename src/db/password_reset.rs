//! Links to set a new password.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{Connection, DbError, schema::password_resets as resets};
use crate::{
    crypto::token::TokenHash,
    domain::{account::EmailAddress, clock::Timestamp},
};

/// Keeps a link for an address, whether there is such an account or not.
pub async fn insert(
    db: &mut Connection,
    token: TokenHash,
    email: &EmailAddress,
    expires_at: Timestamp,
) -> Result<(), DbError> {
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

/// The address of a link that can still be used.
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

/// Uses up a link, and with it all others for the address; `false` where it can't be
/// used any more.
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
        invalidate(db, email, now).await?;
    }
    Ok(used == 1)
}

/// Voids all links for an address.
pub async fn invalidate(
    db: &mut Connection,
    email: &EmailAddress,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::update(resets::table)
        .filter(resets::email.eq(email.as_str()))
        .filter(resets::used_at.is_null())
        .set(resets::used_at.eq(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets the links whose time is over.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    diesel::delete(resets::table.filter(resets::expires_at.le(now))).execute(db).await?;
    Ok(())
}
