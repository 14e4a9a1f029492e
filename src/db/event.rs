//! The event log's writing end, and the timeline of a ticket.

use std::collections::HashMap;

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{accounts, events, pending_events, sql_types},
    ticket,
    unread::LatestEvents,
};
use crate::domain::{
    clock::Timestamp,
    cursor::Cursor,
    event::{Audience, Event, EventData, FeedEvent, Subject},
    ids::{AccountId, CategoryId, EventId, TicketId},
    page::{Direction, Page, Slice},
    queue::TicketState,
    ticket::{Priority, Status, Ticket},
};

/// The columns that an event is read from, as `sql_query` gives them.
#[derive(QueryableByName)]
pub(super) struct EventRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    ticket_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    account_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    reporter_id: Option<Uuid>,
    #[diesel(sql_type = diesel::sql_types::Text)]
    kind: String,
    #[diesel(sql_type = sql_types::EventAudience)]
    audience: Audience,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    actor_id: Option<Uuid>,
    #[diesel(sql_type = diesel::sql_types::Jsonb)]
    data: Value,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    category_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<sql_types::TicketStatus>)]
    status: Option<Status>,
    #[diesel(sql_type = Nullable<sql_types::TicketPriority>)]
    priority: Option<Priority>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    assignee_id: Option<Uuid>,
    #[diesel(sql_type = Array<Nullable<SqlUuid>>)]
    participant_ids: Vec<Option<Uuid>>,
    #[diesel(sql_type = diesel::sql_types::Timestamptz)]
    occurred_at: Timestamp,
}

/// The columns that [`EventRow`] is read from, of `events e` and of its ticket `t`.
pub(super) const EVENT_COLUMNS: &str = "e.id, e.ticket_id, e.account_id, t.reporter_id, e.kind, \
    e.audience, e.actor_id, e.data, e.category_id, e.status, e.priority, e.assignee_id, \
    e.participant_ids, e.occurred_at";

impl TryFrom<EventRow> for Event {
    type Error = DbError;

    fn try_from(row: EventRow) -> Result<Self, DbError> {
        let subject = match (row.ticket_id, row.reporter_id, row.account_id) {
            (Some(id), Some(reporter), None) => {
                Subject::Ticket { id: TicketId(id), reporter: AccountId(reporter) }
            }
            (None, None, Some(id)) => Subject::Account(AccountId(id)),
            _ => return Err(DbError::Value(format!("event {} has no one subject", row.id))),
        };
        let state = match (row.category_id, row.status, row.priority) {
            (Some(category), Some(status), Some(priority)) => Some(TicketState {
                category: CategoryId(category),
                status,
                priority,
                assignee: row.assignee_id.map(AccountId),
            }),
            _ => None,
        };
        let data = serde_json::from_value(json!({ "kind": row.kind, "data": row.data }))
            .inspect_err(|_| {
                tracing::warn!(kind = row.kind, "an event of an unknown kind is passed over")
            })
            .ok();
        Ok(Self {
            id: EventId(row.id),
            subject,
            audience: row.audience,
            actor_id: row.actor_id.map(AccountId),
            data,
            state,
            participants: ticket::accounts(row.participant_ids),
            occurred_at: row.occurred_at,
        })
    }
}

/// Something that happened to a ticket or account, to be written down.
pub struct NewEvent {
    /// What happened.
    pub data: EventData,
    /// For whom it is.
    pub audience: Audience,
    /// Who did it; none: the system.
    pub actor_id: Option<AccountId>,
    /// When.
    pub occurred_at: Timestamp,
}

/// Writes down how a ticket stands after some events, and appends them in order. The
/// ticket's row has to be locked (or new) in this transaction.
pub async fn save_with_events(
    db: &mut Connection,
    ticket: &Ticket,
    new: &[NewEvent],
) -> Result<(), DbError> {
    let mut last = 0;
    for by_one in new.chunk_by(|a, b| a.actor_id == b.actor_id) {
        let public = by_one.iter().rposition(|event| event.audience == Audience::Participants);
        let latest = LatestEvents {
            actor: by_one.first().and_then(|event| event.actor_id),
            events: count(by_one),
            last_public: public.map(|index| count(&by_one[..=index])),
        };
        last = ticket::update(db, ticket, &latest).await?;
    }
    let participants = ticket::uuids(&ticket.participant_ids);
    let mut after = TicketState::of(ticket);
    let mut states = Vec::with_capacity(new.len());
    for event in new.iter().rev() {
        states.push(Some(after));
        after = after.before(&event.data);
    }
    states.reverse();
    append(db, Some(ticket.id.0), None, last, new, &states, &participants).await
}

/// Appends events about an account, in order; the update takes the row's lock.
pub async fn append_to_account(
    db: &mut Connection,
    account: AccountId,
    new: &[NewEvent],
) -> Result<(), DbError> {
    let last = diesel::update(accounts::table.find(account.0))
        .set(accounts::event_seq.eq(accounts::event_seq + count(new)))
        .returning(accounts::event_seq)
        .prepared()
        .get_result::<i64>(db)
        .await?;
    append(db, None, Some(account.0), last, new, &vec![None; new.len()], &[]).await
}

fn count(new: &[NewEvent]) -> i64 {
    i64::try_from(new.len()).unwrap_or(i64::MAX)
}

