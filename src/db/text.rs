//! Long texts that people wrote, counted as they are loaded.

use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue},
    sql_types::Text,
};

use crate::domain::budget::RequestBudget;

/// A text of a column that can be long. Loading it counts against the budget of the request, and
/// fails if that is exceeded, so that a page of long texts stops where the limit is.
#[derive(Debug, FromSqlRow)]
pub(super) struct LongText(pub String);

impl FromSql<Text, Pg> for LongText {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        if let Some(budget) = RequestBudget::current() {
            budget.add_loaded_bytes(value.as_bytes().len())?;
        }
        <String as FromSql<Text, Pg>>::from_sql(value).map(Self)
    }
}
