//! The settings that all nodes of an installation share.

use chrono::TimeDelta;
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Nullable, Timestamptz},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError, attachment,
    schema::installation::{self, table},
};
use crate::domain::{
    account::{EmailAddress, Locale},
    attachment::OwnStorage,
    clock::Timestamp,
};

/// How mails about tickets are planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRules {
    /// How long later events can join a mail.
    pub window: TimeDelta,
    /// The addresses that are notified of new tickets, in the form of `mail.staff_addresses`.
    pub staff_addresses: String,
    /// The language of those mails.
    pub staff_locale: Locale,
}

/// Returns whether mail goes out, or `None` if that is not decided yet.
pub async fn mail_enabled(db: &mut Connection) -> Result<Option<bool>, DbError> {
    Ok(table.select(installation::mail_enabled).first(db).await?)
}

/// Switches mail on or off.
pub async fn set_mail_enabled(db: &mut Connection, enabled: bool) -> Result<(), DbError> {
    diesel::update(table).set(installation::mail_enabled.eq(enabled)).execute(db).await?;
    Ok(())
}

/// Returns the time of the state that the last whole backup has, or `None` before the first one.
pub async fn last_backup_at(db: &mut Connection) -> Result<Option<Timestamp>, DbError> {
    Ok(table.select(installation::last_backup_at).first(db).await?)
}

/// Stores the time of the state that a whole backup has, unless a newer state is backed up. A stored time
/// in the future, by the clock of the database, is that of a clock that was wrong: it is replaced.
pub async fn set_last_backup_at(db: &mut Connection, at: Timestamp) -> Result<(), DbError> {
    // Of two backups, the newer state counts, whichever ends later.
    let older = installation::last_backup_at.is_null().or(installation::last_backup_at.lt(at));
    let is_wrong =
        installation::last_backup_at.gt(sql::<Nullable<Timestamptz>>("clock_timestamp()"));
    diesel::update(table.filter(older.or(is_wrong)))
        .set(installation::last_backup_at.eq(at))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns how the storage of attachments is recognised.
pub async fn own_storage(db: &mut Connection) -> Result<OwnStorage, DbError> {
    match table.select(installation::storage_id).first(db).await? {
        Some(id) => Ok(OwnStorage::Id(id)),
        None => Ok(OwnStorage::Holding(attachment::newest(db).await?)),
    }
}

/// Stores the id of the storage of attachments, unless there is one.
pub async fn adopt_storage(db: &mut Connection, id: Uuid) -> Result<(), DbError> {
    let without = table.filter(installation::storage_id.is_null());
    diesel::update(without).set(installation::storage_id.eq(id)).execute(db).await?;
    Ok(())
}

/// Replaces the id of the storage of attachments. With `None`, the next node that uses a storage
/// stores its id.
pub async fn replace_storage(db: &mut Connection, id: Option<Uuid>) -> Result<(), DbError> {
    diesel::update(table).set(installation::storage_id.eq(id)).execute(db).await?;
    Ok(())
}

/// Returns how mails are planned, or `None` if no mail goes out.
pub async fn mail_rules(db: &mut Connection) -> Result<Option<MailRules>, DbError> {
    let columns = (
        installation::mail_window_seconds,
        installation::mail_staff_addresses,
        installation::mail_staff_locale,
    );
    let enabled = table.filter(installation::mail_enabled.eq(true));
    let row = enabled.select(columns).first::<(i32, String, Locale)>(db).await.optional()?;
    Ok(row.map(|(window, staff_addresses, staff_locale)| MailRules {
        window: TimeDelta::seconds(window.into()),
        staff_addresses,
        staff_locale,
    }))
}

/// Returns the addresses that are notified of new tickets.
pub async fn staff_addresses(db: &mut Connection) -> Result<Vec<String>, DbError> {
    let entries = table.select(installation::mail_staff_addresses).first::<String>(db).await?;
    let addresses = entries.split(',').filter_map(|entry| entry.split_once('='));
    let addresses = addresses.filter_map(|(_, address)| EmailAddress::parse(address).ok());
    Ok(addresses.map(|address| address.as_str().to_owned()).collect())
}

/// Stores the rules of a node that can send mail, and switches mail on if that was not decided.
/// Returns whether mail goes out.
pub async fn adopt_mail_rules(db: &mut Connection, rules: &MailRules) -> Result<bool, DbError> {
    let window = i32::try_from(rules.window.num_seconds())
        .map_err(|error| DbError::Value(error.to_string()))?;
    let enabled = diesel::update(table)
        .set((
            installation::mail_enabled.eq(sql::<Bool>("coalesce(mail_enabled, true)").nullable()),
            installation::mail_window_seconds.eq(window),
            installation::mail_staff_addresses.eq(&rules.staff_addresses),
            installation::mail_staff_locale.eq(rules.staff_locale),
        ))
        .returning(installation::mail_enabled)
        .get_result::<Option<bool>>(db)
        .await?;
    Ok(enabled.unwrap_or(false))
}
