//! Extending the feed: giving events their positions.
//!
//! Events are placed by the statement that appends them if nothing stands in its way, or else by a
//! sequencer, from `pending_events`.

use std::sync::LazyLock;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{
    Connection, DbError,
    feed::{CURRENT_EPOCH, EVENT_OF_ROW, FEED_COLUMNS, FeedMark, FeedPage, FeedRow},
    prepared::Prepare as _,
};
use crate::domain::{
    cursor::Cursor,
    event::{Event, FeedEvent},
    ids::{EventId, TicketId},
};

/// The events that were placed together.
pub struct PlacedEvents {
    /// The end of the feed before them.
    pub after: FeedMark,
    /// The events, in order and without a gap.
    pub page: FeedPage,
    /// Whether the feed was extended by others after the statement began. More events may be pending
    /// then, and what is said of the epoch and of the mark before them may be out of date.
    pub waited: bool,
}

#[derive(QueryableByName)]
struct PlacedRow {
    #[diesel(embed)]
    placed: FeedRow,
    #[diesel(sql_type = BigInt)]
    head: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    head_mark: Option<i64>,
    #[diesel(sql_type = Bool)]
    waited: bool,
}

/// Moves up to `limit` pending events, those with the lowest ids, to the end of the feed, in one
/// statement. Returns the events, or `None` if there are none, or if an epoch must be opened first.
pub async fn place_pending(
    db: &mut Connection,
    limit: i64,
    placing: Placing,
) -> Result<Option<PlacedEvents>, DbError> {
    let rows = diesel::sql_query(PLACE.as_str())
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(placing.mark)
        .prepared()
        .load::<PlacedRow>(db)
        .await?;
    let Some(last) = rows.last() else { return Ok(None) };
    let after = FeedMark { pos: last.head, mark: last.head_mark };
    let end = FeedMark { pos: last.placed.pos, mark: last.placed.mark };
    let waited = last.waited;
    let events = rows.into_iter().map(|row| row.placed.into()).collect();
    Ok(Some(PlacedEvents { after, page: FeedPage { events, end }, waited }))
}

/// Finds the rows to delete by their place: a plan from when few events were pending could read the
/// whole table, with all the rows that were deleted since.
///
/// Locks the head before it takes events. A statement that waits for the lock sees the head as it is
/// then, and everything else as it was before: the version of the head tells.
static PLACE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH head AS MATERIALIZED (
             SELECT pos, xmin AS version FROM feed_head
             WHERE EXISTS ({}) AND EXISTS (SELECT FROM pending_events) FOR UPDATE
         ), batch AS (
             DELETE FROM pending_events
             WHERE ctid = ANY (ARRAY(SELECT ctid FROM pending_events ORDER BY event_id LIMIT $1))
               AND EXISTS (SELECT FROM head)
             RETURNING event_id
         ), placed AS (
             INSERT INTO feed (pos, event_id, ticket_id, mark)
             SELECT (SELECT pos FROM head) + row_number() OVER (ORDER BY e.id), e.id, e.ticket_id, $2
             FROM batch
             CROSS JOIN LATERAL (
                 SELECT id, ticket_id FROM events WHERE id = batch.event_id LIMIT 1) e
             RETURNING pos, event_id, ticket_id, mark
         ), {}
         SELECT {}, h.pos AS head, (SELECT mark FROM feed WHERE pos = h.pos) AS head_mark,
                h.version <> (SELECT xmin FROM feed_head) AS waited
         FROM head h CROSS JOIN placed f {EVENT_OF_ROW}
         ORDER BY f.pos",
        *CURRENT_EPOCH, MOVED, *FEED_COLUMNS
    )
});

/// What a statement says of the positions that it gives.
#[derive(Clone, Copy)]
pub struct Placing {
    /// The random mark of the positions.
    pub mark: i64,
}

/// Where the events of a statement are once it has committed.
#[derive(Default)]
pub enum Placement {
    /// They are pending.
    #[default]
    Pending,
    /// They have their positions.
    Placed(PlacedEvents),
}

/// The size of `feed_head`, in bytes, from which on events are left to a sequencer. Each placement
/// leaves a version of its row, which cannot be removed while somebody has an old snapshot.
const MAX_HEAD_SIZE: usize = 1 << 20;

