//! Second factors, enrolments of authenticators, and recovery codes.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError, expiry,
    schema::{authenticator_enrolments as enrolments, recovery_codes, second_factors},
};
use crate::domain::{
    clock::Timestamp,
    ids::AccountId,
    second_factor::{Method, SecondFactor},
};

#[derive(Queryable)]
struct Row {
    method: Method,
    configured_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

/// Returns the second factors of an account.
pub async fn of_account(
    db: &mut Connection,
    account: AccountId,
) -> Result<Vec<SecondFactor>, DbError> {
    let rows = second_factors::table
        .filter(second_factors::account_id.eq(account.0))
        .order(second_factors::configured_at)
        .select((
            second_factors::method,
            second_factors::configured_at,
            second_factors::last_used_at,
        ))
        .load::<Row>(db)
        .await?;
    let factor = |row: Row| SecondFactor {
        method: row.method,
        configured_at: row.configured_at,
        last_used_at: row.last_used_at,
    };
    Ok(rows.into_iter().map(factor).collect())
}

/// Returns the sealed key of an account's authenticator, if one is configured.
pub async fn authenticator(
    db: &mut Connection,
    account: AccountId,
) -> Result<Option<Vec<u8>>, DbError> {
    let secret = second_factors::table
        .find((account.0, Method::Authenticator))
        .select(second_factors::secret)
        .first::<Option<Vec<u8>>>(db)
        .await
        .optional()?;
    Ok(secret.flatten())
}

/// Accepts the code of a time step and stores the newly sealed key in place of the one that was read.
/// Returns `false` if the code of this or a later step was accepted before, or the key was replaced.
pub async fn accept_step(
    db: &mut Connection,
    account: AccountId,
    step: i64,
    (read, sealed): (&[u8], &[u8]),
    now: Timestamp,
) -> Result<bool, DbError> {
    let accepted = diesel::update(second_factors::table.find((account.0, Method::Authenticator)))
        .filter(second_factors::last_step.lt(step))
        .filter(second_factors::secret.eq(read))
        .set((
            second_factors::last_step.eq(step),
            second_factors::secret.eq(sealed),
            second_factors::last_used_at.eq(now),
        ))
        .execute(db)
        .await?;
    Ok(accepted == 1)
}

/// Records the use of a second factor. Returns `false` if it is not configured.
pub async fn touch(
    db: &mut Connection,
    account: AccountId,
    method: Method,
    now: Timestamp,
) -> Result<bool, DbError> {
    let touched = diesel::update(second_factors::table.find((account.0, method)))
        .set(second_factors::last_used_at.eq(now))
        .execute(db)
        .await?;
    Ok(touched == 1)
}

/// Configures e-mail codes as a second factor. Returns `false` if they are already configured.
pub async fn add_email(
    db: &mut Connection,
    account: AccountId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let added = diesel::insert_into(second_factors::table)
        .values((
            second_factors::account_id.eq(account.0),
            second_factors::method.eq(Method::Email),
            second_factors::configured_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(db)
        .await?;
    Ok(added == 1)
}

/// Configures the authenticator whose enrolment has this key, in place of an earlier one. Returns
/// `false` if the enrolment was confirmed or replaced meanwhile.
pub async fn add_authenticator(
    db: &mut Connection,
    account: AccountId,
    sealed: &[u8],
    step: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    let enrolment = enrolments::table.find(account.0).filter(enrolments::secret.eq(sealed));
    if diesel::delete(enrolment).execute(db).await? == 0 {
        return Ok(false);
    }
    let values = (
        second_factors::secret.eq(Some(sealed)),
        second_factors::last_step.eq(Some(step)),
        second_factors::configured_at.eq(now),
        second_factors::last_used_at.eq(None::<Timestamp>),
    );
    diesel::insert_into(second_factors::table)
        .values((
            second_factors::account_id.eq(account.0),
            second_factors::method.eq(Method::Authenticator),
            values,
        ))
        .on_conflict((second_factors::account_id, second_factors::method))
        .do_update()
        .set(values)
        .execute(db)
        .await?;
    Ok(true)
}

/// Removes a second factor. Returns `false` if it is not configured.
pub async fn remove(
    db: &mut Connection,
    account: AccountId,
    method: Method,
) -> Result<bool, DbError> {
    let removed = diesel::delete(second_factors::table.find((account.0, method)));
    Ok(removed.execute(db).await? == 1)
}

/// Stores the sealed key of a new enrolment, in place of an earlier one.
pub async fn enrol(
    db: &mut Connection,
    account: AccountId,
    sealed: &[u8],
    expires_at: Timestamp,
) -> Result<(), DbError> {
    let values = (enrolments::secret.eq(sealed), enrolments::expires_at.eq(expires_at));
    diesel::insert_into(enrolments::table)
        .values((enrolments::account_id.eq(account.0), values))
        .on_conflict(enrolments::account_id)
        .do_update()
        .set(values)
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the sealed key of an account's enrolment, if it has not expired.
pub async fn enrolment(
    db: &mut Connection,
    account: AccountId,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, DbError> {
    Ok(enrolments::table
        .find(account.0)
        .filter(enrolments::expires_at.gt(now))
        .select(enrolments::secret)
        .first(db)
        .await
        .optional()?)
}

/// Replaces an account's recovery codes. An empty list deletes them.
pub async fn set_recovery_codes(
    db: &mut Connection,
    account: AccountId,
    hashes: &[[u8; 32]],
) -> Result<(), DbError> {
    let old = recovery_codes::table.filter(recovery_codes::account_id.eq(account.0));
    diesel::delete(old).execute(db).await?;
    let row = |hash: &[u8; 32]| {
        (recovery_codes::account_id.eq(account.0), recovery_codes::code_hash.eq(hash.to_vec()))
    };
    let rows = hashes.iter().map(row).collect::<Vec<_>>();
    diesel::insert_into(recovery_codes::table).values(rows).execute(db).await?;
    Ok(())
}

/// Uses a recovery code that is stored as one of the hashes. Returns `false` if none of them is an
/// unused code.
pub async fn use_recovery_code(
    db: &mut Connection,
    account: AccountId,
    hashes: &[[u8; 32]],
    now: Timestamp,
) -> Result<bool, DbError> {
    let hashes = hashes.iter().map(|hash| hash.to_vec()).collect::<Vec<_>>();
    let code = recovery_codes::table
        .filter(recovery_codes::account_id.eq(account.0))
        .filter(recovery_codes::code_hash.eq_any(hashes))
        .filter(recovery_codes::used_at.is_null());
    Ok(diesel::update(code).set(recovery_codes::used_at.eq(now)).execute(db).await? == 1)
}

/// Counts an account's unused recovery codes.
pub async fn recovery_codes_left(db: &mut Connection, account: AccountId) -> Result<i64, DbError> {
    Ok(recovery_codes::table
        .filter(recovery_codes::account_id.eq(account.0))
        .filter(recovery_codes::used_at.is_null())
        .count()
        .get_result(db)
        .await?)
}

/// Deletes expired enrolments.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    expiry::delete(db, ("authenticator_enrolments", "expires_at"), now).await
}
