//! What the server may do in its database.

use diesel::{
    QueryableByName,
    sql_types::{Bool, Text},
};
use diesel_async::RunQueryDsl;

use super::{Connection, Database, DbError};

#[derive(QueryableByName)]
struct ReadOnlyRow {
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
}

/// Asks whether the database refuses changes: it is a standby, or was made read-only. Uses a connection
/// outside the pool.
///
/// # Errors
/// The database cannot be reached or failed.
pub async fn is_read_only(database: &Database) -> Result<bool, DbError> {
    let mut connection = database.connect_apart().await?;
    let query = "SELECT current_setting('transaction_read_only')::bool AS is_read_only";
    let row = diesel::sql_query(query).get_result::<ReadOnlyRow>(&mut connection);
    Ok(row.await?.is_read_only)
}

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Returns the names of tables and sequences that the role may not use as the server does, at most
/// five.
pub async fn without_rights(db: &mut Connection) -> Result<Vec<String>, DbError> {
    // Those of others, such as of an extension, have another owner. CASE, because a function for
    // sequences fails for tables.
    let rows = diesel::sql_query(
        "SELECT c.relname::text AS name
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = current_schema() AND c.relname <> '__diesel_schema_migrations'
           AND c.relowner = (SELECT relowner FROM pg_class WHERE oid = to_regclass('tickets'))
           AND NOT CASE c.relkind
               WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE')
                   AND has_sequence_privilege(c.oid, 'SELECT')
                   AND has_sequence_privilege(c.oid, 'UPDATE')
               WHEN 'r' THEN has_table_privilege(c.oid, 'SELECT')
                   AND has_table_privilege(c.oid, 'INSERT')
                   AND has_table_privilege(c.oid, 'UPDATE')
                   AND has_table_privilege(c.oid, 'DELETE')
               ELSE true END
         ORDER BY c.relname LIMIT 5",
    );
    Ok(rows.load::<NameRow>(db).await?.into_iter().map(|row| row.name).collect())
}
