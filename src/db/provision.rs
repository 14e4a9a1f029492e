//! Making databases on a server: for the embedded one.

use diesel::{
    dsl::sql,
    sql_types::{Bool, Text},
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

use super::{Database, DbError};

/// Whether the server has a database of a name.
///
/// # Errors
/// The server can't be reached.
pub async fn exists(server: &Database, name: &str) -> Result<bool, DbError> {
    let found = sql::<Bool>("EXISTS (SELECT FROM pg_database WHERE datname = ")
        .bind::<Text, _>(name)
        .sql(")");
    Ok(diesel::select(found).get_result(&mut *server.read().await?).await?)
}

/// Makes an empty database, in place of one of that name. The name goes into SQL
/// as it is: it has to be a constant of ours.
///
/// # Errors
/// The server can't be reached, or somebody is connected to the old one.
pub async fn recreate(server: &Database, name: &'static str) -> Result<(), DbError> {
    let mut connection = server.read().await?;
    connection.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    connection.batch_execute(&format!("CREATE DATABASE {name}")).await?;
    Ok(())
}

/// Renames a database, once what was written to it is on the disk. The names go
/// into SQL as they are: they have to be constants of ours.
///
/// # Errors
/// The server can't be reached, or somebody stays connected to it.
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
