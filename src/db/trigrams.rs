//! The indexes for parts of words. If the extension `pg_trgm` is dropped, they are dropped with it,
//! and do not come back with it.

use diesel::{QueryableByName, sql_query, sql_types::Text};
use diesel_async::RunQueryDsl as _;

use super::{Connection, DbError};

/// The migrations that create them.
const MIGRATIONS: [&str; 2] = [
    include_str!("../../migrations/2026-11-23-000015_search_and_queue/up.sql"),
    include_str!("../../migrations/2026-11-26-000033_index_people_by_keys/up.sql"),
];
/// What such an index is made of.
const CLASS: &str = "gin_trgm_ops";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Returns the statements that create those that are missing in a schema that is up to date.
pub async fn repairs(db: &mut Connection) -> Result<Vec<String>, DbError> {
    let valid =
        "SELECT c.relname::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE i.indisvalid AND n.nspname = current_schema()";
    let valid = sql_query(valid).load::<Row>(db).await?;
    let missing =
        indexes(&MIGRATIONS).filter(|(name, _)| valid.iter().all(|row| row.name != *name));
    // One that is invalid, because its creation was interrupted, has the name already.
    Ok(missing
        .flat_map(|(name, definition)| {
            let create = format!("CREATE INDEX CONCURRENTLY {name} {definition}");
            [format!("DROP INDEX IF EXISTS {name}"), create]
        })
        .collect())
}

/// Returns the names and the definitions of those that migrations create.
fn indexes(migrations: &[impl AsRef<str>]) -> impl Iterator<Item = (String, String)> {
    let created = migrations.iter().flat_map(|sql| sql.as_ref().split("CREATE INDEX ").skip(1));
    let created = created.filter_map(|rest| rest.split(';').next()).filter(|it| it.contains(CLASS));
    created.filter_map(|statement| {
        let words = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = words.trim_start_matches("CONCURRENTLY ").trim_start_matches("IF NOT EXISTS ");
        let (name, definition) = words.split_once(' ')?;
        Some((name.to_owned(), definition.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn no_migration_with_such_an_index_is_left_out() {
        let folders = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
        let files = folders.map(|folder| folder.unwrap().path().join("up.sql"));
        let all = files.filter_map(|file| fs::read_to_string(file).ok()).collect::<Vec<_>>();
        let (mut all, mut known) =
            (indexes(&all).collect::<Vec<_>>(), indexes(&MIGRATIONS).collect::<Vec<_>>());
        all.sort_unstable();
        known.sort_unstable();
        assert_eq!(all, known);
        assert_eq!(known.len(), 3);
        assert_eq!(known[0].1, "ON accounts USING gin (name gin_trgm_ops, email gin_trgm_ops)");
    }
}
