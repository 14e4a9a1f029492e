//! The feed: the order in which all readers see the events. Writers and the sequencer extend it
//! (`placing.rs`); the tailer, replays and the consumers read it.

use std::sync::LazyLock;

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

use super::{
    Connection, DbError,
    event_row::{EVENT_COLUMNS, EventRow},
    listen::CHANNEL,
    prepared::Prepare as _,
    schema::{feed, feed_epochs, feed_head, pending_events},
};
use crate::domain::{
    clock::Timestamp,
    cursor::Cursor,
    event::FeedEvent,
    ids::{AccountId, EventId, TicketId},
};

/// An epoch of the feed: a part of its history that begins when the database is created, restored
/// or failed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The random tag that the epoch's cursors carry.
    pub tag: i32,
    /// The last position before the epoch.
    pub start_pos: i64,
}

/// Which events a replay reads.
#[derive(Clone, Copy, Debug)]
pub enum ReplayScope {
    /// The events of one ticket.
    Ticket {
        /// The ticket.
        id: TicketId,
        /// Whether to include events that only staff may see.
        internal: bool,
    },
    /// The events of the tickets that a customer opened or participated in at the time, and those
    /// that removed the customer from a ticket. Without events that only staff may see.
    Customer(AccountId),
    /// The events of all tickets, including those that only staff may see.
    AllTickets,
}

/// Returns whether any event waits for its position in the feed.
pub async fn has_pending(db: &mut Connection) -> Result<bool, DbError> {
    Ok(diesel::select(diesel::dsl::exists(pending_events::table.select(pending_events::event_id)))
        .get_result(db)
        .await?)
}

/// Returns whether the feed belongs to another history than its last epoch, or has none. Locks
/// nothing.
pub async fn is_rewound(db: &mut Connection) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        rewound: bool,
    }
    let query = format!("SELECT NOT EXISTS ({}) AS rewound", *CURRENT_EPOCH);
    let rows = diesel::sql_query(query).prepared().load::<Row>(db).await?;
    Ok(rows.iter().any(|row| row.rewound))
}

/// Returns the last position of the feed.
pub async fn head(db: &mut Connection) -> Result<i64, DbError> {
    Ok(feed_head::table.select(feed_head::pos).first(db).await?)
}

/// Notifies all nodes of the last position of the feed, in the name of `node`. Call it outside of
/// transactions, like other notifications.
pub async fn announce_head(db: &mut Connection, node: i64) -> Result<(), DbError> {
    diesel::sql_query(ANNOUNCE_HEAD.as_str())
        .bind::<BigInt, _>(node)
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

static ANNOUNCE_HEAD: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT pg_notify('{CHANNEL}', concat_ws(' ', pos, $1)) FROM feed_head")
});

/// Returns the epochs, oldest first. Empty until a sequencer has run.
pub async fn epochs(db: &mut Connection) -> Result<Vec<Epoch>, DbError> {
    let rows = feed_epochs::table
        .order(feed_epochs::epoch)
        .select((feed_epochs::tag, feed_epochs::start_pos))
        .load::<(i32, i64)>(db)
        .await?;
    Ok(rows.into_iter().map(|(tag, start_pos)| Epoch { tag, start_pos }).collect())
}

/// Returns the last position of the feed and locks it until the transaction ends, so that nobody else
/// extends the feed. Writes the row, which tells a statement that was about to do so to look again.
pub async fn lock_head(db: &mut Connection) -> Result<i64, DbError> {
    Ok(diesel::update(feed_head::table)
        .set(feed_head::pos.eq(feed_head::pos))
        .returning(feed_head::pos)
        .get_result(db)
        .await?)
}

/// The identity of the history that a feed is part of: of the cluster, of its timeline, and of the
/// database and the files that store the feed. A dump is always loaded into other files. A snapshot
/// of the whole cluster has the same ones.
///
/// A connection always leads to the same database of the same cluster. The timeline of a server changes
/// only while it is a standby, and there this query fails, so that nothing is remembered.
static HERE: LazyLock<String> = LazyLock::new(|| {
    let system =
        remembered("system_identifier", "SELECT system_identifier FROM pg_control_system()");
    let timeline = remembered(
        "timeline",
        "SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int",
    );
    let database =
        remembered("database", "SELECT oid FROM pg_database WHERE datname = current_database()");
    format!(
        "SELECT {system}::bigint AS system_identifier, {timeline}::int AS timeline,
                concat_ws('/', {database}, 'feed'::regclass::oid, pg_relation_filenode('feed'))
                    AS storage"
    )
});

