//! The row that an event of the log is read from.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

use super::{enums::FromLabel as _, ticket};
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
