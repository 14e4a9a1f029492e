//! Reads the whole database for a backup, in one snapshot.

use futures_util::{Stream, TryStreamExt as _};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Row};
use tokio_util::bytes::Bytes;
use uuid::Uuid;

use super::{Database, DbError, migrations};
use crate::domain::{
    backup::{Sequence, in_order_of_reference},
    causes::with_causes,
    ids::AttachmentId,
};

/// The table of the migrations, which restoring fills by running them.
pub(super) const MIGRATIONS: &str = "__diesel_schema_migrations";

/// The table that exists while a restored database is unfinished. It has the backup's name.
pub(super) const MARK: &str = "restore_unfinished";

/// The table of the nodes that run, of which nothing is in a backup.
pub(super) const NODES: &str = "nodes";

/// The tables that the migrations of this version and of all before it create. Anything else in the
/// schema is somebody else's, and not part of a backup.
const TABLES: [&str; 45] = [
    "account_changes",
    "accounts",
    "attachments",
    "attempts",
    "authenticator_enrolments",
    "canned_answers",
    "categories",
    "comment_edits",
    "comments",
    "consumer_offsets",
    "deliveries",
    "delivery_events",
    "erasures",
    "events",
    "feed",
    "feed_epochs",
    "feed_head",
    "former_staff",
    "handoffs",
    "idempotency_keys",
    "installation",
    "mail_preferences",
    "mail_unsubscriptions",
    "mailed_codes",
    "merge_invitations",
    "nodes",
    "notifications",
    "password_resets",
    "pending_events",
    "queue_entries",
    "recovery_codes",
    "redacted_attachments",
    "redactions",
    "saved_views",
    "sealing_keys",
    "search_documents",
    "second_factors",
    "service_tokens",
    "sessions",
    "set_aside_events",
    "sign_in_challenges",
    "ticket_invitations",
    "ticket_merges",
    "ticket_reads",
    "tickets",
];

/// The sequence that belongs to no table.
const TICKET_NUMBERS: &str = "ticket_numbers";

/// Begins the transaction, with the settings that the text format of COPY depends on. Copying a
/// large table may take hours.
const BEGIN: &str = "
    SET statement_timeout = 0;
    SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET datestyle = 'ISO';
    SET intervalstyle = 'postgres';
    SET extra_float_digits = 3;
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The condition for relations `c` of the schema: not those of an extension.
const IN_SCHEMA: &str = "
    c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e')";

/// The table that a sequence `c` belongs to.
const OWNER: &str = "
    (SELECT t.relname FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))";

/// A table, with the columns that are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTable {
    /// Its name.
    pub name: String,
    /// The columns, in their order. Those that Postgres generates are left out.
    pub columns: Vec<String>,
}

/// The state of the database at one moment. It is held by a transaction on a connection of its own.
pub struct Snapshot {
    client: Client,
    connection: JoinHandle<()>,
}

impl Snapshot {
    /// Begins the transaction and locks all tables against changes of the schema.
    ///
    /// # Errors
    /// The database cannot be reached, or migrates at the moment.
    pub async fn begin(database: &Database) -> Result<Self, DbError> {
        let (client, connection) = connect(database).await?;
        let snapshot = Self { client, connection };
        loop {
            let tables = snapshot.lockable().await?;
            snapshot.execute(BEGIN).await?;
            // Before the first query, which takes the snapshot: no migration comes between the two.
            if !tables.is_empty() {
                let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", list(&tables));
                snapshot.execute(&lock).await?;
            }
            if snapshot.lockable().await? == tables {
                return Ok(snapshot);
            }
            snapshot.execute("ROLLBACK").await?;
        }
    }

    async fn lockable(&self) -> Result<Vec<String>, DbError> {
        let mut tables = own_tables(&self.client).await?;
        if exists(&self.client, MIGRATIONS).await? {
            tables.push(MIGRATIONS.to_owned());
        }
        Ok(tables)
    }