/// Returns an expression for the text of a query's value, which a setting of the session remembers.
fn remembered(name: &str, query: &str) -> String {
    format!(
        "coalesce(nullif(current_setting('ticketwire.{name}', true), ''),
                  (SELECT set_config('ticketwire.{name}', ({query})::text, false)))"
    )
}

/// The query for the tag of the feed's last epoch. Returns nothing if the feed belongs to another
/// history than that, or has no epoch.
pub(super) static CURRENT_EPOCH: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT last.tag FROM (SELECT * FROM feed_epochs ORDER BY epoch DESC LIMIT 1) last
         JOIN ({}) here ON last.system_identifier = here.system_identifier
                       AND last.timeline = here.timeline
                       AND last.storage IS NOT DISTINCT FROM here.storage",
        *HERE
    )
});

/// Opens an epoch with this tag after `head` if the database was restored or failed over. Returns
/// whether it did. Compares the identity of the history with that of the last epoch. An epoch too
/// many is harmless: all cursors up to `head` stay good.
pub async fn open_epoch_if_rewound(
    db: &mut Connection,
    head: i64,
    tag: i32,
    now: Timestamp,
) -> Result<bool, DbError> {
    let opened = diesel::sql_query(format!(
        "INSERT INTO feed_epochs
             (epoch, tag, start_pos, system_identifier, timeline, storage, opened_at)
         SELECT (SELECT coalesce(max(epoch), 0) + 1 FROM feed_epochs), $1, $2, system_identifier,
                timeline, storage, $3
         FROM ({}) here
         WHERE NOT EXISTS ({})",
        *HERE, *CURRENT_EPOCH
    ))
    .bind::<Integer, _>(tag)
    .bind::<BigInt, _>(head)
    .bind::<Timestamptz, _>(now)
    .prepared()
    .execute(db)
    .await?;
    Ok(opened == 1)
}

/// Returns the statement that opens an epoch, with expressions for its tag, the position before it
/// and the time.
pub(super) fn epoch_sql(tag: &str, after: &str, now: &str) -> String {
    format!(
        "INSERT INTO feed_epochs
             (epoch, tag, start_pos, system_identifier, timeline, storage, opened_at)
         SELECT (SELECT coalesce(max(epoch), 0) + 1 FROM feed_epochs), {tag}, {after},
                system_identifier, timeline, storage, {now}
         FROM ({}) here",
        *HERE
    )
}

/// Opens an epoch with this tag after a position, whatever the database says. Cursors beyond the
/// position that were issued before are no longer good. The transaction must have locked the head.
pub async fn open_epoch(
    db: &mut Connection,
    after: i64,
    tag: i32,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::sql_query(epoch_sql("$1", "$2", "$3"))
        .bind::<Integer, _>(tag)
        .bind::<BigInt, _>(after)
        .bind::<Timestamptz, _>(now)
        .execute(db)
        .await?;
    Ok(())
}

#[derive(QueryableByName)]
pub(super) struct FeedRow {
    #[diesel(sql_type = BigInt)]
    pub(super) pos: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) mark: Option<i64>,
    #[diesel(sql_type = Integer)]
    epoch: i32,
    #[diesel(embed)]
    event: EventRow,
}

impl From<FeedRow> for FeedEvent {
    fn from(row: FeedRow) -> Self {
        let cursor = Cursor { epoch: row.epoch, pos: row.pos };
        Self { cursor, mark: row.mark, event: row.event.into() }
    }
}

/// The columns of a [`FeedRow`] from the row `f` of the feed and [`EVENT_OF_ROW`].
pub(super) static FEED_COLUMNS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "f.pos, f.mark, {EVENT_COLUMNS},
         (SELECT tag FROM feed_epochs WHERE start_pos < f.pos ORDER BY epoch DESC LIMIT 1) AS epoch"
    )
});

