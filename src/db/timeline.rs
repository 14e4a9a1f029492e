//! The timelines of tickets: their events, page by page.

use std::collections::{HashMap, HashSet};

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    event_row::{EVENT_COLUMNS, EventRow},
    id_row::IdRow,
    prepared::Prepare as _,
};
use crate::domain::{
    cursor::Cursor,
    event::FeedEvent,
    ids::{EventId, TicketId},
    page::{Direction, Page, Slice},
};

#[derive(QueryableByName)]
struct TimelineRow {
    #[diesel(embed)]
    event: EventRow,
    #[diesel(sql_type = Nullable<BigInt>)]
    pos: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    epoch: Option<i32>,
}

impl TimelineRow {
    fn into_event(self, fallback: Cursor) -> FeedEvent {
        let cursor = match (self.epoch, self.pos) {
            (Some(epoch), Some(pos)) => Cursor { epoch, pos },
            _ => fallback,
        };
        FeedEvent { cursor, mark: None, event: self.event.into() }
    }
}

/// A page of a ticket's events.
pub struct Timeline {
    /// The events, oldest first.
    pub events: Slice<FeedEvent>,
    /// Whether each of them has a position in the feed, if positions were requested.
    pub is_placed: bool,
}

/// Returns a page of each ticket's events, oldest first. `internal` is whether to include events
/// that only staff may see. Without `cursors`, and if they have no position in the feed yet, events
/// get the cursor `fallback`, after which a stream repeats them. Tickets are left out if an event that
/// limits the page is not among those that the reader may see of them.
pub async fn pages(
    db: &mut Connection,
    ticket_ids: &[TicketId],
    internal: bool,
    page: &Page<EventId>,
    cursors: bool,
    fallback: Cursor,
) -> Result<HashMap<TicketId, Timeline>, DbError> {
    let rows = diesel::sql_query(page_query(page, cursors))
        .bind::<Array<SqlUuid>, _>(ticket_ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind::<Bool, _>(internal)
        .bind::<Nullable<BigInt>, _>(page.after.map(|id| id.0))
        .bind::<Nullable<BigInt>, _>(page.before.map(|id| id.0))
        .bind::<BigInt, _>(page.fetch_limit())
        .prepared()
        .load::<TimelineRow>(db)
        .await?;
    let mut timelines = HashMap::<TicketId, (Vec<FeedEvent>, bool)>::new();
    for row in rows {
        let row_is_placed = row.pos.is_some() || !cursors;
        let event = row.into_event(fallback);
        if let Some(ticket) = event.event.ticket() {
            let (events, is_placed) = timelines.entry(ticket.id).or_insert((vec![], true));
            events.push(event);
            *is_placed &= row_is_placed;
        }
    }
    let empty = ticket_ids.iter().copied().filter(|id| !timelines.contains_key(id));
    for id in with_limits(db, empty.collect(), internal, page).await? {
        timelines.insert(id, (vec![], true));
    }
    let timelines = timelines
        .into_iter()
        .map(|(id, (events, is_placed))| (id, Timeline { events: page.slice(events), is_placed }));
    Ok(timelines.collect())
}

/// Returns the query for the pages of tickets `$1`, with events for staff if `$2`, after the event
/// `$3` and before the event `$4`, of `$5` events each.
fn page_query(page: &Page<EventId>, cursors: bool) -> String {
    let order = match page.direction {
        Direction::Forward => "ASC",
        Direction::Backward => "DESC",
    };
    let visible = "($2 OR audience = 'participants')";
    // Without an id there is no condition. A prepared plan for an optional one would read all
    // events before the id. The id of an event that the reader may not see matches nothing, so it
    // does not reveal where the event is.
    let limit = |id: Option<EventId>, place, sign| match id {
        None => String::new(),
        Some(_) => format!(
            "AND seq {sign} (SELECT seq FROM events
                 WHERE id = ${place} AND ticket_id = t.id AND {visible})"
        ),
    };
    let (after, before) = (limit(page.after, 3, '>'), limit(page.before, 4, '<'));
    let (place, feed) = if cursors {
        (
            "f.pos, (SELECT tag FROM feed_epochs WHERE start_pos < f.pos
                     ORDER BY epoch DESC LIMIT 1) AS epoch",
            "LEFT JOIN LATERAL (SELECT pos FROM feed WHERE event_id = e.id LIMIT 1) f ON true",
        )
    } else {
        ("NULL::bigint AS pos, NULL::integer AS epoch", "")
    };
    // Within a ticket, ids and `seq` have the same order, and only `seq` is indexed.
    format!(
        "SELECT {EVENT_COLUMNS}, {place}
         FROM unnest($1) AS requested (id)
         JOIN tickets t ON t.id = requested.id
         CROSS JOIN LATERAL (
             SELECT * FROM events
             WHERE ticket_id = t.id AND {visible} {after} {before}
             ORDER BY seq {order}
             LIMIT $5
         ) e
         {feed}
         ORDER BY e.seq {order}"
    )
}

/// Returns those of the tickets whose timelines have the events that limit the page.
async fn with_limits(
    db: &mut Connection,
    ticket_ids: Vec<TicketId>,
    internal: bool,
    page: &Page<EventId>,
) -> Result<Vec<TicketId>, DbError> {
    let limits = page.after.iter().chain(&page.before).map(|id| id.0).collect::<HashSet<_>>();
    if ticket_ids.is_empty() || limits.is_empty() {
        return Ok(ticket_ids);
    }
    let rows = diesel::sql_query(
        "SELECT requested.id FROM unnest($1) AS requested (id)
         WHERE cardinality($3) = (
             SELECT count(*) FROM events
             WHERE id = ANY ($3) AND ticket_id = requested.id
                 AND ($2 OR audience = 'participants'))",
    )
    .bind::<Array<SqlUuid>, _>(ticket_ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind::<Bool, _>(internal)
    .bind::<Array<BigInt>, _>(limits.into_iter().collect::<Vec<_>>())
    .prepared()
    .load::<IdRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| TicketId(row.id)).collect())
}