    /// Returns the versions of the migrations that the database has, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn migrations(&self) -> Result<Vec<String>, DbError> {
        applied(&self.client).await
    }

    /// Returns the tables, each after those that it refers to. Without the nodes, which are those of
    /// this moment.
    ///
    /// # Errors
    /// Two tables refer to each other, or the database failed.
    pub async fn tables(&self) -> Result<Vec<StoredTable>, DbError> {
        let mut tables = tables(&self.client).await?;
        tables.retain(|table| table.name != NODES);
        Ok(tables)
    }

    /// Returns the states of the sequences. They may be ahead of the snapshot, never behind it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sequences(&self) -> Result<Vec<Sequence>, DbError> {
        let mut sequences = Vec::new();
        for name in own_sequences(&self.client).await? {
            let query = format!("SELECT last_value, is_called FROM {}", quoted(&name));
            let row = self.client.query_one(&query, &[]).await.map_err(failed)?;
            sequences.push(Sequence { name, value: row.get(0), used: row.get(1) });
        }
        Ok(sequences)
    }

    /// Returns the names of the tables, views and sequences that no migration has created.
    ///
    /// # Errors
    /// The database failed.
    pub async fn foreign(&self) -> Result<Vec<String>, DbError> {
        foreign(&self.client).await
    }

    /// Returns the ids of the sealing keys that the database was used with, in hexadecimal digits.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sealing_keys(&self) -> Result<Vec<String>, DbError> {
        if !exists(&self.client, "sealing_keys").await? {
            return Ok(vec![]);
        }
        let query = "SELECT encode(id, 'hex') FROM sealing_keys ORDER BY first_used_at, id";
        strings(self.client.query(query, &[]).await)
    }

    /// Returns the rows of a table in the text format of COPY, a line each.
    ///
    /// # Errors
    /// The database failed, here or in the stream.
    pub async fn rows(
        &self,
        table: &StoredTable,
    ) -> Result<impl Stream<Item = Result<Bytes, DbError>> + use<>, DbError> {
        self.copy(format!("{} ({})", quoted(&table.name), list(&table.columns))).await
    }

    /// Returns a line for each attachment with content: its id, size and SHA-256, separated by tabs.
    ///
    /// # Errors
    /// The database failed, here or in the stream.
    pub async fn attachments(
        &self,
    ) -> Result<impl Stream<Item = Result<Bytes, DbError>> + use<>, DbError> {
        self.copy(
            "(SELECT id, size, encode(sha256, 'hex') FROM attachments
              WHERE size IS NOT NULL AND sha256 IS NOT NULL ORDER BY id)"
                .to_owned(),
        )
        .await
    }

    /// Ends the transaction.
    pub fn end(self) {
        self.connection.abort();
    }

    async fn copy(
        &self,
        source: String,
    ) -> Result<impl Stream<Item = Result<Bytes, DbError>> + use<>, DbError> {
        let copied = self.client.copy_out(&format!("COPY {source} TO STDOUT")).await;
        Ok(copied.map_err(failed)?.map_err(failed))
    }

    async fn execute(&self, sql: &str) -> Result<(), DbError> {
        self.client.batch_execute(sql).await.map_err(failed)
    }
}

/// Returns those of the attachments that the database names now and that are not being deleted.
///
/// # Errors
/// The database failed.
pub async fn still_named(
    database: &Database,
    ids: &[AttachmentId],
) -> Result<Vec<AttachmentId>, DbError> {
    let (client, connection) = connect(database).await?;
    let ids = ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>();
    // Older schemas do not have the column of the condition.
    let query = "SELECT id::text FROM attachments a
                 WHERE id = ANY ($1::text[]::uuid[]) AND to_jsonb(a) ->> 'condemned_at' IS NULL
                 ORDER BY id";
    let named = strings(client.query(query, &[&ids]).await);
    connection.abort();
    let parsed = named?.iter().map(|id| id.parse().map(AttachmentId)).collect::<Result<_, _>>();
    parsed.map_err(|error: uuid::Error| DbError::Value(error.to_string()))
}

/// Returns the id of the installation's storage of attachments, or `None` if no node has used one or
/// the schema is too old to know.
///
/// # Errors
/// The database failed.
pub async fn storage_id(database: &Database) -> Result<Option<Uuid>, DbError> {
    let (client, connection) = connect(database).await?;
    let found = async {
        if !exists(&client, "installation").await? {
            return Ok(vec![]);
        }
        // Older schemas do not have the column.
        let query = "SELECT to_jsonb(i) ->> 'storage_id' FROM installation i
                     WHERE to_jsonb(i) ->> 'storage_id' IS NOT NULL";
        strings(client.query(query, &[]).await)
    }
    .await;
    connection.abort();
    let id = found?.first().map(|id| id.parse()).transpose();
    id.map_err(|error: uuid::Error| DbError::Value(error.to_string()))
}

/// Opens a connection outside the pool. It closes when its task is aborted or the client dropped.
pub(super) async fn connect(database: &Database) -> Result<(Client, JoinHandle<()>), DbError> {
    let (client, connection) = database.connector().raw().await.map_err(DbError::Unavailable)?;
    // A failure of the connection reaches the client's callers too.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok((client, driver))
}

/// Whether a table exists.
pub(super) async fn exists(client: &Client, table: &str) -> Result<bool, DbError> {
    let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await;
    Ok(row.map_err(failed)?.get(0))
}

