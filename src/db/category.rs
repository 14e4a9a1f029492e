//! Categories of tickets.

use diesel::{
    prelude::*,
    sql_types::{Array, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError, schema::categories};
use crate::domain::{category::Category, clock::Timestamp, ids::CategoryId};

#[derive(Queryable, Selectable)]
#[diesel(table_name = categories)]
struct CategoryRow {
    id: Uuid,
    slug: String,
    name_en: String,
    name_ru: String,
    retired_at: Option<Timestamp>,
}

impl From<CategoryRow> for Category {
    fn from(row: CategoryRow) -> Self {
        let CategoryRow { id, slug, name_en, name_ru, retired_at } = row;
        Self { id: CategoryId(id), slug, name_en, name_ru, retired_at }
    }
}

/// Returns all categories in the installation's order, including retired ones.
pub async fn all(db: &mut Connection) -> Result<Vec<Category>, DbError> {
    let rows = categories::table
        .order((categories::position, categories::id))
        .select(CategoryRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Category::from).collect())
}

/// Returns the categories with these ids, in the installation's order. Unknown ids are skipped.
pub async fn by_ids(db: &mut Connection, ids: &[CategoryId]) -> Result<Vec<Category>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let rows = categories::table
        .filter(categories::id.eq_any(ids))
        .order((categories::position, categories::id))
        .select(CategoryRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Category::from).collect())
}

/// Returns the category with an id and prevents changes to it until the transaction ends.
pub async fn lock_shared(db: &mut Connection, id: CategoryId) -> Result<Option<Category>, DbError> {
    let row = categories::table
        .find(id.0)
        .select(CategoryRow::as_select())
        .for_share()
        .first(db)
        .await
        .optional()?;
    Ok(row.map(Category::from))
}

/// Returns all categories in the installation's order and prevents changes to them until the
/// transaction ends. Categories can still be read, and tickets can still be opened.
pub async fn lock_all(db: &mut Connection) -> Result<Vec<Category>, DbError> {
    diesel::sql_query("LOCK TABLE categories IN SHARE ROW EXCLUSIVE MODE").execute(db).await?;
    all(db).await
}

/// Inserts a category after all others.
pub async fn insert(db: &mut Connection, category: &Category) -> Result<(), DbError> {
    diesel::sql_query(
        "INSERT INTO categories (id, slug, name_en, name_ru, position)
         SELECT $1, $2, $3, $4, coalesce(max(position), 0) + 1 FROM categories",
    )
    .bind::<SqlUuid, _>(category.id.0)
    .bind::<Text, _>(&category.slug)
    .bind::<Text, _>(&category.name_en)
    .bind::<Text, _>(&category.name_ru)
    .execute(db)
    .await?;
    Ok(())
}

/// Updates the names of a category and whether it is retired.
pub async fn update(db: &mut Connection, category: &Category) -> Result<(), DbError> {
    diesel::update(categories::table.find(category.id.0))
        .set((
            categories::name_en.eq(&category.name_en),
            categories::name_ru.eq(&category.name_ru),
            categories::retired_at.eq(category.retired_at),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Sets the order of all categories.
pub async fn set_order(db: &mut Connection, order: &[CategoryId]) -> Result<(), DbError> {
    diesel::sql_query(
        "UPDATE categories c SET position = requested.place
         FROM unnest($1) WITH ORDINALITY AS requested (id, place)
         WHERE c.id = requested.id AND c.position <> requested.place",
    )
    .bind::<Array<SqlUuid>, _>(order.iter().map(|id| id.0).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