/// The event `e` of a row of the feed, and its ticket `t`. `LIMIT 1` tells Postgres that there is
/// one of each. Without it, a plan that was cached while there were few events could read all of
/// them.
pub(super) const EVENT_OF_ROW: &str = "
    CROSS JOIN LATERAL (SELECT * FROM events WHERE id = f.event_id LIMIT 1) e
    LEFT JOIN LATERAL (SELECT reporter_id FROM tickets WHERE id = f.ticket_id LIMIT 1) t ON true";

/// Returns the query for a [`FeedRow`], without a condition.
fn feed_rows() -> String {
    format!("SELECT {} FROM feed f {EVENT_OF_ROW}", *FEED_COLUMNS)
}

/// Returns up to `limit` events after a position, in order and without a gap.
pub async fn following(
    db: &mut Connection,
    after: i64,
    limit: i64,
) -> Result<Vec<FeedEvent>, DbError> {
    let rows = rows_between(db, after + 1, after + limit).await?;
    Ok(rows.into_iter().map(FeedEvent::from).collect())
}

/// Returns the rows from one position to another, as far as the feed goes.
async fn rows_between(db: &mut Connection, first: i64, last: i64) -> Result<Vec<FeedRow>, DbError> {
    // Lists every position. A range has no known size until its bounds are known, so Postgres would
    // plan the query again for every execution.
    let query = format!(
        "{}
         WHERE f.pos = ANY (ARRAY(
             SELECT generate_series($1, least($2, (SELECT pos FROM feed_head)))))
         ORDER BY f.pos",
        feed_rows(),
    );
    Ok(diesel::sql_query(query)
        .bind::<BigInt, _>(first)
        .bind::<BigInt, _>(last)
        .prepared()
        .load::<FeedRow>(db)
        .await?)
}

/// Frees the room of pending events that were placed. Until then every placement and every grouped
/// write passes over them. Waits for no lock, and keeps nobody from appending events.
pub async fn vacuum_pending(db: &mut Connection) -> Result<(), DbError> {
    db.batch_execute("VACUUM (TRUNCATE false, SKIP_LOCKED) pending_events").await?;
    Ok(())
}

/// A position of the feed with the mark that it has in one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedMark {
    /// The position.
    pub pos: i64,
    /// Its mark, or `None` if an earlier version placed it.
    pub mark: Option<i64>,
}

/// The next events of a feed that is being read.
pub struct FeedPage {
    /// The events, in order and without a gap.
    pub events: Vec<FeedEvent>,
    /// The last position that was read, those before the page included.
    pub end: FeedMark,
}

/// Returns up to `limit` events after what has been read before, or `None` if the feed no longer
/// has that: it was rewound, even if it has grown past that position since.
pub async fn continuing(
    db: &mut Connection,
    read: FeedMark,
    limit: i64,
) -> Result<Option<FeedPage>, DbError> {
    let mut rows = rows_between(db, read.pos.max(1), read.pos + limit).await?;
    if read.pos > 0 {
        let known = |row: &FeedRow| row.pos == read.pos && row.mark == read.mark;
        if !rows.as_slice().first().is_some_and(known) {
            return Ok(None);
        }
        rows.remove(0);
    }
    let end = rows.last().map_or(read, |row| FeedMark { pos: row.pos, mark: row.mark });
    let events = rows.into_iter().map(FeedEvent::from).collect();
    Ok(Some(FeedPage { events, end }))
}

/// Returns the mark of a position, or `None` if it has none.
pub async fn mark_at(db: &mut Connection, pos: i64) -> Result<Option<i64>, DbError> {
    let mark = feed::table.find(pos).select(feed::mark).first::<Option<i64>>(db).await;
    Ok(mark.optional()?.flatten())
}

#[derive(QueryableByName)]
struct LastCommon {
    #[diesel(sql_type = BigInt)]
    pos: i64,
}

/// Returns the last of these positions that still has its mark, or 0 if none has.
pub async fn last_common(db: &mut Connection, read: &[FeedMark]) -> Result<i64, DbError> {
    let marked = read.iter().filter_map(|read| Some((read.pos, read.mark?)));
    let (positions, marks) = marked.unzip::<_, _, Vec<_>, Vec<_>>();
    let row = diesel::sql_query(
        "SELECT coalesce(max(f.pos), 0) AS pos
         FROM unnest($1, $2) AS read (pos, mark)
         JOIN feed f ON f.pos = read.pos AND f.mark = read.mark",
    )
    .bind::<Array<BigInt>, _>(positions)
    .bind::<Array<BigInt>, _>(marks)
    .get_result::<LastCommon>(db)
    .await?;
    Ok(row.pos)
}

