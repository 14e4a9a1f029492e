//! The event log: appending events, and the row that an event is read from.

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Connection, DbError,
    enums::FromLabel as _,
    prepared::Prepare as _,
    schema::{accounts, events, pending_events},
    ticket,
    unread::LatestEvents,
};
use crate::domain::{
    clock::Timestamp,
    event::{
        AccountEvent, AccountSubject, Audience, Event, Subject, TicketEvent, TicketState,
        TicketSubject,
    },
    ids::{AccountId, CategoryId, EventId, TicketId},
    ticket::{Priority, Status, Ticket},
};

/// A row that an event is read from, as `sql_query` returns it.
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
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    audience: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    actor_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    data: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    category_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    status: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    priority: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    assignee_id: Option<Uuid>,
    #[diesel(sql_type = Array<Nullable<SqlUuid>>)]
    participant_ids: Vec<Option<Uuid>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    occurred_at: Option<Timestamp>,
}

/// The columns of an [`EventRow`], from the event `e` and its ticket `t`. Read as text, or null if
/// beyond the range of the type, so that a value which this version does not know concerns only its
/// event, and not all rows that are read with it.
pub(super) const EVENT_COLUMNS: &str = "e.id, e.ticket_id, e.account_id, t.reporter_id, e.kind, \
    e.audience::text AS audience, e.actor_id, e.data::text AS data, e.category_id, \
    e.status::text AS status, e.priority::text AS priority, e.assignee_id, e.participant_ids, \
    CASE WHEN isfinite(e.occurred_at) AND e.occurred_at < '10000-01-01' \
        THEN e.occurred_at END AS occurred_at";

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        let (id, actor_id) = (EventId(row.id), row.actor_id.map(AccountId));
        let occurred_at = row.occurred_at.unwrap_or_default();
        let subject = match (row.ticket_id, row.reporter_id, row.account_id) {
            (Some(ticket), Some(reporter), None) => {
                Subject::Ticket(row.into_ticket_subject(TicketId(ticket), AccountId(reporter)))
            }
            (None, None, Some(account)) => Subject::Account(AccountSubject {
                id: AccountId(account),
                event: read_event(id, &row.kind, &row.data).unwrap_or(AccountEvent::Unknown),
            }),
            _ => {
                tracing::warn!(
                    event_id = row.id,
                    "an event is not about one ticket or one account"
                );
                Subject::Unreadable
            }
        };
        Self { id, actor_id, occurred_at, subject }
    }
}

impl EventRow {
    fn into_ticket_subject(self, id: TicketId, reporter: AccountId) -> TicketSubject {
        // An event without a time that can be read cannot be read.
        let event =
            self.occurred_at.and_then(|_| read_event(EventId(self.id), &self.kind, &self.data));
        let status = self.status.as_deref().and_then(Status::from_label);
        let priority = self.priority.as_deref().and_then(Priority::from_label);
        let state = match (self.category_id, status, priority) {
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
            // An audience that this version does not know is not for everybody.
            audience: Audience::from_label(&self.audience).unwrap_or(Audience::Staff),
            event: event.unwrap_or(TicketEvent::Unknown),
        }
    }
}

/// Reads the kind and data columns. Returns `None` if this version cannot read them, because a
/// newer one wrote the event or the data is broken.
fn read_event<E: DeserializeOwned>(id: EventId, kind: &str, data: &str) -> Option<E> {
    serde_json::from_str(&format!(r#"{{"kind":{},"data":{data}}}"#, json!(kind)))
        .inspect_err(|_| {
            // At each read of the event, so not a warning. The API shows that it is unreadable.
            tracing::debug!(event_id = id.0, kind, "this version cannot read an event");
        })
        .ok()
}

/// An event about a ticket that is to be appended.
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

/// An event about an account that is to be appended.
pub struct NewAccountEvent {
    /// What happened.
    pub event: AccountEvent,
    /// Who caused it, or `None` for the system.
    pub actor_id: Option<AccountId>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// Saves a ticket and appends its new events, in order, which also grows its count of events.
/// Without new events, nothing is saved. The transaction must have locked the ticket's row or
/// inserted it.
pub async fn save_with_events(
    db: &mut Connection,
    ticket: &mut Ticket,
    new: &[NewTicketEvent],
) -> Result<(), DbError> {
    if new.is_empty() {
        return Ok(());
    }
    ticket.events = save(db, ticket, new).await?;
    let first = ticket.events - count(new) + 1;
    let participants = ticket::uuids(&ticket.participant_ids);
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

/// Saves a ticket and what its row says about its latest events. Returns the `seq` of the last new
/// event.
async fn save(
    db: &mut Connection,
    ticket: &Ticket,
    new: &[NewTicketEvent],
) -> Result<i64, DbError> {
    let mut last = 0;
    for by_actor in new.chunk_by(|a, b| a.actor_id == b.actor_id) {
        let public = by_actor.iter().rposition(|event| event.audience == Audience::Participants);
        let latest = LatestEvents {
            actor: by_actor.first().and_then(|event| event.actor_id),
            events: count(by_actor),
            last_public: public.map(|index| count(&by_actor[..=index])),
        };
        last = ticket::update(db, ticket, &latest).await?;
    }
    Ok(last)
}

/// Returns the ticket's state after each of its new events.
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

/// Appends events about an account, in order. Locks the account's row.
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

/// Returns the kind and data columns of an event.
fn columns(event: &impl Serialize) -> Result<(String, Value), DbError> {
    let failed = |reason: &str| DbError::Value(format!("an event cannot be stored: {reason}"));
    let mut value = serde_json::to_value(event).map_err(|error| failed(&error.to_string()))?;
    let kind = value["kind"].as_str().ok_or_else(|| failed("it has no kind"))?.to_owned();
    Ok((kind, value.get_mut("data").map_or_else(|| json!({}), Value::take)))
}