/// Returns the expressions that place the events `appended (id, ticket_id, seq)`, or queue them for
/// the sequencer: if the head is locked, other events are pending, an epoch must be opened first, or
/// the mark, a parameter, is null. `accounts` is an array of the accounts that the statement refers to
/// for the first time, if there are any.
///
/// The statement compares a ticket's number of events with the one that was read before it began.
/// The earlier events of the ticket were committed by then: the statement sees them pending, or they
/// have positions before its own.
///
/// The head is not waited for, and nothing is waited for while it is locked. Foreign keys are checked
/// at the end of a statement, so the accounts are locked first, and if one of them is not free, the
/// events are queued. A transaction of several statements must not place its events: it would keep
/// the head locked while it goes on.
pub(super) fn placing(mark: usize, accounts: Option<&str>) -> String {
    let (lock_accounts, accounts_locked) = accounts.map(locking).unwrap_or_default();
    format!(
        "{lock_accounts} head AS MATERIALIZED (
             SELECT pos, xmin AS version FROM feed_head
             WHERE CASE WHEN ${mark} IS NULL OR pg_relation_size('feed_head') > {MAX_HEAD_SIZE}
                 THEN false
                 ELSE (SELECT count(*) FROM appended) > 0 {accounts_locked}
                     AND NOT EXISTS (SELECT FROM pending_events)
                     AND EXISTS (SELECT FROM current_epoch)
                 END
             LIMIT 1 FOR UPDATE SKIP LOCKED
         ), queued AS (
             INSERT INTO pending_events (event_id)
             SELECT id FROM appended WHERE NOT EXISTS (SELECT FROM head)
         ), placed AS (
             INSERT INTO feed (pos, event_id, ticket_id, mark)
             SELECT head.pos + row_number() OVER (ORDER BY a.id), a.id, a.ticket_id, ${mark}
             FROM appended a CROSS JOIN head
             RETURNING pos
         ), {MOVED}"
    )
}

/// Returns the expression `current_epoch (tag)`, which [`placing`] refers to. It has no row if an epoch
/// must be opened first.
pub(super) fn current_epoch() -> String {
    format!("current_epoch AS MATERIALIZED ({})", *CURRENT_EPOCH)
}

/// Returns an expression that locks the accounts of an array if they are free, and the condition that
/// they were.
fn locking(accounts: &str) -> (String, String) {
    let lock = format!(
        "free_accounts AS MATERIALIZED (
             SELECT id FROM accounts WHERE id = ANY ({accounts}) FOR KEY SHARE SKIP LOCKED
         ),"
    );
    let locked = format!(
        "AND NOT EXISTS (SELECT FROM unnest({accounts}) AS a (id)
                         WHERE id NOT IN (SELECT id FROM free_accounts))"
    );
    (lock, locked)
}

/// Moves the head to the last of the positions `placed (pos)`.
const MOVED: &str = "moved AS (
        UPDATE feed_head SET pos = last.pos
        FROM (SELECT max(pos) AS pos FROM placed HAVING count(*) > 0) last
    )";

/// The columns of a [`PlacementRow`], from the expressions of [`placing`] and from [`PLACEMENT_OF`].
pub(super) const PLACEMENT: &str = "
    h.pos AS head, before.mark AS head_mark, (SELECT tag FROM current_epoch) AS epoch,
    h.version <> (SELECT xmin FROM feed_head) AS waited, p.event_ids, p.event_tickets, p.event_seqs";

/// The row of the events, with the end of the feed before them if they were placed.
pub(super) const PLACEMENT_OF: &str = "
    (SELECT array_agg(id) AS event_ids, array_agg(ticket_id) AS event_tickets,
            array_agg(seq) AS event_seqs FROM appended) p
    LEFT JOIN head h ON true LEFT JOIN feed before ON before.pos = h.pos";

/// What a statement says of its events. `head` is null if it has placed none.
#[derive(QueryableByName)]
pub(super) struct PlacementRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    head: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    head_mark: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(super) epoch: Option<i32>,
    #[diesel(sql_type = Nullable<Bool>)]
    waited: Option<bool>,
    /// The ids of the events, with their tickets and their numbers in them.
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    event_ids: Option<Vec<i64>>,
    #[diesel(sql_type = Nullable<Array<SqlUuid>>)]
    event_tickets: Option<Vec<Uuid>>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    event_seqs: Option<Vec<i64>>,
}

impl PlacementRow {
    /// Returns where the events are. `event` creates the event with an id from a ticket's number of
    /// it.
    pub(super) fn placement(
        self,
        placing: Option<Placing>,
        event: impl Fn(EventId, TicketId, i64) -> Option<Event>,
    ) -> Placement {
        let Some(head) = self.head else { return Placement::Pending };
        let (ids, tickets) = (self.event_ids.into_iter(), self.event_tickets.into_iter());
        let numbered = tickets.flatten().zip(self.event_seqs.into_iter().flatten());
        let mut appended = ids.flatten().zip(numbered).collect::<Vec<_>>();
        appended.sort_unstable();
        let mark = placing.map(|placing| placing.mark);
        let end = head + i64::try_from(appended.len()).unwrap_or(i64::MAX - head);
        let events = (head + 1..).zip(appended).map(|(pos, (id, (ticket, seq)))| {
            let cursor = Cursor { epoch: self.epoch?, pos };
            let event = event(EventId(id), TicketId(ticket), seq)?;
            Some(FeedEvent { cursor, mark, event })
        });
        let events = events.collect::<Option<Vec<_>>>();
        Placement::Placed(PlacedEvents {
            after: FeedMark { pos: head, mark: self.head_mark },
            waited: self.waited.unwrap_or(true) || events.is_none(),
            page: FeedPage { events: events.unwrap_or_default(), end: FeedMark { pos: end, mark } },
        })
    }
}
