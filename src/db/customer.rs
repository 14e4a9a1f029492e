//! Customers' accounts as the control panel provisions them.

use diesel::{
    pg::Pg,
    prelude::*,
    result::{DatabaseErrorKind, Error},
    sql_types::Bool,
};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    account::{AccountRow, is_address_in_use},
    schema::accounts,
};
use crate::{
    crypto::{import::ImportedPassword, stored_password::StoredPassword},
    domain::{
        account::{Account, EmailAddress},
        text::ExternalId,
    },
};

/// An account with the data that the control panel sent.
pub struct Customer {
    /// The account.
    pub account: Account,
    /// The account's id in the control panel, or `None` if it was not provisioned.
    pub external_id: Option<String>,
    /// The fingerprint of the last imported password hash, to recognise a repetition.
    pub imported_hash: Option<Vec<u8>>,
}

/// Returns the account with an external id. Its row stays locked until the transaction ends.
pub async fn by_external_id(
    db: &mut Connection,
    id: &ExternalId,
) -> Result<Option<Customer>, DbError> {
    let has_id = accounts::external_id.eq(id.as_str().to_owned()).assume_not_null();
    lock_where(db, Box::new(has_id), "").await
}

/// Returns the account with an e-mail address, the same one as
/// [`account::by_email`](super::account::by_email) if two accounts have spellings of it. Its row
/// stays locked until the transaction ends.
pub async fn by_email(
    db: &mut Connection,
    email: &EmailAddress,
) -> Result<Option<Customer>, DbError> {
    let has_address = accounts::email.eq_any(email.spellings());
    lock_where(db, Box::new(has_address), email.as_str()).await
}

type Condition = Box<dyn BoxableExpression<accounts::table, Pg, SqlType = Bool>>;
type Row = (AccountRow, Option<String>, Option<Vec<u8>>);

/// Locks the first account that meets a condition, before others the one with this spelling of its
/// address.
async fn lock_where(
    db: &mut Connection,
    condition: Condition,
    spelling: &str,
) -> Result<Option<Customer>, DbError> {
    let row = accounts::table
        .filter(condition)
        .order((accounts::email.eq(spelling).desc(), accounts::id))
        .select((AccountRow::as_select(), accounts::external_id, accounts::imported_hash))
        .for_no_key_update()
        .first::<Row>(db)
        .await
        .optional()?;
    let customer = |(row, external_id, imported_hash): Row| Customer {
        account: row.into(),
        external_id,
        imported_hash,
    };
    Ok(row.map(customer))
}

/// Updates an account's name, address, language and external id, and its password if one is
/// passed. Returns `false` if another account has the address or the external id. The caller must
/// then roll the transaction back.
pub async fn update(
    db: &mut Connection,
    account: &Account,
    external_id: &ExternalId,
    password: Option<&ImportedPassword>,
) -> Result<bool, DbError> {
    let stored = accounts::table.find(account.id.0).select(accounts::email);
    // Two accounts of an earlier version may have two spellings of one address.
    let is_changed = stored.first::<String>(db).await? != account.email.as_str();
    if is_changed && is_address_in_use(db, &account.email, account.id).await? {
        return Ok(false);
    }
    let row = diesel::update(accounts::table.find(account.id.0));
    let known = (
        accounts::email.eq(account.email.as_str()),
        accounts::name.eq(&account.name),
        accounts::locale.eq(account.locale),
        accounts::external_id.eq(external_id.as_str()),
    );
    let updated = match password {
        None => row.set(known).execute(db).await,
        Some(password) => {
            let imported = (
                accounts::password_hash.eq(password.stored().expose()),
                accounts::imported_hash.eq(password.fingerprint().to_vec()),
            );
            row.set((known, imported)).execute(db).await
        }
    };
    match updated {
        Ok(_) => Ok(true),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Inserts an account. Returns `false` if another account has the address or the external id.
pub async fn insert(
    db: &mut Connection,
    account: &Account,
    external_id: &ExternalId,
    password: Option<&ImportedPassword>,
) -> Result<bool, DbError> {
    if is_address_in_use(db, &account.email, account.id).await? {
        return Ok(false);
    }
    let added = diesel::insert_into(accounts::table)
        .values((
            accounts::id.eq(account.id.0),
            accounts::email.eq(account.email.as_str()),
            accounts::name.eq(&account.name),
            accounts::role.eq(account.role),
            accounts::locale.eq(account.locale),
            accounts::external_id.eq(external_id.as_str()),
            accounts::password_hash
                .eq(password.map(ImportedPassword::stored).map(StoredPassword::expose)),
            accounts::imported_hash.eq(password.map(|password| password.fingerprint().to_vec())),
            accounts::created_at.eq(account.created_at),
        ))
        .on_conflict_do_nothing()
        .execute(db)
        .await?;
    Ok(added == 1)
}
