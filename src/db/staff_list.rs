//! The ordered lists that staff work with. The tables of all kinds have the columns that are used
//! here.

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{Array, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError, account};
use crate::domain::{
    account::Account,
    clock::Timestamp,
    ids::AccountId,
    staff_list::{ListEntry, StaffList},
};

#[derive(QueryableByName)]
struct EntryRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    account_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_retired: bool,
}

impl From<EntryRow> for ListEntry {
    fn from(row: EntryRow) -> Self {
        let EntryRow { id, account_id, name, is_retired } = row;
        Self { id, owner: account_id.map(AccountId), name, is_retired }
    }
}

/// Returns the table of a kind, and its column with the names.
fn table(list: StaffList) -> (&'static str, &'static str) {
    match list {
        StaffList::CannedAnswers => ("canned_answers", "title"),
        StaffList::SavedViews => ("saved_views", "name"),
    }
}

fn entries_of(list: StaffList) -> String {
    let (table, name) = table(list);
    format!(
        "SELECT id, account_id, {name} AS name, retired_at IS NOT NULL AS is_retired FROM {table}"
    )
}

/// Prevents other changes of the personal list of `writer`, or of the shared one, until the
/// transaction ends. Locks the account's row first, as its erasure does, and returns the account as
/// it is then.
pub async fn lock(
    db: &mut Connection,
    list: StaffList,
    writer: AccountId,
    shared: bool,
) -> Result<Option<Account>, DbError> {
    let account = account::lock_and_read(db, writer).await?;
    if shared {
        let (table, _) = table(list);
        let lock = format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE");
        sql_query(lock).execute(db).await?;
    }
    Ok(account)
}

/// Deletes the entries of erased accounts, which an erasure by a version without these lists leaves.
pub async fn prune(db: &mut Connection, list: StaffList) -> Result<(), DbError> {
    let (table, _) = table(list);
    let delete = "account_id IN (SELECT account_id FROM erasures)";
    sql_query(format!("DELETE FROM {table} WHERE {delete}")).execute(db).await?;
    Ok(())
}

/// Returns the entry with an id.
pub async fn entry(
    db: &mut Connection,
    list: StaffList,
    id: Uuid,
) -> Result<Option<ListEntry>, DbError> {
    let query = sql_query(format!("{} WHERE id = $1", entries_of(list)));
    let row = query.bind::<SqlUuid, _>(id).get_result::<EntryRow>(db).await.optional()?;
    Ok(row.map(ListEntry::from))
}

/// Returns the entries of an account's list, or of the shared one: the active ones in their order,
/// then the retired ones.
pub async fn entries(
    db: &mut Connection,
    list: StaffList,
    owner: Option<AccountId>,
) -> Result<Vec<ListEntry>, DbError> {
    let whose =
        if owner.is_some() { "account_id = $1" } else { "account_id IS NULL AND $1 IS NULL" };
    let query =
        format!("{} WHERE {whose} ORDER BY retired_at IS NOT NULL, position, id", entries_of(list));
    let query = sql_query(query).bind::<Nullable<SqlUuid>, _>(owner.map(|id| id.0));
    let rows = query.load::<EntryRow>(db).await?;
    Ok(rows.into_iter().map(ListEntry::from).collect())
}

/// Sets the order of the active entries of a list.
pub async fn set_order(
    db: &mut Connection,
    list: StaffList,
    order: &[Uuid],
) -> Result<(), DbError> {
    let (table, _) = table(list);
    sql_query(format!(
        "UPDATE {table} e SET position = requested.place
         FROM unnest($1) WITH ORDINALITY AS requested (id, place)
         WHERE e.id = requested.id AND e.position <> requested.place"
    ))
    .bind::<Array<SqlUuid>, _>(order)
    .execute(db)
    .await?;
    Ok(())
}

/// Retires an entry.
pub async fn retire(
    db: &mut Connection,
    list: StaffList,
    id: Uuid,
    now: Timestamp,
) -> Result<(), DbError> {
    let (table, _) = table(list);
    sql_query(format!("UPDATE {table} SET retired_at = $2, updated_at = $2 WHERE id = $1"))
        .bind::<SqlUuid, _>(id)
        .bind::<Timestamptz, _>(now)
        .execute(db)
        .await?;
    Ok(())
}

/// Restores a retired entry, after all others of its list.
pub async fn restore(
    db: &mut Connection,
    list: StaffList,
    id: Uuid,
    now: Timestamp,
) -> Result<(), DbError> {
    let (table, _) = table(list);
    sql_query(format!(
        "UPDATE {table} e SET retired_at = NULL, updated_at = $2, position = 1 + (
             SELECT max(position) FROM {table} other
             WHERE other.account_id IS NOT DISTINCT FROM e.account_id)
         WHERE e.id = $1"
    ))
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(now)
    .execute(db)
    .await?;
    Ok(())
}
