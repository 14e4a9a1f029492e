//! The indexes of the large tables. A bulk load is faster without them: they are created once the
//! rows are there.

use futures_util::{StreamExt as _, stream};
use tokio_postgres::Client;

use super::database;

/// The tables that are large.
const TABLES: [&str; 6] =
    ["tickets", "queue_entries", "comments", "events", "feed", "search_documents"];
/// How many indexes are created at the same time.
const BUILDERS: usize = 2;

/// Indexes that can be created again by these statements.
pub struct Dropped(Vec<String>);

/// Drops the indexes of the large tables, except those of primary keys and those that a foreign key
/// of another table needs.
pub async fn drop(client: &Client) -> Dropped {
    let query = "
        SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, c.conname::text,
               coalesce(pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid))
        FROM pg_index i
        LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('u', 'x')
        WHERE i.indrelid = ANY ($1::text[]::regclass[]) AND NOT i.indisprimary
          AND NOT EXISTS (
              SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = i.indexrelid)";
    let mut creations = Vec::new();
    for row in client.query(query, &[&TABLES.as_slice()]).await.expect("the indexes") {
        let [table, index, definition] = [0, 1, 3].map(|column| row.get::<_, String>(column));
        let drop = if let Some(name) = row.get::<_, Option<String>>(2) {
            creations.push(format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"));
            format!("ALTER TABLE {table} DROP CONSTRAINT {name}")
        } else {
            creations.push(definition);
            format!("DROP INDEX {index}")
        };
        client.batch_execute(&drop).await.unwrap_or_else(|error| panic!("{drop}: {error:?}"));
    }
    Dropped(creations)
}

impl Dropped {
    /// Creates the indexes again.
    pub async fn create(self, url: &str) {
        let create = async |statement: String| {
            let client = database::connect_to_load(url).await;
            let created = client.batch_execute(&statement).await;
            created.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        };
        let all = stream::iter(self.0).map(create);
        all.buffer_unordered(BUILDERS).collect::<Vec<_>>().await;
    }
}
