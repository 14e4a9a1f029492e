//! The event log: appending events, and the row that an event is read from.

mod due;
mod open;
mod save;
mod terms;

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use self::save::{columns, count};
pub use self::{
    due::{FullBuckets, UnwrittenAttempts},
    open::{Opened, TicketOpening, open},
    save::{
        NewTicketEvent, Saved, TicketChange, save, save_all_with_events, save_change,
        save_with_events,
    },
    terms::{Files, KeyClaim, Seen, Terms},
};
use super::{
    Connection, DbError,
    enums::FromLabel as _,
    prepared::Prepare as _,
    schema::{accounts, events, pending_events},
    ticket,
};
use crate::domain::{
    clock::Timestamp,
    event::{
        AccountEvent, AccountSubject, Audience, Event, Subject, TicketEvent, TicketState,
        TicketSubject,
    },
    ids::{AccountId, CategoryId, EventId, TicketId},
    ticket::{Priority, Status},
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

/// An event about an account that is to be appended.
pub struct NewAccountEvent {
    /// What happened.
    pub event: AccountEvent,
    /// Who caused it, or `None` for the system.
    pub actor_id: Option<AccountId>,
    /// When it happened.
    pub occurred_at: Timestamp,
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
