//! The backlog of the server, for monitoring.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Double, Integer, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;

use super::{Connection, Database, DbError, delivery::NEXT, pool::APPLICATION};
use crate::domain::clock::Timestamp;

/// The work that is waiting. Ages are in seconds, and 0 if nothing is waiting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backlog {
    /// The last position of the feed.
    pub head: i64,
    /// The age of the oldest event that is not in the feed yet.
    pub oldest_pending: f64,
    /// How many positions each consumer of the feed is behind, by its name.
    pub lags: Vec<(String, i64)>,
    /// The age of the oldest event that each consumer has not processed, by its name.
    pub oldest_unprocessed: Vec<(String, f64)>,
    /// How many events each consumer of the feed has set aside, by its name.
    pub set_aside: Vec<(String, i64)>,
    /// How many mails are unfinished, by state.
    pub mails: Vec<(String, i64)>,
    /// The age of the oldest unfinished mail.
    pub oldest_mail: f64,
    /// How long the mail that is overdue the longest has been due. 0 while mail is off.
    pub oldest_due_mail: f64,
    /// The time of the state that the last whole backup has, in Unix time. `None` before the first.
    pub last_backup: Option<f64>,
}

#[derive(QueryableByName)]
struct FigureRow {
    #[diesel(sql_type = Text)]
    figure: String,
    #[diesel(sql_type = Text)]
    label: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Double)]
    seconds: f64,
}

impl From<Vec<FigureRow>> for Backlog {
    fn from(figures: Vec<FigureRow>) -> Self {
        let mut backlog = Self::default();
        for FigureRow { figure, label, count, seconds } in figures {
            match figure.as_str() {
                "head" => backlog.head = count,
                "lag" => {
                    backlog.oldest_unprocessed.push((label.clone(), seconds.max(0.0)));
                    backlog.lags.push((label, count.max(0)));
                }
                "set_aside" => backlog.set_aside.push((label, count)),
                "backup" => backlog.last_backup = Some(seconds),
                "due_mail" => backlog.oldest_due_mail = seconds.max(0.0),
                "pending" => backlog.oldest_pending = seconds.max(0.0),
                _ => {
                    backlog.mails.push((label, count));
                    backlog.oldest_mail = backlog.oldest_mail.max(seconds);
                }
            }
        }
        backlog
    }
}

/// Measures the backlog in one statement. Uses a connection outside the pool, so that it works
/// even if the pool is exhausted.
///
/// # Errors
/// The database cannot be reached, or the statement failed.
pub async fn backlog(database: &Database, now: Timestamp) -> Result<Backlog, DbError> {
    let mut connection = database.connect_apart().await?;
    let figures = diesel::sql_query(format!(
        "WITH head AS (SELECT pos FROM feed_head)
         SELECT 'head' AS figure, '' AS label, pos AS count, 0::float8 AS seconds FROM head
         UNION ALL
         SELECT 'lag', o.name, (SELECT pos FROM head) - o.pos,
                coalesce(extract(epoch FROM $1 - e.occurred_at), 0)::float8
         FROM consumer_offsets o
         LEFT JOIN feed f ON f.pos = o.pos + 1
         LEFT JOIN events e ON e.id = f.event_id
         UNION ALL
         SELECT 'set_aside', o.name, count(s.id), 0
         FROM consumer_offsets o LEFT JOIN set_aside_events s ON s.consumer = o.name
         GROUP BY o.name
         UNION ALL
         SELECT 'pending', '', 0, extract(epoch FROM $1 - occurred_at)::float8
         FROM events WHERE id = (SELECT min(event_id) FROM pending_events)
         UNION ALL
         SELECT 'due_mail', '', 0, extract(epoch FROM $1 - due.due_at)::float8
         FROM (SELECT d.due_at FROM deliveries d
               WHERE {NEXT} AND d.due_at <= $1 AND (SELECT mail_enabled FROM installation)
               ORDER BY d.due_at LIMIT 1) due
         UNION ALL
         SELECT 'mails', s.state, count(d.id),
                coalesce(extract(epoch FROM $1 - min(d.created_at)), 0)::float8
         FROM (VALUES ('queued'), ('sending')) s (state)
         LEFT JOIN deliveries d
             ON d.state::text = s.state AND d.state IN ('queued', 'sending')
         GROUP BY s.state
         UNION ALL
         SELECT 'backup', '', 0, extract(epoch FROM last_backup_at)::float8
         FROM installation WHERE last_backup_at IS NOT NULL",
    ))
    .bind::<Timestamptz, _>(now)
    .load::<FigureRow>(&mut connection)
    .await?;
    Ok(figures.into())
}

