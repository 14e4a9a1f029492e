//! Idempotency keys and the results of the calls that used them.

use chrono::TimeDelta;
use diesel::{prelude::*, query_dsl::methods::FilterDsl};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError, expiry, prepared::Prepare as _, schema::idempotency_keys as keys,
};
use crate::domain::{clock::Timestamp, ids::AccountId, text::IdempotencyKey};

/// How long a key is stored.
pub(super) const RETENTION: TimeDelta = TimeDelta::hours(24);

/// The outcome of claiming a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key was claimed. Create the result under the id that was passed.
    First,
    /// The same call was made before and created the result with this id.
    Repeated(Uuid),
    /// The key was used for a call with another input.
    Reused,
}

/// Claims a key for a call whose result will have `result_id`. `fingerprint` identifies the input.
/// Of two concurrent claims, the second waits until the transaction of the first has ended.
pub async fn claim(
    db: &mut Connection,
    account: AccountId,
    key: &IdempotencyKey,
    fingerprint: [u8; 32],
    result_id: Uuid,
    now: Timestamp,
) -> Result<Claim, DbError> {
    let insert = diesel::insert_into(keys::table)
        .values((
            keys::account_id.eq(account.0),
            keys::key.eq(key.as_str()),
            keys::fingerprint.eq(fingerprint.as_slice()),
            keys::result_id.eq(result_id),
            keys::created_at.eq(now),
        ))
        .on_conflict((keys::account_id, keys::key))
        .do_update()
        .set((
            keys::fingerprint.eq(fingerprint.as_slice()),
            keys::result_id.eq(result_id),
            keys::created_at.eq(now),
        ));
    // ON CONFLICT DO UPDATE … WHERE: an expired key is claimed again.
    let insert = FilterDsl::filter(insert, keys::created_at.le(now - RETENTION));
    let claimed = insert.prepared().execute(db).await?;
    if claimed == 1 {
        return Ok(Claim::First);
    }
    let (known, result) = keys::table
        .find((account.0, key.as_str()))
        .select((keys::fingerprint, keys::result_id))
        .first::<(Vec<u8>, Uuid)>(db)
        .await?;
    Ok(if known == fingerprint { Claim::Repeated(result) } else { Claim::Reused })
}

/// Returns what became of an earlier call with a key, or `None` if there was none.
pub async fn find(
    db: &mut Connection,
    account: AccountId,
    key: &IdempotencyKey,
    fingerprint: [u8; 32],
    now: Timestamp,
) -> Result<Option<Claim>, DbError> {
    let row = QueryDsl::filter(
        keys::table.find((account.0, key.as_str())),
        keys::created_at.gt(now - RETENTION),
    )
    .select((keys::fingerprint, keys::result_id));
    let found = row.first::<(Vec<u8>, Uuid)>(db).await.optional()?;
    Ok(found.map(
        |(known, id)| {
            if known == fingerprint { Claim::Repeated(id) } else { Claim::Reused }
        },
    ))
}

/// Deletes expired keys.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    expiry::delete(db, ("idempotency_keys", "created_at"), now - RETENTION).await
}
