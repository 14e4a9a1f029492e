//! Resolved tickets that are due to be closed.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{Connection, DbError, schema::tickets, ticket::TicketRow};
use crate::domain::{
    clock::Timestamp,
    ticket::{Status, Ticket},
};

/// Returns up to `limit` tickets that were resolved at `until` or earlier, oldest first, and locks
/// them until the transaction ends. Tickets that are locked by others are skipped.
pub async fn lock_resolved(
    db: &mut Connection,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Ticket>, DbError> {
    let rows = tickets::table
        .filter(tickets::status.eq(Status::Resolved))
        .filter(tickets::resolved_at.le(until))
        .order((tickets::resolved_at, tickets::id))
        .limit(limit)
        .select(TicketRow::as_select())
        .for_no_key_update()
        .skip_locked()
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}
