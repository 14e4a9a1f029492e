//! Idempotency keys: which call made what.

use chrono::TimeDelta;
use diesel::{prelude::*, query_dsl::methods::FilterDsl};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError, prepared::Prepare as _, schema::idempotency_keys as keys};
use crate::domain::{clock::Timestamp, ids::AccountId, text::IdempotencyKey};

/// How long a key is remembered.
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);

/// What claiming a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key is this call's: make the result under the id that was claimed.
    First,
    /// An equal call was made before, with this result.
    Repeated(Uuid),
    /// The key belongs to a call with another input.
    Reused,
}

/// Claims a key for a call whose input has a fingerprint and whose result will
/// have `result_id`. Of two claims at once the second waits until the first's
/// transaction has ended.
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
    // ON CONFLICT DO UPDATE … WHERE: a key that is no longer kept is taken over.
    let insert = FilterDsl::filter(insert, keys::created_at.le(now - KEPT_FOR));
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

/// Forgets the keys that are no longer kept; gives how many.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<usize, DbError> {
    let old = keys::created_at.le(now - KEPT_FOR);
    Ok(diesel::delete(QueryDsl::filter(keys::table, old)).execute(db).await?)
}
