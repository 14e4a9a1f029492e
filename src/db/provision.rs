//! Creating databases on the embedded server.

use diesel::{
    dsl::sql,
    sql_types::{Bool, Text},
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

use super::{Database, DbError};

/// Returns whether the server has a database with a name.
///
/// # Errors
/// The server cannot be reached.
pub async fn exists(server: &Database, name: &str) -> Result<bool, DbError> {
    let found = sql::<Bool>("EXISTS (SELECT FROM pg_database WHERE datname = ")
        .bind::<Text, _>(name)
        .sql(")");
    Ok(diesel::select(found).get_result(&mut *server.read().await?).await?)
}

/// Creates an empty database and replaces an existing one with the same name. The name is not
/// escaped, so it must be a constant.
///
/// # Errors
/// The server cannot be reached, or the existing database cannot be dropped.
pub async fn recreate(server: &Database, name: &'static str) -> Result<(), DbError> {
    let mut connection = server.read().await?;
    connection.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    connection.batch_execute(&format!("CREATE DATABASE {name}")).await?;
    Ok(())
}

/// Writes a database to disk and renames it, after ending all connections to it. The names are not
/// escaped, so they must be constants.
///
/// # Errors
/// The server cannot be reached, or a connection to the database remains.
pub async fn rename(
    server: &Database,
    from: &'static str,
    to: &'static str,
) -> Result<(), DbError> {
    let mut connection = server.read().await?;
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname =";
    connection.batch_execute(&format!("{end} '{from}'")).await?;
    connection.batch_execute("CHECKPOINT").await?;
    connection.batch_execute(&format!("ALTER DATABASE {from} RENAME TO {to}")).await?;
    Ok(())
}
