//! Challenges, which are sign-ins that wait for a second factor, and e-mail codes. An e-mail code
//! belongs to a holder: a challenge, or the session in which a second factor is
//! configured or somebody re-authenticates.

use chrono::TimeDelta;
use diesel::{prelude::*, query_dsl::methods};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError, expiry,
    schema::{mailed_codes, sign_in_challenges as challenges},
};
use crate::{
    crypto::token::TokenHash,
    domain::{account::Account, clock::Timestamp, ids::AccountId, second_factor::MAX_ATTEMPTS},
};

/// A sign-in that waits for a second factor.
#[derive(Clone, Copy, Debug)]
pub struct Challenge {
    /// The challenge's id.
    pub id: Uuid,
    /// The account that is being signed in to.
    pub account_id: AccountId,
    /// How many attempts are left.
    pub attempts_left: i32,
    /// The account's session generation at the first step of the sign-in.
    pub session_generation: i32,
}

/// Inserts a challenge.
pub async fn insert(
    db: &mut Connection,
    id: Uuid,
    account: &Account,
    token: TokenHash,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    diesel::insert_into(challenges::table)
        .values((
            challenges::id.eq(id),
            challenges::account_id.eq(account.id.0),
            challenges::session_generation.eq(account.session_generation),
            challenges::token_hash.eq(token.0.as_slice()),
            challenges::tries_left.eq(MAX_ATTEMPTS),
            challenges::expires_at.eq(expires_at),
        ))
        .execute(db)
        .await?;
    Ok(())
}

type Row = (Uuid, Uuid, i32, i32);

fn challenge((id, account_id, attempts_left, session_generation): Row) -> Challenge {
    Challenge { id, account_id: AccountId(account_id), attempts_left, session_generation }
}

/// Returns the challenge with a token, if it is still open.
pub async fn find(
    db: &mut Connection,
    token: TokenHash,
    now: Timestamp,
) -> Result<Option<Challenge>, DbError> {
    let found = challenges::table
        .filter(challenges::token_hash.eq(token.0.to_vec()))
        .filter(challenges::finished_at.is_null())
        .filter(challenges::expires_at.gt(now))
        .filter(challenges::tries_left.gt(0))
        .select((
            challenges::id,
            challenges::account_id,
            challenges::tries_left,
            challenges::session_generation,
        ))
        .first::<Row>(db)
        .await
        .optional()?;
    Ok(found.map(challenge))
}

/// Uses one attempt of the challenge with a token. Returns the challenge, or `None` if it is no
/// longer open.
pub async fn use_attempt(
    db: &mut Connection,
    token: TokenHash,
    now: Timestamp,
) -> Result<Option<Challenge>, DbError> {
    let used = diesel::update(challenges::table)
        .filter(challenges::token_hash.eq(token.0.to_vec()))
        .filter(challenges::finished_at.is_null())
        .filter(challenges::expires_at.gt(now))
        .filter(challenges::tries_left.gt(0))
        .set(challenges::tries_left.eq(challenges::tries_left - 1))
        .returning((
            challenges::id,
            challenges::account_id,
            challenges::tries_left,
            challenges::session_generation,
        ))
        .get_result::<Row>(db)
        .await
        .optional()?;
    Ok(used.map(challenge))
}

/// Finishes a challenge. Returns `false` if another request finished it first.
pub async fn finish(db: &mut Connection, id: Uuid, now: Timestamp) -> Result<bool, DbError> {
    let finished = diesel::update(challenges::table.find(id))
        .filter(challenges::finished_at.is_null())
        .set(challenges::finished_at.eq(now))
        .execute(db)
        .await?;
    Ok(finished == 1)
}

/// Stores an e-mail code in place of the holder's previous one. If that one was sent less than
/// `pause` ago, stores nothing and returns the time it was sent as the inner error.
pub async fn store_code(
    db: &mut Connection,
    (holder, account): (Uuid, AccountId),
    hash: [u8; 32],
    (now, expires_at): (Timestamp, Timestamp),
    pause: TimeDelta,
) -> Result<Result<(), Timestamp>, DbError> {
    let values = (
        mailed_codes::account_id.eq(account.0),
        mailed_codes::code_hash.eq(hash.to_vec()),
        mailed_codes::tries_left.eq(MAX_ATTEMPTS),
        mailed_codes::sent_at.eq(now),
        mailed_codes::expires_at.eq(expires_at),
    );
    let insert = diesel::insert_into(mailed_codes::table)
        .values((mailed_codes::holder_id.eq(holder), values.clone()))
        .on_conflict(mailed_codes::holder_id)
        .do_update()
        .set(values);
    let stored = methods::FilterDsl::filter(insert, mailed_codes::sent_at.le(now - pause))
        .execute(db)
        .await?;
    if stored == 1 {
        return Ok(Ok(()));
    }
    let sent_at = mailed_codes::table.find(holder).select(mailed_codes::sent_at);
    Ok(Err(sent_at.first(db).await?))
}

/// Uses one attempt of a holder's e-mail code. Returns the hash of the code, or `None` if no
/// attempt is left or the code has expired.
pub async fn use_code_attempt(
    db: &mut Connection,
    holder: Uuid,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, DbError> {
    let code = mailed_codes::table.find(holder);
    Ok(diesel::update(code.filter(mailed_codes::tries_left.gt(0)))
        .filter(mailed_codes::expires_at.gt(now))
        .set(mailed_codes::tries_left.eq(mailed_codes::tries_left - 1))
        .returning(mailed_codes::code_hash)
        .get_result(db)
        .await
        .optional()?)
}

/// Deletes a used e-mail code. Returns `false` if another request used it first or a new code was
/// sent.
pub async fn consume_code(db: &mut Connection, holder: Uuid, hash: &[u8]) -> Result<bool, DbError> {
    let code = mailed_codes::table.find(holder);
    let used = diesel::delete(code.filter(mailed_codes::code_hash.eq(hash)));
    Ok(used.execute(db).await? == 1)
}

/// Deletes expired challenges and e-mail codes.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    expiry::delete(db, ("sign_in_challenges", "expires_at"), now).await?;
    expiry::delete(db, ("mailed_codes", "expires_at"), now).await
}