/// Finds the number of the last event of the ticket `$4` at or before the position `$1`, by halves. A
/// ticket's events are numbered without a gap, and get their positions in the order of their numbers.
/// Without `OFFSET 0`, Postgres would copy the look-up into both columns and make it twice.
const NUMBER_AT: &str = "
    RECURSIVE halves (low, high) AS (
        SELECT 0::bigint, event_seq FROM tickets WHERE id = $4
        UNION ALL
        SELECT CASE WHEN is_before THEN middle ELSE low END,
               CASE WHEN is_before THEN high ELSE middle - 1 END
        FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM halves WHERE low < high) h
        CROSS JOIN LATERAL (
            SELECT EXISTS (
                SELECT FROM feed WHERE pos <= $1 AND event_id = (
                    SELECT id FROM events WHERE ticket_id = $4 AND seq = middle)
            ) AS is_before OFFSET 0) placed
    ), number_at AS (SELECT low AS seq FROM halves WHERE low = high)";

/// Returns the query for the events of the ticket `$4`. The feed has no index by ticket, which each
/// event would have to be entered in.
fn replay_of_ticket() -> String {
    format!(
        "WITH {NUMBER_AT}
         SELECT {} FROM events e
         CROSS JOIN LATERAL (SELECT * FROM feed WHERE event_id = e.id LIMIT 1) f
         CROSS JOIN LATERAL (SELECT reporter_id FROM tickets WHERE id = e.ticket_id LIMIT 1) t
         WHERE e.ticket_id = $4 AND e.seq > (SELECT seq FROM number_at)
           AND f.pos > $1 AND f.pos <= $2 AND ($5 OR e.audience = 'participants')
         ORDER BY e.seq LIMIT $3",
        *FEED_COLUMNS
    )
}

/// Returns the query for the events in the whole feed that meet a condition.
fn replay_where(condition: &str) -> String {
    format!(
        "{}
         WHERE f.pos > $1 AND f.pos <= $2 AND {condition} AND ($5 OR e.audience = 'participants')
         ORDER BY f.pos LIMIT $3",
        feed_rows(),
    )
}

/// Returns the first `limit` events in scope with `after` < position ≤ `until`, in order.
pub async fn replay(
    db: &mut Connection,
    scope: ReplayScope,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<FeedEvent>, DbError> {
    let (query, id, internal) = match scope {
        ReplayScope::Ticket { id, internal } => (replay_of_ticket(), Some(id.0), internal),
        ReplayScope::Customer(id) => {
            let condition = "(t.reporter_id = $4 OR $4 = ANY (e.participant_ids)
                OR (e.kind = 'participant_removed' AND e.data ->> 'account_id' = $4::text))";
            (replay_where(condition), Some(id.0), false)
        }
        ReplayScope::AllTickets => {
            (replay_where("f.ticket_id IS NOT NULL AND $4 IS NULL"), None, true)
        }
    };
    let rows = diesel::sql_query(query)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(until)
        .bind::<BigInt, _>(limit)
        .bind::<Nullable<SqlUuid>, _>(id)
        .bind::<Bool, _>(internal)
        .prepared()
        .load::<FeedRow>(db)
        .await?;
    Ok(rows.into_iter().map(FeedEvent::from).collect())
}

/// Returns the id of the event at a position, or `None` beyond the end of the feed. Unlike
/// [`at`], it reads nothing of the event.
pub async fn event_id_at(db: &mut Connection, pos: i64) -> Result<Option<EventId>, DbError> {
    let id = feed::table.find(pos).select(feed::event_id).first(db).await.optional()?;
    Ok(id.map(EventId))
}

/// Returns the events at these positions, in any order. Unknown positions are left out.
pub async fn at(db: &mut Connection, positions: &[i64]) -> Result<Vec<FeedEvent>, DbError> {
    let rows = diesel::sql_query(format!("{} WHERE f.pos = ANY ($1)", feed_rows()))
        .bind::<Array<BigInt>, _>(positions)
        .prepared()
        .load::<FeedRow>(db)
        .await?;
    Ok(rows.into_iter().map(FeedEvent::from).collect())
}
