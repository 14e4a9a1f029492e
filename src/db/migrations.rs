//! The schema migrations, embedded in the binary.

use std::time::Duration;

use diesel::{dsl::sql, pg::Pg, sql_types::Bool};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::time;

use super::{Database, DbError, pool::chain};

/// All migrations, oldest first.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// If several nodes start at once, one migrates and the others try again to get this lock. They
/// don't wait in a statement: `CREATE INDEX CONCURRENTLY` would wait for it in turn.
const LOCK: &str = "pg_try_advisory_lock(7811887390402929)";
/// The pause between two attempts to get the lock.
const LOCK_RETRY_AFTER: Duration = Duration::from_millis(200);

/// Runs the pending migrations and returns their names. Requires tokio's multi-thread runtime.
///
/// # Errors
/// The database cannot be reached, or a migration fails. Migrations that ran before it stay
/// applied.
pub async fn run(database: &Database) -> Result<Vec<String>, DbError> {
    let failed = |error: &dyn std::error::Error| DbError::Migration(chain(error));
    // A separate connection: the lock is released when it is dropped, even after a failure.
    let mut connection = database.connector().diesel().await.map_err(|error| failed(&error))?;
    connection.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0").await?;
    while !diesel::select(sql::<Bool>(LOCK)).get_result::<bool>(&mut connection).await? {
        time::sleep(LOCK_RETRY_AFTER).await;
    }
    let mut harness = AsyncMigrationHarness::new(connection);
    let ran = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| DbError::Migration(error.to_string()))?;
    Ok(ran.into_iter().map(|version| version.to_string()).collect())
}

/// Returns how many migrations are pending.
///
/// # Errors
/// The database cannot be reached.
pub async fn pending(database: &Database) -> Result<usize, DbError> {
    let connection =
        database.connector().diesel().await.map_err(|error| DbError::Unavailable(chain(&error)))?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let pending = MigrationHarness::<Pg>::pending_migrations(&mut harness, MIGRATIONS)
        .map_err(|error| DbError::Migration(error.to_string()))?;
    Ok(pending.len())
}
