//! Categories.

use diesel::prelude::*;
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

/// All categories in the installation's order, retired ones too: some dozens at most.
pub async fn all(db: &mut Connection) -> Result<Vec<Category>, DbError> {
    let rows = categories::table
        .order((categories::position, categories::id))
        .select(CategoryRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Category::from).collect())
}

/// The categories of some ids, in the installation's order; unknown ids are left out.
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
