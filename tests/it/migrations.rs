//! Running migrations on a database that is in use.

use std::{fs, time::Duration};

use diesel_migrations::FileBasedMigrations;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use ticketwire::db::{Database, DbError, migrations};
use tokio::{task::JoinHandle, time};
use tokio_postgres::Client;

use crate::harness::{
    postgres::TestDatabase,
    process::{self, Process},
};

const TIMEOUT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);

/// A migration of a test, in a folder of its own.
struct Migration {
    folder: TempDir,
}

impl Migration {
    fn new(up: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let migration = folder.path().join("2099-01-01-000001_of_a_test");
        fs::create_dir(&migration).unwrap();
        fs::write(migration.join("up.sql"), up).unwrap();
        fs::write(migration.join("down.sql"), "").unwrap();
        Self { folder }
    }

    fn outside_a_transaction(self) -> Self {
        let metadata = self.folder.path().join("2099-01-01-000001_of_a_test/metadata.toml");
        fs::write(metadata, "run_in_transaction = false\n").unwrap();
        self
    }

    /// Runs it like a node does.
    fn run(&self, database: &TestDatabase) -> JoinHandle<Result<Vec<String>, DbError>> {
        let source = FileBasedMigrations::from_path(self.folder.path()).unwrap();
        let database = Database::new(&database.url, 2).unwrap();
        tokio::spawn(async move { migrations::run_from(&database, &source).await })
    }
}

/// Waits until a query returns true.
async fn until(client: &Client, query: &str) {
    let met = async {
        while !client.query_one(query, &[]).await.unwrap().get::<_, bool>(0) {
            time::sleep(POLL).await;
        }
    };
    time::timeout(TIMEOUT, met).await.unwrap_or_else(|_| panic!("never true: {query}"));
}

/// Whether a node waits for a lock of a statement.
const WAITS: &str = "SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'ticketwire'
      AND wait_event_type = 'Lock')";

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_wait_for_their_turn_do_not_hold_up_an_index_that_is_created_concurrently() {
    let database = TestDatabase::new().await;
    let other = database.connect().await;
    other.batch_execute("SELECT pg_advisory_lock(7811887390402929)").await.unwrap();
    let migration = Migration::new("CREATE TABLE of_a_test ()");
    let node = migration.run(&database);
    let asked = "SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'ticketwire'
          AND query LIKE '%advisory_lock(7811887390402929)%')";
    until(&other, asked).await;
    let index = "CREATE INDEX CONCURRENTLY accounts_name_of_a_test ON accounts (name)";
    time::timeout(TIMEOUT, other.batch_execute(index)).await.unwrap().unwrap();
    other.batch_execute("SELECT pg_advisory_unlock(7811887390402929)").await.unwrap();
    assert_eq!(node.await.unwrap().unwrap(), ["2099-01-01-000001_of_a_test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_cannot_lock_a_table_lets_others_pass_and_is_tried_again() {
    let database = TestDatabase::new().await;
    let (client, watcher) = (database.connect().await, database.connect().await);
    client.batch_execute("BEGIN; LOCK TABLE categories").await.unwrap();
    // It sets no timeout.
    let migration = Migration::new("ALTER TABLE categories ADD COLUMN note text");
    let node = migration.run(&database);
    until(&watcher, WAITS).await;
    until(&watcher, &WAITS.replace("SELECT EXISTS", "SELECT NOT EXISTS")).await;
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(node.await.unwrap().unwrap(), ["2099-01-01-000001_of_a_test"]);
    client.query("SELECT note FROM categories", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_for_another_reason_is_not_tried_again() {
    let database = TestDatabase::new().await;
    let client = database.connect().await;
    client.batch_execute("CREATE SEQUENCE runs; CREATE TABLE twice (n int)").await.unwrap();
    let migration = Migration::new("SELECT nextval('runs'); CREATE TABLE twice (n int)");
    let error = migration.run(&database).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("\"twice\" already exists"), "{error}");
    let row = client.query_one("SELECT last_value FROM runs", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_index_that_a_failed_migration_left_is_replaced() {
    let database = TestDatabase::new().await;
    let client = database.connect().await;
    let rows = "CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1), (1)";
    client.batch_execute(rows).await.unwrap();
    let index = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS numbers_once ON numbers (n)";
    let migration = Migration::new(index).outside_a_transaction();
    let error = migration.run(&database).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("could not create unique index"), "{error}");
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'numbers_once'::regclass";
    assert!(!client.query_one(valid, &[]).await.unwrap().get::<_, bool>(0));
    client.batch_execute("DELETE FROM numbers; INSERT INTO numbers VALUES (1)").await.unwrap();
    assert_eq!(migration.run(&database).await.unwrap().unwrap(), ["2099-01-01-000001_of_a_test"]);
    assert!(client.query_one(valid, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_while_it_builds_an_index_starts_again() {
    let database = TestDatabase::new().await;
    let (client, other) = (database.connect().await, database.connect().await);
    let unbuilt = "DROP INDEX notifications_late;
        DELETE FROM __diesel_schema_migrations WHERE version LIKE '%000126'";
    client.batch_execute(unbuilt).await.unwrap();
    other.batch_execute("BEGIN; LOCK TABLE notifications IN ROW EXCLUSIVE MODE").await.unwrap();
    let variables = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_LISTEN", "127.0.0.1:0")];
    let mut server = process::command(&variables).arg("serve").spawn().unwrap();
    until(&client, WAITS).await;
    let pid = i32::try_from(server.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    time::timeout(TIMEOUT, server.wait()).await.expect("an end in time").unwrap();
    // Postgres goes on without it.
    other.batch_execute("ROLLBACK").await.unwrap();
    let built = "SELECT EXISTS (SELECT FROM pg_index
        WHERE indexrelid = to_regclass('notifications_late') AND indisvalid)";
    until(&client, built).await;
    assert!(Process::serve(&variables).await.terminate(Signal::TERM).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_must_not_migrate_starts_only_if_nothing_is_pending() {
    let database = TestDatabase::new().await;
    let client = database.connect().await;
    client.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.unwrap();
    let url = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_LISTEN", "127.0.0.1:0")];
    let off = [url[0], url[1], ("TICKETWIRE_DATABASE_MIGRATE", "false")];
    for (arguments, variables) in [
        (&["serve", "--no-migrate"][..], &url[..]),
        (&["serve"], &off),
        (&["service-token", "list"], &off),
        // They only read.
        (&["service-token", "list"], &url),
        (&["mail", "list"], &url),
        (&["outbox", "list"], &url),
    ] {
        let refused = process::run(arguments, variables, "").await;
        assert!(!refused.success, "{arguments:?}");
        for expected in ["2026-11-22-000001_create_accounts", "`ticketwire migrate`"] {
            assert!(refused.stderr.contains(expected), "{arguments:?}: {}", refused.stderr);
        }
    }
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(client.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 0);

    let migrated = process::run(&["migrate"], &off, "").await;
    assert!(migrated.success, "{}", migrated.stderr);
    assert!(
        migrated.stdout.starts_with("Applied 2026-11-22-000001_create_accounts\n"),
        "{}",
        migrated.stdout
    );
    assert!(Process::serve(&off).await.terminate(Signal::TERM).await);
    let listed = process::run(&["service-token", "list"], &off, "").await;
    assert!(listed.success, "{}", listed.stderr);
}
