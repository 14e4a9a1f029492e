//! Loads the rows of a backup into an empty database.

use std::{pin::Pin, time::Duration};

use diesel::sql_types::{Text, Timestamptz};
use diesel_async::RunQueryDsl as _;
use futures_util::SinkExt as _;
use tokio::{task::JoinHandle, time};
use tokio_postgres::{Client, CopyInSink};
use tokio_util::bytes::Bytes;

use super::{
    Connection, Database, DbError,
    backup::{self, MARK, NODES, StoredTable, applied, connect, exists, failed, list, quoted},
    delivery::HELD_BACK,
    feed::epoch_sql,
};
use crate::domain::{backup::Sequence, clock::Timestamp};

/// How often, and after which pause, connections to the database are counted again: those that were
/// closed take a moment to end.
const COUNTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The first of the statements that keep what happened before the backup from having effects again.
const WITHDRAW_RETRIES: &str = "UPDATE set_aside_events SET retry_requested_at = NULL";
/// Moves the offset of the notifications past all events: nobody is notified of them again.
const SKIP_TO_END: &str = "UPDATE consumer_offsets
    SET pos = (SELECT pos FROM feed_head) + (SELECT count(*) FROM pending_events)
    WHERE name = 'notifications'";

/// Tries to take the lock of a restore. Its number is arbitrary.
const TRY_LOCK: &str = "SELECT pg_try_advisory_lock(7811887390402930)";

/// The lock that at most one restore into a database holds. It ends with its connection.
pub struct RestoreLock {
    client: Client,
    connection: JoinHandle<()>,
}

impl RestoreLock {
    /// Takes the lock, or returns `None` if another restore holds it.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn take(database: &Database) -> Result<Option<Self>, DbError> {
        let (client, connection) = connect(database).await?;
        // It is not one of the connections that a restore waits for.
        let named = client.batch_execute("SET application_name = 'ticketwire restore'").await;
        named.map_err(failed)?;
        let lock = Self { client, connection };
        for _ in 1..COUNTS {
            if lock.try_lock().await? {
                return Ok(Some(lock));
            }
            // The connection of a restore that was killed takes a moment to end.
            time::sleep(PAUSE).await;
        }
        Ok(lock.try_lock().await?.then_some(lock))
    }

    async fn try_lock(&self) -> Result<bool, DbError> {
        Ok(self.client.query_one(TRY_LOCK, &[]).await.map_err(failed)?.get(0))
    }
}

impl Drop for RestoreLock {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

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
    let found = async { Ok((content_of(&client).await?, others(&client).await?)) }.await;
    connection.abort();
    found
}

/// Returns how many other connections servers and commands have to the database, once those that
/// were closed have had the time to end.
async fn others(client: &Client) -> Result<i64, DbError> {
    let query = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'ticketwire'
                   AND pid <> pg_backend_pid()";
    let count = async || Ok(client.query_one(query, &[]).await.map_err(failed)?.get(0));
    for _ in 1..COUNTS {
        if count().await? == 0 {
            return Ok(0);
        }
        time::sleep(PAUSE).await;
    }
    count().await
}

async fn content_of(client: &Client) -> Result<Content, DbError> {
    let migrations = applied(client).await?;
    let tables = backup::tables(client).await?;
    let is_foreign = !tables.is_empty() || !backup::foreign_tables(client).await?.is_empty();
    if migrations.is_empty() && is_foreign {
        return Ok(Content::ForeignTables);
    }
    for name in ["accounts", "tickets", "events", "service_tokens"] {
        if !tables.iter().any(|table| table.name == name) {
            continue;
        }
        let row = client.query_one(&format!("SELECT EXISTS (SELECT FROM {name})"), &[]).await;
        if row.map_err(failed)?.get(0) {
            return Ok(unfinished(client).await?.map_or(Content::Data, Content::Unfinished));
        }
    }
    Ok(Content::Nothing { migrations })
}

/// Returns the name of the backup whose restore was interrupted.
async fn unfinished(client: &Client) -> Result<Option<String>, DbError> {
    if !exists(client, MARK).await? {
        return Ok(None);
    }
    let row = client.query_opt(&format!("SELECT backup FROM {MARK}"), &[]).await;
    Ok(row.map_err(failed)?.map(|row| row.get(0)))
}

/// Marks a database as unfinished, with the name of the backup, so that no server starts on it.
///
/// # Errors
/// The database failed.
pub async fn mark(database: &Database, backup: &str) -> Result<(), DbError> {
    let (client, connection) = connect(database).await?;
    let marked = async {
        let create = format!(
            "BEGIN; CREATE TABLE IF NOT EXISTS {MARK} (backup text NOT NULL); DELETE FROM {MARK}"
        );
        client.batch_execute(&create).await?;
        client.query(&format!("INSERT INTO {MARK} VALUES ($1)"), &[&backup]).await?;
        client.batch_execute("COMMIT").await
    }
    .await;
    connection.abort();
    marked.map_err(failed)
}

