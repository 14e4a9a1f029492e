//! Preferences: which mails a person receives, and in which language.

use diesel::{
    prelude::*,
    sql_types::{Bool, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{accounts, mail_preferences},
};
use crate::domain::{
    account::Locale,
    ids::AccountId,
    notification::{MailPreferenceChanges, MailPreferences},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = mail_preferences)]
struct PreferencesRow {
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

/// Changes some of an account's mail preferences. The others keep the values that a concurrent call
/// may just have set.
pub async fn change(
    db: &mut Connection,
    account: AccountId,
    changes: MailPreferenceChanges,
) -> Result<(), DbError> {
    diesel::sql_query(
        "INSERT INTO mail_preferences AS p
             (account_id, ticket_created, support_answered, status_changed, ticket_closed)
         VALUES ($1, coalesce($2, true), coalesce($3, true), coalesce($4, true), coalesce($5, true))
         ON CONFLICT (account_id) DO UPDATE SET
             ticket_created = coalesce($2, p.ticket_created),
             support_answered = coalesce($3, p.support_answered),
             status_changed = coalesce($4, p.status_changed),
             ticket_closed = coalesce($5, p.ticket_closed)",
    )
    .bind::<SqlUuid, _>(account.0)
    .bind::<Nullable<Bool>, _>(changes.ticket_created)
    .bind::<Nullable<Bool>, _>(changes.support_answered)
    .bind::<Nullable<Bool>, _>(changes.status_changed)
    .bind::<Nullable<Bool>, _>(changes.ticket_closed)
    .prepared()
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
