//! Creating databases on the embedded server.

use diesel::{
    dsl::sql,
    sql_types::{Bool, Text},
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

use super::{Database, DbError};

/// Whether the server can compress with Zstandard: Postgres 15 or later, if it was built with it.
const HAS_ZSTD: &str = "EXISTS (SELECT FROM pg_settings
    WHERE name = 'wal_compression' AND 'zstd' = ANY (enumvals))";

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

/// Has the sessions of a database compress the whole pages that they write to the log of Postgres as
/// well as the server can. The name is not escaped, so it must be a constant.
///
/// # Errors
/// The server cannot be reached.
pub async fn compress_pages(server: &Database, name: &'static str) -> Result<(), DbError> {
    let mut connection = server.read().await?;
    if diesel::select(sql::<Bool>(HAS_ZSTD)).get_result(&mut *connection).await? {
        let set = format!("ALTER DATABASE {name} SET wal_compression = 'zstd'");
        connection.batch_execute(&set).await?;
    }
    Ok(())
}