async fn append(
    db: &mut Connection,
    ticket_id: Option<Uuid>,
    account_id: Option<Uuid>,
    last_seq: i64,
    new: &[NewEvent],
    states: &[Option<TicketState>],
    participants: &[Uuid],
) -> Result<(), DbError> {
    let first_seq = last_seq - count(new) + 1;
    let rows = (first_seq..)
        .zip(new.iter().zip(states))
        .map(|(seq, (event, state))| {
            let (kind, data) = columns(&event.data)?;
            Ok((
                events::ticket_id.eq(ticket_id),
                events::account_id.eq(account_id),
                events::seq.eq(seq),
                events::kind.eq(kind),
                events::audience.eq(event.audience),
                events::actor_id.eq(event.actor_id.map(|id| id.0)),
                events::data.eq(data),
                events::category_id.eq(state.map(|state| state.category.0)),
                events::status.eq(state.map(|state| state.status)),
                events::priority.eq(state.map(|state| state.priority)),
                events::assignee_id.eq(state.and_then(|state| state.assignee).map(|id| id.0)),
                events::participant_ids.eq(participants),
                events::occurred_at.eq(event.occurred_at),
            ))
        })
        .collect::<Result<Vec<_>, DbError>>()?;
    let ids = diesel::insert_into(events::table)
        .values(rows)
        .returning(events::id)
        .prepared_if_few(new.len())
        .get_results::<i64>(db)
        .await?;
    diesel::insert_into(pending_events::table)
        .values(ids.into_iter().map(|id| pending_events::event_id.eq(id)).collect::<Vec<_>>())
        .prepared_if_few(new.len())
        .execute(db)
        .await?;
    Ok(())
}

/// The kind and data columns of what happened.
fn columns(data: &EventData) -> Result<(String, Value), DbError> {
    let unreadable = |reason: &str| DbError::Value(format!("an event can't be written: {reason}"));
    let mut value = serde_json::to_value(data).map_err(|error| unreadable(&error.to_string()))?;
    let kind = value["kind"].as_str().ok_or_else(|| unreadable("it has no kind"))?.to_owned();
    Ok((kind, value.get_mut("data").map_or_else(|| json!({}), Value::take)))
}

#[derive(QueryableByName)]
struct TimelineRow {
    #[diesel(embed)]
    event: EventRow,
    #[diesel(sql_type = Nullable<BigInt>)]
    pos: Option<i64>,
    #[diesel(sql_type = Nullable<diesel::sql_types::Integer>)]
    epoch: Option<i32>,
}

/// A page of the history of each of some tickets, oldest first, in one query.
/// Events that are not in the feed yet carry `fallback` for a cursor, from which
/// a stream repeats them. Tickets without events are left out.
pub async fn timelines(
    db: &mut Connection,
    ticket_ids: &[TicketId],
    internal: bool,
    page: &Page<EventId>,
    fallback: Cursor,
) -> Result<HashMap<TicketId, Slice<FeedEvent>>, DbError> {
    let order = match page.direction {
        Direction::Forward => "ASC",
        Direction::Backward => "DESC",
    };
    // Conditions that ask nothing are left out: a plan that is made once would read all the
    // events before the key.
    let visible = "($2 OR audience = 'participants')";
    let beyond = |key: Option<EventId>, place, sign| match key {
        None => String::new(),
        Some(_) => format!(
            "AND seq {sign} (SELECT seq FROM events
                 WHERE id = ${place} AND ticket_id = t.id AND {visible})"
        ),
    };
    let (after, before) = (beyond(page.after, 3, '>'), beyond(page.before, 4, '<'));
    // Ids rise with seq within a ticket, and only seq has the index. The cursor of an
    // event that the reader may not see is as good as none: it must not tell where it lies.
    let query = format!(
        "SELECT {EVENT_COLUMNS}, f.pos,
                (SELECT tag FROM feed_epochs WHERE start_pos < f.pos ORDER BY epoch DESC LIMIT 1) AS epoch
         FROM unnest($1) AS requested (id)
         JOIN tickets t ON t.id = requested.id
         CROSS JOIN LATERAL (
             SELECT * FROM events
             WHERE ticket_id = t.id AND {visible} {after} {before}
             ORDER BY seq {order}
             LIMIT $5
         ) e
         LEFT JOIN LATERAL (SELECT pos FROM feed WHERE event_id = e.id LIMIT 1) f ON true
         ORDER BY e.seq {order}"
    );
    let rows = diesel::sql_query(query)
        .bind::<Array<SqlUuid>, _>(ticket_ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind::<Bool, _>(internal)
        .bind::<Nullable<BigInt>, _>(page.after.map(|id| id.0))
        .bind::<Nullable<BigInt>, _>(page.before.map(|id| id.0))
        .bind::<BigInt, _>(page.fetch_limit())
        .prepared()
        .load::<TimelineRow>(db)
        .await?;
    let mut found = HashMap::<TicketId, Vec<FeedEvent>>::new();
    for row in rows {
        let cursor = match (row.epoch, row.pos) {
            (Some(epoch), Some(pos)) => Cursor { epoch, pos },
            _ => fallback,
        };
        let event = Event::try_from(row.event)?;
        if let Subject::Ticket { id, .. } = event.subject {
            found.entry(id).or_default().push(FeedEvent { cursor, event });
        }
    }
    Ok(found.into_iter().map(|(id, events)| (id, page.slice(events))).collect())
}
