//! The row of a statement in SQL that returns ids only.

use diesel::{QueryableByName, sql_types::Uuid as SqlUuid};
use uuid::Uuid;

#[derive(QueryableByName)]
pub(super) struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
}
