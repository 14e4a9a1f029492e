//! Handoffs from the control panel.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError, expiry, schema::handoffs};
use crate::{
    crypto::token::TokenHash,
    domain::{
        clock::Timestamp,
        handoff::Handoff,
        ids::{AccountId, HandoffId},
    },
};

/// Inserts a handoff.
pub async fn insert(
    db: &mut Connection,
    handoff: &Handoff,
    token: TokenHash,
) -> Result<(), DbError> {
    diesel::insert_into(handoffs::table)
        .values((
            handoffs::id.eq(handoff.id.0),
            handoffs::token_hash.eq(token.0.as_slice()),
            handoffs::account_id.eq(handoff.account_id.0),
            handoffs::created_at.eq(handoff.created_at),
            handoffs::expires_at.eq(handoff.expires_at),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Redeems a handoff. Returns `None` if it is unknown, has expired or was redeemed before. Of
/// concurrent attempts, one succeeds.
pub async fn redeem(
    db: &mut Connection,
    token: TokenHash,
    now: Timestamp,
) -> Result<Option<(HandoffId, AccountId)>, DbError> {
    let used = diesel::update(handoffs::table)
        .filter(handoffs::token_hash.eq(token.0.as_slice()))
        .filter(handoffs::used_at.is_null())
        .filter(handoffs::expires_at.gt(now))
        .set(handoffs::used_at.eq(now))
        .returning((handoffs::id, handoffs::account_id))
        .get_result::<(Uuid, Uuid)>(db)
        .await
        .optional()?;
    Ok(used.map(|(id, account)| (HandoffId(id), AccountId(account))))
}

/// Deletes the handoffs that expired at `expired_at` or earlier.
pub async fn prune(db: &mut Connection, expired_at: Timestamp) -> Result<(), DbError> {
    expiry::delete(db, ("handoffs", "expires_at"), expired_at).await
}