/// Removes the mark of an unfinished restore.
///
/// # Errors
/// The database failed.
pub async fn unmark(database: &Database) -> Result<(), DbError> {
    let (client, connection) = connect(database).await?;
    let removed = client.batch_execute(&format!("DROP TABLE IF EXISTS {MARK}")).await;
    connection.abort();
    removed.map_err(failed)
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

/// The start of a history that a restore has rewound.
#[derive(Clone, Copy, Debug)]
pub struct Rewound {
    /// The random tag of its epoch.
    pub tag: i32,
    /// When it starts.
    pub now: Timestamp,
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
        let with_nodes = expected.iter().any(|table| table.name == NODES);
        let is_copied = |table: &&StoredTable| with_nodes || table.name != NODES;
        if !found.iter().filter(is_copied).eq(&by_name(expected)) {
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

    /// Returns how many other connections servers and commands have to the database. They wait for
    /// the tables.
    ///
    /// # Errors
    /// The database failed.
    pub async fn others(&self) -> Result<i64, DbError> {
        others(&self.client).await
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

    /// Sets the sequences and commits. With `rewound`, also forgets the past as of these rows:
    /// returns how many mails are not sent, or `None` if the schema is too old for that, which the
    /// caller does after the migrations then.
    ///
    /// # Errors
    /// The database failed.
    pub async fn commit(
        self,
        sequences: &[Sequence],
        rewound: Option<Rewound>,
    ) -> Result<Option<u64>, DbError> {
        // Older versions have copied the sequences of other software too.
        let own = backup::own_sequences(&self.client).await?;
        for sequence in sequences.iter().filter(|sequence| own.contains(&sequence.name)) {
            let set = "SELECT setval($1::text::regclass, $2, $3)";
            let Sequence { name, value, used } = sequence;
            let done = self.client.query(set, &[&quoted(name), value, used]).await;
            done.map_err(failed)?;
        }
        let tables = backup::tables(&self.client).await?;
        let names = tables.into_iter().map(|table| table.name).collect::<Vec<_>>();
        for name in &names {
            self.run(&format!("ALTER TABLE {} ENABLE TRIGGER USER", quoted(name))).await?;
        }
        // In this transaction: a server that is connected again sees no mail that it could send.
        let held_back = match rewound {
            Some(rewound) => self.forget_if_possible(&rewound).await?,
            None => None,
        };
        self.run("COMMIT").await?;
        // The planner knows nothing about the new rows yet.
        let analyzed = self.run(&format!("ANALYZE {}", list(&names))).await;
        self.connection.abort();
        analyzed.map(|()| held_back)
    }

    async fn forget_if_possible(&self, rewound: &Rewound) -> Result<Option<u64>, DbError> {
        self.run("SAVEPOINT before_forgetting").await?;
        match self.forget(rewound).await {
            Ok(held_back) => Ok(Some(held_back)),
            Err(error) => {
                self.run("ROLLBACK TO SAVEPOINT before_forgetting").await?;
                tracing::debug!(%error, "the schema of the backup is too old to forget the past");
                Ok(None)
            }
        }
    }

    async fn forget(&self, rewound: &Rewound) -> Result<u64, DbError> {
        let now = format!("'{}'::timestamptz", rewound.now.to_rfc3339());
        self.run(&epoch_sql(&rewound.tag.to_string(), "0", &now)).await?;
        self.run(SKIP_TO_END).await?;
        self.run(WITHDRAW_RETRIES).await?;
        Client::execute(&self.client, &hold_back_sql(&now), &[]).await.map_err(failed)
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

/// Returns the statement that finishes all mails that were not sent when the backup was taken, with
/// an expression for the time.
fn hold_back_sql(now: &str) -> String {
    format!(
        "UPDATE deliveries SET state = 'expired', payload = NULL, finished_at = {now},
             last_error = '{HELD_BACK}'
         WHERE state IN ('queued', 'sending')"
    )
}

/// Finishes all mails that were not sent when the backup was taken: they may have been sent since.
/// Returns how many there were. Requested attempts at events that were set aside are withdrawn.
pub async fn hold_back_mail(db: &mut Connection, now: Timestamp) -> Result<u64, DbError> {
    diesel::sql_query(WITHDRAW_RETRIES).execute(db).await?;
    let held = diesel::sql_query(hold_back_sql("$1")).bind::<Timestamptz, _>(now).execute(db);
    Ok(held.await? as u64)
}
