//! The schema's migrations, embedded in the binary.

use diesel::pg::Pg;
use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Database, DbError, pool::chain};

/// Every change of the schema, oldest first.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Any number of nodes may start at once: one migrates, the others wait for it.
const LOCK: &str = "SELECT pg_advisory_lock(7811887390402929)";

/// Brings the schema up to date; gives the names of the migrations that ran.
/// Needs tokio's multi-thread runtime.
///
/// # Errors
/// The database can't be reached, or refuses a migration: those before it stay.
pub async fn run(database: &Database) -> Result<Vec<String>, DbError> {
    let failed = |error: &dyn std::error::Error| DbError::Migration(chain(error));
    // A connection of its own: the lock goes when it is dropped, whatever happens.
    let mut connection = database.connector().diesel().await.map_err(|error| failed(&error))?;
    connection.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0").await?;
    connection.batch_execute(LOCK).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let ran = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| DbError::Migration(error.to_string()))?;
    Ok(ran.into_iter().map(|version| version.to_string()).collect())
}

/// How many migrations the database lacks.
///
/// # Errors
/// The database can't be reached.
pub async fn pending(database: &Database) -> Result<usize, DbError> {
    let connection =
        database.connector().diesel().await.map_err(|error| DbError::Unavailable(chain(&error)))?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let pending = MigrationHarness::<Pg>::pending_migrations(&mut harness, MIGRATIONS)
        .map_err(|error| DbError::Migration(error.to_string()))?;
    Ok(pending.len())
}
