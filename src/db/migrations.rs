//! The schema migrations, embedded in the binary.

use std::{collections::HashSet, time::Duration};

use diesel::{
    QueryableByName,
    migration::{CREATE_MIGRATIONS_TABLE, Migration, MigrationSource},
    pg::Pg,
    sql_query,
    sql_types::{Bool, Text},
};
use diesel_async::{
    AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
    async_connection_wrapper::AsyncConnectionWrapper,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::{task, time};

use super::{
    Database, DbError,
    pool::{DEADLOCK, LOCK_TIMED_OUT},
};

/// All migrations, oldest first.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// If several nodes start at once, one migrates and the others wait for this lock. They ask for it
/// again and again: a statement that waits would deadlock with CREATE INDEX CONCURRENTLY, which
/// waits for all statements that began before.
const TRY_LOCK: &str = "SELECT pg_try_advisory_lock(7811887390402929) AS yes";
const POLL_EVERY: Duration = Duration::from_millis(200);

/// How long a statement of a migration waits for a lock. Later statements on the table queue behind
/// it meanwhile.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '2s'";
/// The same for a migration outside a transaction. Its locks hold nobody up, and it also waits for
/// transactions that began before. Those of the server end within a minute.
const CONCURRENT_LOCK_TIMEOUT: &str = "SET lock_timeout = '2min'";

/// How often a migration that could not get a lock is tried again.
const RETRIES: u32 = 6;
/// The pause before the first retry. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The invalid indexes, and whether somebody indexes their table at the moment. A CREATE INDEX
/// CONCURRENTLY leaves them when it fails.
const INVALID_INDEXES: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS name,
           EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = i.indrelid) AS is_busy
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname = current_schema()";
/// Why a migration is tried again that would take an invalid index for a valid one.
const BEING_BUILT: &str = "is being built by another session";

/// Runs the pending migrations and returns their names. Requires tokio's multi-thread runtime. If the
/// future is dropped, they go on: a statement on a large table may take hours, and a server that stops
/// does not wait for it.
///
/// # Errors
/// As [`run_from`].
pub async fn run(database: &Database) -> Result<Vec<String>, DbError> {
    let database = database.clone();
    // Apart: a migration blocks what runs in its task.
    let running = tokio::spawn(async move { run_from(&database, &MIGRATIONS).await });
    running.await.unwrap_or(Err(DbError::Panicked))
}

/// Runs the migrations of a source that are pending and returns their names. A migration that
/// cannot get a lock is tried again for about a minute. Requires tokio's multi-thread runtime.
///
/// # Errors
/// The database cannot be reached, or a migration fails. Migrations that ran before it stay
/// applied.
pub async fn run_from(
    database: &Database,
    source: &(impl MigrationSource<Pg> + Sync),
) -> Result<Vec<String>, DbError> {
    // A separate connection: the lock is released when it is dropped, even after a failure.
    let mut connection = database.connect_unwatched().await?;
    connection.batch_execute("SET statement_timeout = 0").await?;
    wait_for_turn(&mut connection).await?;
    let names = missing(&mut connection, source).await?;
    if names.is_empty() {
        return Ok(names);
    }
    connection.batch_execute(CREATE_MIGRATIONS_TABLE).await?;
    let mut connection = Migrating::from(connection);
    for name in &names {
        apply(&mut connection, source, name).await?;
    }
    Ok(names)
}

/// Runs those of the given migrations that the database does not have, to load a backup of that
/// schema. Requires tokio's multi-thread runtime.
///
/// # Errors
/// As [`run_from`].
pub async fn run_only(database: &Database, versions: &[String]) -> Result<(), DbError> {
    run_from(database, &Only(versions)).await.map(drop)
}

/// Returns the versions of all migrations, oldest first.
///
/// # Errors
/// The migrations in the binary are malformed.
pub fn versions() -> Result<Vec<String>, DbError> {
    let mut versions = migrations(&MIGRATIONS)?
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect::<Vec<_>>();
    versions.sort_unstable();
    Ok(versions)
}

/// The migrations with some versions.
struct Only<'v>(&'v [String]);

impl MigrationSource<Pg> for Only<'_> {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        let mut chosen = MigrationSource::<Pg>::migrations(&MIGRATIONS)?;
        chosen.retain(|migration| self.0.contains(&migration.name().version().to_string()));
        Ok(chosen)
    }
}

/// The schema of a database, compared with that of this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Whether the database has none of the migrations.
    pub is_empty: bool,
    /// The names of the migrations that the database does not have, oldest first.
    pub pending: Vec<String>,
    /// The versions of the migrations that a newer version has applied, oldest first.
    pub unknown: Vec<String>,
}

/// Compares the schema of a database with that of this version. Changes nothing in the database.
///
/// # Errors
/// The database cannot be reached.
pub async fn compare(database: &Database) -> Result<Comparison, DbError> {
    let mut connection = database.connect_apart().await?;
    let applied = applied(&mut connection).await?;
    let pending = missing(&mut connection, &MIGRATIONS).await?;
    Ok(Comparison { is_empty: applied.is_empty(), pending, unknown: unknown(&applied)? })
}

