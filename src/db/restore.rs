//! Loads the rows of a backup into an empty database.

use std::pin::Pin;

use diesel::sql_types::{Text, Timestamptz};
use diesel_async::RunQueryDsl as _;
use futures_util::SinkExt as _;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, CopyInSink};
use tokio_util::bytes::Bytes;

use super::{
    Connection, Database, DbError,
    backup::{self, StoredTable, applied, connect, exists, failed, list, quoted},
};
use crate::domain::{backup::Sequence, clock::Timestamp};

/// The table that exists while a restored database is unfinished. It has the backup's name.
const MARK: &str = "restore_unfinished";

/// What a database contains before a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// No data of ours, and these migrations.
    Nothing {
        /// The versions of the migrations, oldest first.
        migrations: Vec<String>,
    },
    /// Tables of something else.
    ForeignTables,
    /// Accounts, tickets or events.
    Data,
    /// The rows of the backup with this name, whose restore was interrupted.
    Unfinished(String),
}

/// Returns what a database contains, and how many other connections servers and commands have to it.
///
/// # Errors
/// The database cannot be reached.
pub async fn inspect(database: &Database) -> Result<(Content, i64), DbError> {
    let (client, connection) = connect(database).await?;
    let found = async {
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND application_name = 'ticketwire'
                        AND pid <> pg_backend_pid()";
        let others = client.query_one(others, &[]).await.map_err(failed)?.get(0);
        Ok((content_of(&client).await?, others))
    }
    .await;
    connection.abort();
    found
}

async fn content_of(client: &Client) -> Result<Content, DbError> {
    if exists(client, MARK).await? {
        let row = client.query_one(&format!("SELECT backup FROM {MARK}"), &[]).await;
        return Ok(Content::Unfinished(row.map_err(failed)?.get(0)));
    }
    let migrations = applied(client).await?;
    let tables = backup::tables(client).await?;
    if migrations.is_empty() && !tables.is_empty() {
        return Ok(Content::ForeignTables);
    }
    for name in ["accounts", "tickets", "events", "service_tokens"] {
        if !tables.iter().any(|table| table.name == name) {
            continue;
        }
        let row = client.query_one(&format!("SELECT EXISTS (SELECT FROM {name})"), &[]).await;
        if row.map_err(failed)?.get(0) {
            return Ok(Content::Data);
        }
    }
    Ok(Content::Nothing { migrations })
}

/// Returns whether a restore of this database was interrupted.
///
/// # Errors
/// The database cannot be reached.
pub async fn is_unfinished(database: &Database) -> Result<bool, DbError> {
    #[derive(diesel::QueryableByName)]
    struct Answer {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        yes: bool,
    }
    let query = diesel::sql_query("SELECT to_regclass($1) IS NOT NULL AS yes");
    let mut connection = database.read().await?;
    Ok(query.bind::<Text, _>(MARK).get_result::<Answer>(&mut *connection).await?.yes)
}

/// A transaction that replaces all rows. Dropping it changes nothing.
pub struct Loading {
    client: Client,
    connection: JoinHandle<()>,
}

impl Loading {
    /// Begins the transaction and empties all tables. Their triggers do not fire: what they would
    /// write is in the backup.
    ///
    /// # Errors
    /// The tables are not those of the backup, or the database failed.
    pub async fn begin(database: &Database, expected: &[StoredTable]) -> Result<Self, DbError> {
        let (client, connection) = connect(database).await?;
        let loading = Self { client, connection };
        loading.run("SET statement_timeout = 0").await?;
        loading.run("SET idle_in_transaction_session_timeout = 0; BEGIN").await?;
        let by_name = |tables: &[StoredTable]| {
            let mut tables = tables.to_vec();
            tables.sort_by(|a, b| a.name.cmp(&b.name));
            tables
        };
        let found = by_name(&backup::tables(&loading.client).await?);
        if found != by_name(expected) {
            return Err(DbError::Copy("the tables are not those of the backup".into()));
        }
        for table in &found {
            let name = quoted(&table.name);
            loading.run(&format!("ALTER TABLE {name} DISABLE TRIGGER USER")).await?;
        }
        let names = found.into_iter().map(|table| table.name).collect::<Vec<_>>();
        loading.run(&format!("TRUNCATE {}", list(&names))).await?;
        Ok(loading)
    }

    /// Starts to load the rows of a table, in the text format of COPY. Load the tables in the order
    /// of the backup.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rows(&self, table: &StoredTable) -> Result<RowSink, DbError> {
        let (name, columns) = (quoted(&table.name), list(&table.columns));
        let sink = self.client.copy_in(&format!("COPY {name} ({columns}) FROM STDIN")).await;
        Ok(RowSink(Box::pin(sink.map_err(failed)?)))
    }

    /// Sets the sequences, marks the database as unfinished, and commits.
    ///
    /// # Errors
    /// The database failed.
    pub async fn commit(self, sequences: &[Sequence], backup: &str) -> Result<(), DbError> {
        for sequence in sequences {
            let set = "SELECT setval($1::text::regclass, $2, $3)";
            let Sequence { name, value, used } = sequence;
            let done = self.client.query(set, &[&quoted(name), value, used]).await;
            done.map_err(failed)?;
        }
        for table in backup::tables(&self.client).await? {
            let name = quoted(&table.name);
            self.run(&format!("ALTER TABLE {name} ENABLE TRIGGER USER")).await?;
        }
        self.run(&format!("CREATE TABLE {MARK} (backup text NOT NULL)")).await?;
        let insert = format!("INSERT INTO {MARK} VALUES ($1)");
        self.client.query(&insert, &[&backup]).await.map_err(failed)?;
        self.run("COMMIT").await?;
        // The planner knows nothing about the new rows yet.
        let analyzed = self.run("ANALYZE").await;
        self.connection.abort();
        analyzed
    }

    async fn run(&self, sql: &str) -> Result<(), DbError> {
        self.client.batch_execute(sql).await.map_err(failed)
    }
}

/// Receives the rows of a table.
pub struct RowSink(Pin<Box<CopyInSink<Bytes>>>);

impl RowSink {
    /// Sends bytes.
    ///
    /// # Errors
    /// The database failed or refuses a row.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), DbError> {
        self.0.send(bytes).await.map_err(failed)
    }

    /// Ends the table and returns the number of rows.
    ///
    /// # Errors
    /// The database failed or refuses a row.
    pub async fn finish(mut self) -> Result<u64, DbError> {
        self.0.as_mut().finish().await.map_err(failed)
    }
}

/// Finishes all mails that were not sent when the backup was taken: they may have been sent since.
/// Returns how many there were. Requested attempts at events that were set aside are withdrawn.
pub async fn hold_back_mail(db: &mut Connection, now: Timestamp) -> Result<usize, DbError> {
    diesel::sql_query("UPDATE set_aside_events SET retry_requested_at = NULL").execute(db).await?;
    Ok(diesel::sql_query(
        "UPDATE deliveries SET state = 'expired', payload = NULL, finished_at = $1,
             last_error = 'restored from a backup: it may have been sent since'
         WHERE state IN ('queued', 'sending')",
    )
    .bind::<Timestamptz, _>(now)
    .execute(db)
    .await?)
}

/// Removes the mark of an unfinished restore.
pub async fn unmark(db: &mut Connection) -> Result<(), DbError> {
    diesel::sql_query(format!("DROP TABLE IF EXISTS {MARK}")).execute(db).await?;
    Ok(())
}
