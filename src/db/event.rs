//! The event log's writing end, and the timeline of a ticket.

use std::collections::HashMap;

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use serde::{Serialize, de::DeserializeOwned};
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
    event::{
        AccountEvent, AccountSubject, Audience, Event, FeedEvent, Subject, TicketEvent,
        TicketState, TicketSubject,
    },
    ids::{AccountId, CategoryId, EventId, TicketId},
    page::{Direction, Page, Slice},
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
        let (id, occurred_at) = (EventId(row.id), row.occurred_at);
        let actor_id = row.actor_id.map(AccountId);
        let subject = match (row.ticket_id, row.reporter_id, row.account_id) {
            (Some(ticket), Some(reporter), None) => {
                Subject::Ticket(row.into_ticket_subject(TicketId(ticket), AccountId(reporter)))
            }
            (None, None, Some(account)) => Subject::Account(AccountSubject {
                id: AccountId(account),
                event: read_event(&row.kind, row.data).unwrap_or(AccountEvent::Unknown),
            }),
            _ => return Err(DbError::Value(format!("event {} has no single subject", row.id))),
        };
        Ok(Self { id, actor_id, occurred_at, subject })
    }
}

impl EventRow {
    fn into_ticket_subject(self, id: TicketId, reporter: AccountId) -> TicketSubject {
        let state = match (self.category_id, self.status, self.priority) {
            (Some(category), Some(status), Some(priority)) => Some(TicketState {
                category: CategoryId(category),
                status,
                priority,
                assignee: self.assignee_id.map(AccountId),
            }),
            _ => None,
        };
        TicketSubject {
            id,
            reporter,
            participants: ticket::accounts(self.participant_ids),
            state,
            audience: self.audience,
            event: read_event(&self.kind, self.data).unwrap_or(TicketEvent::Unknown),
        }
    }
}

/// Reads the kind and data columns. `None` for what a newer version wrote.
fn read_event<E: DeserializeOwned>(kind: &str, data: Value) -> Option<E> {
    serde_json::from_value(json!({ "kind": kind, "data": data }))
        .inspect_err(|_| tracing::warn!(kind, "this version cannot read an event of this kind"))
        .ok()
}

/// An event about a ticket, to be appended.
pub struct NewTicketEvent {
    /// What happened.
    pub event: TicketEvent,
    /// Who may see it.
    pub audience: Audience,
    /// Who caused it, or `None` for the system.
    pub actor_id: Option<AccountId>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// An event about an account, to be appended.
pub struct NewAccountEvent {
    /// What happened.
    pub event: AccountEvent,
    /// Who caused it, or `None` for the system.
    pub actor_id: Option<AccountId>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// Saves a ticket and appends its events, in order. The caller holds the lock of the
/// ticket's row or has inserted it in this transaction.
pub async fn save_with_events(
    db: &mut Connection,
    ticket: &Ticket,
    new: &[NewTicketEvent],
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
    let first = last - count(new) + 1;
    let rows = (first..).zip(new.iter().zip(states(ticket, new))).map(|(seq, (new, state))| {
        let (kind, data) = columns(&new.event)?;
        Ok(NewRow {
            ticket_id: Some(ticket.id.0),
            account_id: None,
            seq,
            kind,
            audience: new.audience,
            actor_id: new.actor_id.map(|id| id.0),
            data,
            category_id: Some(state.category.0),
            status: Some(state.status),
            priority: Some(state.priority),
            assignee_id: state.assignee.map(|id| id.0),
            participant_ids: &participants,
            occurred_at: new.occurred_at,
        })
    });
    append(db, rows.collect::<Result<_, DbError>>()?).await
}

/// The ticket's state after each of its new events.
fn states(ticket: &Ticket, new: &[NewTicketEvent]) -> Vec<TicketState> {
    let mut after = ticket.state();
    let mut states = Vec::with_capacity(new.len());
    for new in new.iter().rev() {
        states.push(after);
        after = after.before(&new.event).unwrap_or(after);
    }
    states.reverse();
    states
}

/// Appends events about an account, in order. Takes the lock of the account's row.
pub async fn append_to_account(
    db: &mut Connection,
    account: AccountId,
    new: &[NewAccountEvent],
) -> Result<(), DbError> {
    let last = diesel::update(accounts::table.find(account.0))
        .set(accounts::event_seq.eq(accounts::event_seq + count(new)))
        .returning(accounts::event_seq)
        .prepared()
        .get_result::<i64>(db)
        .await?;
    let first = last - count(new) + 1;
    let rows = (first..).zip(new).map(|(seq, new)| {
        let (kind, data) = columns(&new.event)?;
        Ok(NewRow {
            ticket_id: None,
            account_id: Some(account.0),
            seq,
            kind,
            audience: Audience::Participants,
            actor_id: new.actor_id.map(|id| id.0),
            data,
            category_id: None,
            status: None,
            priority: None,
            assignee_id: None,
            participant_ids: &[],
            occurred_at: new.occurred_at,
        })
    });
    append(db, rows.collect::<Result<_, DbError>>()?).await
}

/// A row of `events` without its id.
#[derive(Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
struct NewRow<'p> {
    ticket_id: Option<Uuid>,
    account_id: Option<Uuid>,
    seq: i64,
    kind: String,
    audience: Audience,
    actor_id: Option<Uuid>,
    data: Value,
    category_id: Option<Uuid>,
    status: Option<Status>,
    priority: Option<Priority>,
    assignee_id: Option<Uuid>,
    participant_ids: &'p [Uuid],
    occurred_at: Timestamp,
}

/// Inserts rows into the log and queues them for the sequencer.
async fn append(db: &mut Connection, rows: Vec<NewRow<'_>>) -> Result<(), DbError> {
    let count = rows.len();
    let ids = diesel::insert_into(events::table)
        .values(rows)
        .returning(events::id)
        .prepared_if_few(count)
        .get_results::<i64>(db)
        .await?;
    diesel::insert_into(pending_events::table)
        .values(ids.into_iter().map(|id| pending_events::event_id.eq(id)).collect::<Vec<_>>())
        .prepared_if_few(count)
        .execute(db)
        .await?;
    Ok(())
}

fn count<E>(new: &[E]) -> i64 {
    i64::try_from(new.len()).unwrap_or(i64::MAX)
}

/// The kind and data columns of an event.
fn columns(event: &impl Serialize) -> Result<(String, Value), DbError> {
    let failed = |reason: &str| DbError::Value(format!("an event can't be written: {reason}"));
    let mut value = serde_json::to_value(event).map_err(|error| failed(&error.to_string()))?;
    let kind = value["kind"].as_str().ok_or_else(|| failed("it has no kind"))?.to_owned();
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
        if let Some(ticket) = event.ticket() {
            found.entry(ticket.id).or_default().push(FeedEvent { cursor, event });
        }
    }
    Ok(found.into_iter().map(|(id, events)| (id, page.slice(events))).collect())
}