/// Returns those of the versions of migrations that this version does not know, oldest first.
///
/// # Errors
/// The migrations in the binary are malformed.
pub fn unknown<'v>(applied: impl IntoIterator<Item = &'v String>) -> Result<Vec<String>, DbError> {
    let known = versions()?;
    let unknown = applied.into_iter().filter(|version| !known.contains(version));
    let mut unknown = unknown.cloned().collect::<Vec<_>>();
    unknown.sort_unstable();
    Ok(unknown)
}

/// Returns the names of the pending migrations, oldest first. Changes nothing in the database.
///
/// # Errors
/// The database cannot be reached.
pub async fn pending(database: &Database) -> Result<Vec<String>, DbError> {
    missing(&mut database.connect_apart().await?, &MIGRATIONS).await
}

/// A connection that diesel's migrations, which are not async, can use.
type Migrating = AsyncConnectionWrapper<AsyncPgConnection>;

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

#[derive(QueryableByName)]
struct InvalidIndex {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_busy: bool,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    text: String,
}

async fn wait_for_turn(connection: &mut AsyncPgConnection) -> Result<(), DbError> {
    let mut waits = false;
    while !sql_query(TRY_LOCK).get_result::<Answer>(connection).await?.yes {
        if !waits {
            tracing::info!("waiting for another node that migrates the database");
        }
        waits = true;
        time::sleep(POLL_EVERY).await;
    }
    Ok(())
}

/// Returns the names of the migrations that the database does not have, oldest first.
async fn missing(
    connection: &mut AsyncPgConnection,
    source: &impl MigrationSource<Pg>,
) -> Result<Vec<String>, DbError> {
    let applied = applied(connection).await?;
    let mut missing = migrations(source)?
        .iter()
        .map(|migration| (migration.name().version().to_string(), migration.name().to_string()))
        .filter(|(version, _)| !applied.contains(version))
        .collect::<Vec<_>>();
    missing.sort_unstable();
    Ok(missing.into_iter().map(|(_, name)| name).collect())
}

/// Returns the versions of the migrations that the database has.
async fn applied(connection: &mut AsyncPgConnection) -> Result<HashSet<String>, DbError> {
    let exists = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS yes";
    if !sql_query(exists).get_result::<Answer>(connection).await?.yes {
        return Ok(HashSet::new());
    }
    let versions = "SELECT version AS text FROM __diesel_schema_migrations";
    let rows = sql_query(versions).load::<Row>(connection).await?;
    Ok(rows.into_iter().map(|row| row.text).collect())
}

fn migrations(source: &impl MigrationSource<Pg>) -> Result<Vec<Box<dyn Migration<Pg>>>, DbError> {
    source.migrations().map_err(|error| DbError::Migration(error.to_string()))
}

/// Runs a migration, and repeats it with growing pauses while it cannot get a lock.
async fn apply(
    connection: &mut Migrating,
    source: &impl MigrationSource<Pg>,
    name: &str,
) -> Result<(), DbError> {
    let has_no_lock = |error: &str| {
        let problems = LOCK_TIMED_OUT.iter().chain(&DEADLOCK).chain(&[BEING_BUILT]);
        problems.copied().any(|problem| error.contains(problem))
    };
    let mut pause = FIRST_PAUSE;
    for _ in 0..RETRIES {
        match attempt(connection, source, name).await {
            Err(DbError::Migration(error)) if has_no_lock(&error) => {
                let pause_seconds = pause.as_secs_f64();
                tracing::warn!(
                    migration = name,
                    error,
                    pause_seconds,
                    "a migration could not get a lock and is tried again"
                );
                time::sleep(pause).await;
                pause *= 2;
            }
            done => return done,
        }
    }
    attempt(connection, source, name).await.map_err(|error| match error {
        DbError::Migration(error) if has_no_lock(&error) => DbError::Migration(format!(
            "{name}: {error}. Another session uses the table, such as a running backup: wait for it \
             to end, and migrate again"
        )),
        other => other,
    })
}

async fn attempt(
    connection: &mut Migrating,
    source: &impl MigrationSource<Pg>,
    name: &str,
) -> Result<(), DbError> {
    if in_transaction(source, name)? {
        connection.batch_execute(LOCK_TIMEOUT).await?;
    } else {
        connection.batch_execute(CONCURRENT_LOCK_TIMEOUT).await?;
        drop_invalid_indexes(connection).await?;
    }
    let migration = find(source, name)?;
    task::block_in_place(|| connection.run_migration(&*migration))
        .map(drop)
        .map_err(|error| DbError::Migration(error.to_string()))
}

fn in_transaction(source: &impl MigrationSource<Pg>, name: &str) -> Result<bool, DbError> {
    Ok(find(source, name)?.metadata().run_in_transaction())
}

fn find(source: &impl MigrationSource<Pg>, name: &str) -> Result<Box<dyn Migration<Pg>>, DbError> {
    let found = migrations(source)?.into_iter().find(|one| one.name().to_string() == name);
    found.ok_or_else(|| DbError::Migration(format!("{name} is missing")))
}

async fn drop_invalid_indexes(connection: &mut AsyncPgConnection) -> Result<(), DbError> {
    for InvalidIndex { name, is_busy } in sql_query(INVALID_INDEXES).load(connection).await? {
        if is_busy {
            return Err(DbError::Migration(format!("the index {name} {BEING_BUILT}")));
        }
        tracing::warn!(index = name, "dropping an invalid index");
        connection.batch_execute(&format!("DROP INDEX CONCURRENTLY {name}")).await?;
    }
    Ok(())
}
