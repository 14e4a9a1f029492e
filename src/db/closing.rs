//! Resolved tickets that are due to be closed.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    ticket::{ACCOUNT_CHANGES, TicketRow},
};
use crate::domain::{clock::Timestamp, ids::TicketId, ticket::Ticket};

/// A ticket that is due, as the queue has it.
#[derive(Clone, Copy)]
pub struct Due {
    /// When it was resolved.
    pub resolved_at: Timestamp,
    /// The ticket.
    pub ticket: TicketId,
}

impl From<Due> for TicketId {
    fn from(due: Due) -> Self {
        due.ticket
    }
}

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = Timestamptz)]
    resolved_at: Timestamp,
    #[diesel(sql_type = SqlUuid)]
    ticket_id: Uuid,
}

/// Returns up to `limit` tickets that were resolved at `until` or earlier, oldest first: those that
/// follow `after`.
pub async fn due(
    db: &mut Connection,
    until: Timestamp,
    after: Option<Due>,
    limit: usize,
) -> Result<Vec<Due>, DbError> {
    let rows = diesel::sql_query(
        "SELECT resolved_at, ticket_id FROM queue_entries
         WHERE status = 'resolved' AND resolved_at <= $1
           AND ($2 IS NULL OR (resolved_at, ticket_id) > ($2, $3))
         ORDER BY resolved_at, ticket_id
         LIMIT $4",
    )
    .bind::<Timestamptz, _>(until)
    .bind::<Nullable<Timestamptz>, _>(after.map(|after| after.resolved_at))
    .bind::<Nullable<SqlUuid>, _>(after.map(|after| after.ticket.0))
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
    .load::<DueRow>(db)
    .await?;
    let due = |row: DueRow| Due { resolved_at: row.resolved_at, ticket: TicketId(row.ticket_id) };
    Ok(rows.into_iter().map(due).collect())
}

/// Returns those of the tickets that were resolved at `until` or earlier, and locks them until the
/// transaction ends. Tickets that are locked by others are skipped.
pub async fn lock_resolved(
    db: &mut Connection,
    until: Timestamp,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, DbError> {
    // The locked row decides: it may have changed since its entry was read.
    let rows = diesel::sql_query(format!(
        "SELECT t.*, {ACCOUNT_CHANGES} FROM tickets t
         WHERE t.id = ANY ($2) AND t.status = 'resolved' AND t.resolved_at <= $1
         ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED"
    ))
    .bind::<Timestamptz, _>(until)
    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .load::<TicketRow>(db)
    .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}
