//! Resolved tickets that are due to be closed.

use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    ticket::{ACCOUNT_CHANGES, TicketRow},
};
use crate::domain::{clock::Timestamp, ticket::Ticket};

/// Returns up to `limit` tickets that were resolved at `until` or earlier, oldest first, and locks
/// them until the transaction ends. Tickets that are locked by others are skipped.
pub async fn lock_resolved(
    db: &mut Connection,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Ticket>, DbError> {
    // The entry finds the ticket, and the locked row decides: it may have changed meanwhile.
    let rows = diesel::sql_query(format!(
        "SELECT t.*, {ACCOUNT_CHANGES} FROM queue_entries q JOIN tickets t ON t.id = q.ticket_id
         WHERE q.status = 'resolved' AND q.resolved_at <= $1
           AND t.status = 'resolved' AND t.resolved_at <= $1
         ORDER BY q.resolved_at, q.ticket_id
         LIMIT $2 FOR NO KEY UPDATE OF t SKIP LOCKED"
    ))
    .bind::<Timestamptz, _>(until)
    .bind::<BigInt, _>(limit)
    .load::<TicketRow>(db)
    .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}
