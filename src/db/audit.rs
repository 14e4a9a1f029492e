//! The audit trail of an account: the events about it.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    event_row::{EVENT_COLUMNS, EventRow},
    session,
};
use crate::domain::{
    audit::AuditEntry,
    event::{Event, Subject},
    ids::{AccountId, EventId},
    page::{Direction, Page, Slice},
};

#[derive(QueryableByName)]
struct AuditRow {
    #[diesel(embed)]
    event: EventRow,
    #[diesel(sql_type = Nullable<Text>)]
    address: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    device: Option<String>,
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = DbError;

    fn try_from(row: AuditRow) -> Result<Self, DbError> {
        let origin = session::origin(row.address.as_deref(), row.device.as_deref());
        let event = Event::from(row.event);
        let Subject::Account(account) = event.subject else {
            return Err(DbError::Value(format!("event {} is not about an account", event.id.0)));
        };
        Ok(Self {
            id: event.id,
            actor_id: event.actor_id,
            occurred_at: event.occurred_at,
            event: account.event,
            origin,
        })
    }
}

/// Returns a page of the events about an account, newest first, with the network address and device
/// from which their sessions were begun.
pub async fn page(
    db: &mut Connection,
    account: AccountId,
    page: &Page<EventId>,
) -> Result<Slice<AuditEntry>, DbError> {
    let order = match page.direction {
        Direction::Forward => "DESC",
        Direction::Backward => "ASC",
    };
    // Within an account, ids and `seq` have the same order, and only `seq` is indexed. The id of
    // another account's event matches nothing, so the page is empty.
    let query = format!(
        "SELECT {EVENT_COLUMNS}, s.address, s.device
         FROM events e
         LEFT JOIN tickets t ON t.id = e.ticket_id
         LEFT JOIN sessions s
             ON s.id = (e.data ->> 'session_id')::uuid AND s.account_id = e.account_id
         WHERE e.account_id = $1
           AND ($2 IS NULL OR e.seq < (
               SELECT k.seq FROM events k WHERE k.id = $2 AND k.account_id = $1))
           AND ($3 IS NULL OR e.seq > (
               SELECT k.seq FROM events k WHERE k.id = $3 AND k.account_id = $1))
         ORDER BY e.seq {order}
         LIMIT $4"
    );
    let rows = diesel::sql_query(query)
        .bind::<SqlUuid, _>(account.0)
        .bind::<Nullable<BigInt>, _>(page.after.map(|id| id.0))
        .bind::<Nullable<BigInt>, _>(page.before.map(|id| id.0))
        .bind::<BigInt, _>(page.fetch_limit())
        .load::<AuditRow>(db)
        .await?;
    let entries = rows.into_iter().map(AuditEntry::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(page.slice(entries))
}
