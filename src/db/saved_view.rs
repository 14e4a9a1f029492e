//! Saved views of the queue.

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use super::{Connection, DbError, schema::saved_views};
use crate::domain::{
    clock::Timestamp,
    ids::{AccountId, SavedViewId},
    saved_view::SavedView,
    ticket_conditions::TicketConditions,
    ticket_list::{TicketListOrder, TicketSort},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = saved_views)]
struct SavedViewRow {
    id: Uuid,
    account_id: Option<Uuid>,
    name: String,
    filter: Value,
    sort: String,
    descending: bool,
    retired_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<SavedViewRow> for SavedView {
    fn from(row: SavedViewRow) -> Self {
        Self {
            id: SavedViewId(row.id),
            owner: row.account_id.map(AccountId),
            name: row.name,
            conditions: TicketConditions::from_json(&row.filter),
            order: TicketListOrder { sort: sort_of(&row.sort), descending: row.descending },
            retired_at: row.retired_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Returns the stored name of a sort order.
fn sort_name(sort: TicketSort) -> &'static str {
    match sort {
        TicketSort::CreatedAt => "created_at",
        TicketSort::UpdatedAt => "updated_at",
        TicketSort::Priority => "priority",
        TicketSort::WaitingSince => "waiting_since",
    }
}

/// Returns the sort order with a stored name. One that a newer version has stored becomes the
/// default.
fn sort_of(name: &str) -> TicketSort {
    match name {
        "updated_at" => TicketSort::UpdatedAt,
        "priority" => TicketSort::Priority,
        "waiting_since" => TicketSort::WaitingSince,
        _ => TicketSort::CreatedAt,
    }
}

/// Returns the shared views and those of an account, each in their order, the shared ones and the
/// active ones first.
pub async fn of_account(
    db: &mut Connection,
    account: AccountId,
    retired: bool,
) -> Result<Vec<SavedView>, DbError> {
    let own = saved_views::account_id.assume_not_null().eq(account.0);
    let visible = saved_views::account_id.is_null().or(own);
    let mut query = saved_views::table.filter(visible).into_boxed();
    if !retired {
        query = query.filter(saved_views::retired_at.is_null());
    }
    let rows = query
        .order(sql::<Bool>("account_id IS NOT NULL, retired_at IS NOT NULL, position, id"))
        .select(SavedViewRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(SavedView::from).collect())
}

/// Returns the views with these ids, in no particular order. Unknown ids are skipped.
pub async fn by_ids(db: &mut Connection, ids: &[SavedViewId]) -> Result<Vec<SavedView>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let rows = saved_views::table
        .filter(saved_views::id.eq_any(ids))
        .select(SavedViewRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(SavedView::from).collect())
}

/// Inserts a view after all others of its list.
pub async fn insert(db: &mut Connection, view: &SavedView) -> Result<(), DbError> {
    diesel::sql_query(
        "INSERT INTO saved_views
             (id, account_id, name, filter, sort, descending, created_at, updated_at, position)
         SELECT $1, $2, $3, $4, $5, $6, $7, $7, coalesce(max(position), 0) + 1
         FROM saved_views WHERE account_id IS NOT DISTINCT FROM $2",
    )
    .bind::<SqlUuid, _>(view.id.0)
    .bind::<Nullable<SqlUuid>, _>(view.owner.map(|id| id.0))
    .bind::<Text, _>(&view.name)
    .bind::<Jsonb, _>(stored(&view.conditions)?)
    .bind::<Text, _>(sort_name(view.order.sort))
    .bind::<Bool, _>(view.order.descending)
    .bind::<Timestamptz, _>(view.created_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Updates a view. `None` leaves the conditions or the order as they are stored: a newer version may
/// have stored more than this one knows.
pub async fn update(
    db: &mut Connection,
    view: &SavedView,
    conditions: Option<&TicketConditions>,
    order: Option<TicketListOrder>,
) -> Result<(), DbError> {
    let changes = (
        saved_views::name.eq(&view.name),
        conditions.map(stored).transpose()?.map(|filter| saved_views::filter.eq(filter)),
        order.map(|order| saved_views::sort.eq(sort_name(order.sort))),
        order.map(|order| saved_views::descending.eq(order.descending)),
        saved_views::updated_at.eq(view.updated_at),
    );
    diesel::update(saved_views::table.find(view.id.0)).set(changes).execute(db).await?;
    Ok(())
}

/// Returns conditions as they are stored.
///
/// # Errors
/// They cannot be represented, which does not happen.
pub fn stored(conditions: &TicketConditions) -> Result<Value, DbError> {
    serde_json::to_value(conditions).map_err(|error| DbError::Value(error.to_string()))
}