/// The state of the database server, for `doctor`.
#[derive(Clone, Debug, QueryableByName)]
pub struct DatabaseState {
    /// The version of Postgres, such as `15.8`.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// The version as a number, such as 150008.
    #[diesel(sql_type = BigInt)]
    pub version_number: i64,
    /// The limit of connections that is the next to be reached: `Postgres`, `the role` or `the database`.
    #[diesel(sql_type = Text)]
    pub limited_by: String,
    /// The largest number of connections by this limit; of Postgres, that of roles other than
    /// superusers.
    #[diesel(sql_type = BigInt)]
    pub max_connections: i64,
    /// How many connections count towards this limit.
    #[diesel(sql_type = BigInt)]
    pub connections: i64,
    /// The encoding of the database's texts, such as `UTF8`.
    #[diesel(sql_type = Text)]
    pub encoding: String,
    /// Whether the database knows which letters of Cyrillic are the same but for their case.
    #[diesel(sql_type = Bool)]
    pub folds_case: bool,
    /// Whether the extension `pg_trgm` exists.
    #[diesel(sql_type = Bool)]
    pub has_trigrams: bool,
}

/// Returns the state of the database server.
pub async fn database_state(db: &mut Connection) -> Result<DatabaseState, DbError> {
    Ok(diesel::sql_query(
        "WITH sessions AS (
             -- The kind of another role's session is hidden, its database is not.
             SELECT count(*) AS all_open, count(*) FILTER (WHERE usename = session_user) AS of_role,
                    count(*) FILTER (WHERE datname = current_database()) AS of_database
             FROM pg_stat_activity
             WHERE backend_type = 'client backend' OR backend_type IS NULL AND datid IS NOT NULL
         ), limits (limited_by, most, open) AS (
             SELECT 'Postgres', current_setting('max_connections')::bigint
                    - current_setting('superuser_reserved_connections')::bigint
                    - coalesce(current_setting('reserved_connections', true)::bigint, 0), all_open
             FROM sessions
             UNION ALL
             SELECT 'the role', rolconnlimit, of_role FROM sessions, pg_roles
             WHERE rolname = session_user AND rolconnlimit >= 0 AND NOT rolsuper
             UNION ALL
             SELECT 'the database', datconnlimit, of_database FROM sessions, pg_database, pg_roles
             WHERE datname = current_database() AND datconnlimit >= 0
               AND rolname = session_user AND NOT rolsuper
         )
         SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
                current_setting('server_version_num')::bigint AS version_number,
                limited_by, most AS max_connections, open AS connections,
                current_setting('server_encoding') AS encoding,
                -- Not constant: other encodings have no such characters, and would fail.
                CASE WHEN current_setting('server_encoding') = 'UTF8'
                    THEN lower(chr(1055 + 0 * length(current_setting('server_encoding'))))
                        = chr(1087 + 0 * length(current_setting('server_encoding')))
                    ELSE false END AS folds_case,
                EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') AS has_trigrams
         FROM limits ORDER BY most - open LIMIT 1",
    )
    .get_result(db)
    .await?)
}

/// The kind of a process that frees the room of old rows, as [`Blocker::program`] has it.
pub const AUTOVACUUM: &str = "autovacuum worker";

/// A session of Postgres that holds a lock which sessions of Ticketwire wait for.
#[derive(Clone, Debug, QueryableByName)]
pub struct Blocker {
    /// Its process, or 0 for a prepared transaction, which has none.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// What its program calls itself, such as `psql`, or what kind of process it is, such as
    /// [`AUTOVACUUM`], or nothing if the role may not see it.
    #[diesel(sql_type = Text)]
    pub program: String,
    /// Its state, such as `idle in transaction`, or nothing if the role may not see it.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Whether it is one of Ticketwire too.
    #[diesel(sql_type = Bool)]
    pub is_own: bool,
    /// How many sessions of Ticketwire wait for it.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// For how many seconds the first of them has waited.
    #[diesel(sql_type = Double)]
    pub waited: f64,
}

/// Returns the sessions that sessions of Ticketwire wait for, those first that hold up others the
/// longest. One that waits for another itself is left out: what it waits for is at fault.
pub async fn blockers(db: &mut Connection) -> Result<Vec<Blocker>, DbError> {
    let query = "WITH RECURSIVE waits AS MATERIALIZED (
             SELECT pid, since, unnest(pg_blocking_pids(pid)) AS blocker
             FROM (SELECT pid, min(waitstart) AS since FROM pg_locks WHERE NOT granted GROUP BY pid) w
         ), chains AS (
             SELECT pid, since, blocker FROM waits JOIN pg_stat_activity USING (pid)
             WHERE datname = current_database() AND application_name = $1
             UNION
             SELECT c.pid, c.since, w.blocker FROM chains c JOIN waits w ON w.pid = c.blocker
         )
         SELECT c.blocker AS pid, coalesce(nullif(a.application_name, ''), a.backend_type, '') AS program,
                coalesce(a.state, '') AS state,
                coalesce(a.application_name = $1, false) AS is_own,
                count(DISTINCT c.pid) AS waiting,
                coalesce(max(extract(epoch FROM now() - c.since)), 0)::float8 AS waited
         FROM chains c LEFT JOIN pg_stat_activity a ON a.pid = c.blocker
         WHERE c.blocker NOT IN (SELECT pid FROM waits)
         GROUP BY 1, 2, 3, 4 ORDER BY waited DESC, pid";
    Ok(diesel::sql_query(query).bind::<Text, _>(APPLICATION).load(db).await?)
}
