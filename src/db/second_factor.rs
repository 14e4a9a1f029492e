//! Second factors, the authenticators that are being configured, and recovery codes.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
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

/// An account's second factors.
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

/// The sealed key of an account's authenticator.
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

/// Accepts the code of a time step, unless it or a later one was accepted before;
/// keeps the key as it is sealed now.
pub async fn accept_step(
    db: &mut Connection,
    account: AccountId,
    (step, sealed): (i64, &[u8]),
    now: Timestamp,
) -> Result<bool, DbError> {
    let accepted = diesel::update(second_factors::table.find((account.0, Method::Authenticator)))
        .filter(second_factors::last_step.lt(step))
        .set((
            second_factors::last_step.eq(step),
            second_factors::secret.eq(sealed),
            second_factors::last_used_at.eq(now),
        ))
        .execute(db)
        .await?;
    Ok(accepted == 1)
}

/// Notes that the codes by e-mail let somebody in.
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

/// Configures codes by e-mail; `false` where they were configured before.
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

/// Configures the authenticator that was begun with this key, in place of an earlier
/// one; `false` where that was done or replaced meanwhile.
pub async fn add_authenticator(
    db: &mut Connection,
    account: AccountId,
    sealed: &[u8],
    step: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    let begun = enrolments::table.find(account.0).filter(enrolments::secret.eq(sealed));
    if diesel::delete(begun).execute(db).await? == 0 {
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

/// Removes a second factor; `false` where there was none.
pub async fn remove(
    db: &mut Connection,
    account: AccountId,
    method: Method,
) -> Result<bool, DbError> {
    let removed = diesel::delete(second_factors::table.find((account.0, method)));
    Ok(removed.execute(db).await? == 1)
}

/// Keeps the sealed key of an authenticator that was begun, in place of an earlier one.
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

/// The sealed key of the authenticator that was begun.
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

/// Replaces an account's recovery codes; none: deletes them.
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

/// Uses up a recovery code, whichever of the hashes it was kept as.
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

/// How many recovery codes an account has left.
pub async fn recovery_codes_left(db: &mut Connection, account: AccountId) -> Result<i64, DbError> {
    Ok(recovery_codes::table
        .filter(recovery_codes::account_id.eq(account.0))
        .filter(recovery_codes::used_at.is_null())
        .count()
        .get_result(db)
        .await?)
}

/// Forgets the authenticators that were begun and not confirmed in time.
pub async fn prune(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    let old = enrolments::table.filter(enrolments::expires_at.le(now));
    diesel::delete(old).execute(db).await?;
    Ok(())
}