/// Returns the versions of the migrations that the database has, oldest first.
pub(super) async fn applied(client: &Client) -> Result<Vec<String>, DbError> {
    if !exists(client, MIGRATIONS).await? {
        return Ok(vec![]);
    }
    let query = format!("SELECT version::text FROM {MIGRATIONS} ORDER BY version");
    strings(client.query(&query, &[]).await)
}

/// Whether a table is one that a migration creates and a backup has.
pub fn is_own(table: &str) -> bool {
    TABLES.contains(&table)
}

/// Whether a newer version has migrated the database: any table may be its own.
async fn is_newer(client: &Client) -> Result<bool, DbError> {
    Ok(!migrations::unknown(&applied(client).await?)?.is_empty())
}

/// Returns the names of our tables.
async fn own_tables(client: &Client) -> Result<Vec<String>, DbError> {
    let mut names = relations(client, &["r"]).await?;
    let is_newer = is_newer(client).await?;
    names.retain(|name| is_own(name) || is_newer && name != MIGRATIONS && name != MARK);
    Ok(names)
}

/// Returns the names of the relations of these kinds in the schema, as `pg_class.relkind` has them.
async fn relations(client: &Client, kinds: &[&str]) -> Result<Vec<String>, DbError> {
    let query = format!(
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relkind::text = ANY ($1) AND {IN_SCHEMA} ORDER BY c.relname"
    );
    strings(client.query(&query, &[&kinds]).await)
}

/// Returns the names of the sequences that the migrations create.
pub(super) async fn own_sequences(client: &Client) -> Result<Vec<String>, DbError> {
    let query = format!(
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relkind = 'S' AND {IN_SCHEMA}
           AND (c.relname = $1 OR $2 OR {OWNER} = ANY ($3)) ORDER BY c.relname"
    );
    let (is_newer, tables) = (is_newer(client).await?, own_tables(client).await?);
    strings(client.query(&query, &[&TICKET_NUMBERS, &is_newer, &tables]).await)
}

/// Returns the names of the tables that no migration creates.
pub(super) async fn foreign_tables(client: &Client) -> Result<Vec<String>, DbError> {
    let mut names = relations(client, &["r", "p", "f"]).await?;
    names.retain(|name| !is_own(name) && name != MIGRATIONS && name != MARK);
    Ok(names)
}

/// Returns the names of the tables, views and sequences that no migration creates. Without the
/// sequences of such tables.
async fn foreign(client: &Client) -> Result<Vec<String>, DbError> {
    if is_newer(client).await? {
        return Ok(vec![]);
    }
    let mut names = foreign_tables(client).await?;
    names.extend(relations(client, &["v", "m"]).await?);
    let query = format!(
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relkind = 'S' AND {IN_SCHEMA} AND c.relname <> $1 AND {OWNER} IS NULL
         ORDER BY c.relname"
    );
    names.extend(strings(client.query(&query, &[&TICKET_NUMBERS]).await)?);
    Ok(names)
}

/// Returns our tables, each after those that it refers to.
pub(super) async fn tables(client: &Client) -> Result<Vec<StoredTable>, DbError> {
    let query = format!(
        "SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum)
         FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid
              AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         WHERE c.relkind = 'r' AND c.relname = ANY ($1) AND {IN_SCHEMA}
         GROUP BY c.relname ORDER BY c.relname"
    );
    let rows = client.query(&query, &[&own_tables(client).await?]).await.map_err(failed)?;
    let mut found =
        rows.iter().map(|row| (row.get::<_, String>(0), row.get(1))).collect::<Vec<_>>();
    let names = found.iter().map(|(name, _)| name.clone()).collect();
    let ordered = in_order_of_reference(names, &references(client).await?).map_err(|circle| {
        DbError::Copy(format!("these tables refer to each other: {}", circle.join(", ")))
    })?;
    let place = |name: &String| ordered.iter().position(|other| other == name);
    found.sort_by_key(|(name, _)| place(name));
    Ok(found.into_iter().map(|(name, columns)| StoredTable { name, columns }).collect())
}

/// Returns the references between tables.
async fn references(client: &Client) -> Result<Vec<(String, String)>, DbError> {
    let query = "SELECT f.relname::text, t.relname::text
                 FROM pg_constraint r
                 JOIN pg_class f ON f.oid = r.conrelid JOIN pg_class t ON t.oid = r.confrelid
                 WHERE r.contype = 'f'";
    let rows = client.query(query, &[]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn strings(rows: Result<Vec<Row>, tokio_postgres::Error>) -> Result<Vec<String>, DbError> {
    Ok(rows.map_err(failed)?.iter().map(|row| row.get(0)).collect())
}

/// Returns the names of columns as COPY expects them.
pub(super) fn list(columns: &[String]) -> String {
    columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// Returns a name as an identifier of SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn failed(error: tokio_postgres::Error) -> DbError {
    DbError::Copy(with_causes(&error))
}
