//! Preferences: which mails a person receives, and in which language.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{accounts, mail_preferences},
};
use crate::domain::{account::Locale, ids::AccountId, notification::MailPreferences};

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = mail_preferences)]
struct PreferencesRow {
    account_id: Uuid,
    ticket_created: bool,
    support_answered: bool,
    status_changed: bool,
    ticket_closed: bool,
}

impl From<PreferencesRow> for MailPreferences {
    fn from(row: PreferencesRow) -> Self {
        Self {
            ticket_created: row.ticket_created,
            support_answered: row.support_answered,
            status_changed: row.status_changed,
            ticket_closed: row.ticket_closed,
        }
    }
}

/// Returns the mail preferences of an account.
pub async fn of_account(
    db: &mut Connection,
    account: AccountId,
) -> Result<MailPreferences, DbError> {
    let row = mail_preferences::table
        .find(account.0)
        .select(PreferencesRow::as_select())
        .first(db)
        .await
        .optional()?;
    Ok(row.map(MailPreferences::from).unwrap_or_default())
}

/// Sets the mail preferences of an account.
pub async fn set(
    db: &mut Connection,
    account: AccountId,
    preferences: MailPreferences,
) -> Result<(), DbError> {
    let row = PreferencesRow {
        account_id: account.0,
        ticket_created: preferences.ticket_created,
        support_answered: preferences.support_answered,
        status_changed: preferences.status_changed,
        ticket_closed: preferences.ticket_closed,
    };
    diesel::insert_into(mail_preferences::table)
        .values(&row)
        .on_conflict(mail_preferences::account_id)
        .do_update()
        .set(&row)
        .execute(db)
        .await?;
    Ok(())
}

/// Sets the language of an account.
pub async fn set_locale(
    db: &mut Connection,
    account: AccountId,
    locale: Locale,
) -> Result<(), DbError> {
    diesel::update(accounts::table.find(account.0))
        .set(accounts::locale.eq(locale))
        .execute(db)
        .await?;
    Ok(())
}
