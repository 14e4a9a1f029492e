//! Members of staff who lost access and whose tickets have yet to go back to the queue.

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    id_row::IdRow,
    schema::former_staff,
    ticket::{ACCOUNT_CHANGES, TicketRow},
};
use crate::domain::{
    clock::Timestamp,
    ids::{AccountId, TicketId},
    ticket::Ticket,
};

/// Records that an account lost access through `actor`, or through the operator.
pub async fn insert(
    db: &mut Connection,
    account: AccountId,
    actor: Option<AccountId>,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::insert_into(former_staff::table)
        .values((
            former_staff::account_id.eq(account.0),
            former_staff::actor_id.eq(actor.map(|id| id.0)),
            former_staff::since.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(db)
        .await?;
    Ok(())
}

/// Records the accounts without access that tickets are still assigned to, if there is no record: a
/// node of the version before records none. Finds each assignee by the index on them, without
/// reading all tickets.
pub async fn insert_missing(db: &mut Connection, now: Timestamp) -> Result<(), DbError> {
    diesel::sql_query(
        "INSERT INTO former_staff (account_id, since)
         WITH RECURSIVE assignees (id) AS (
             (SELECT assignee_id FROM queue_entries WHERE assignee_id IS NOT NULL
              ORDER BY assignee_id LIMIT 1)
             UNION ALL
             SELECT (SELECT q.assignee_id FROM queue_entries q WHERE q.assignee_id > s.id
                     ORDER BY q.assignee_id LIMIT 1)
             FROM assignees s WHERE s.id IS NOT NULL
         )
         SELECT a.id, $1
         FROM assignees s JOIN accounts a ON a.id = s.id
         WHERE (a.role = 'customer' OR a.disabled_at IS NOT NULL)
           AND EXISTS (SELECT FROM queue_entries q
                       WHERE q.assignee_id = a.id AND q.status <> 'closed')
         ON CONFLICT DO NOTHING",
    )
    .bind::<Timestamptz, _>(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Returns up to `limit` accounts whose tickets have yet to go back, the first ones first.
pub async fn pending(db: &mut Connection, limit: i64) -> Result<Vec<AccountId>, DbError> {
    let ids = former_staff::table
        .order((former_staff::since, former_staff::account_id))
        .select(former_staff::account_id)
        .limit(limit)
        .load::<Uuid>(db)
        .await?;
    Ok(ids.into_iter().map(AccountId).collect())
}

/// Locks the record of an account until the transaction ends. Returns who took its access, or
/// `None` if there is no record any more.
pub async fn lock(
    db: &mut Connection,
    account: AccountId,
) -> Result<Option<Option<AccountId>>, DbError> {
    let row = former_staff::table.find(account.0).select(former_staff::actor_id).for_update();
    let actor = row.first::<Option<Uuid>>(db).await.optional()?;
    Ok(actor.map(|actor| actor.map(AccountId)))
}

/// Deletes the record of an account.
pub async fn delete(db: &mut Connection, account: AccountId) -> Result<(), DbError> {
    diesel::delete(former_staff::table.find(account.0)).execute(db).await?;
    Ok(())
}

/// Returns up to `limit` tickets that are assigned to an account and not closed, by their ids: those that
/// follow `after`.
pub async fn assigned_to(
    db: &mut Connection,
    account: AccountId,
    after: Option<TicketId>,
    limit: usize,
) -> Result<Vec<TicketId>, DbError> {
    let rows = diesel::sql_query(
        "SELECT t.id FROM queue_entries q JOIN tickets t ON t.id = q.ticket_id
         WHERE q.assignee_id = $1 AND q.status <> 'closed'
           AND t.assignee_id = $1 AND t.status <> 'closed'
           AND ($2 IS NULL OR q.ticket_id > $2)
         ORDER BY q.ticket_id
         LIMIT $3",
    )
    .bind::<SqlUuid, _>(account.0)
    .bind::<Nullable<SqlUuid>, _>(after.map(|id| id.0))
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
    .load::<IdRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| TicketId(row.id)).collect())
}

/// Returns those of the tickets that are assigned to an account and not closed, and locks them until
/// the transaction ends.
pub async fn lock_tickets(
    db: &mut Connection,
    account: AccountId,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, DbError> {
    // As in `closing`, the locked row decides.
    let rows = diesel::sql_query(format!(
        "SELECT t.*, {ACCOUNT_CHANGES} FROM tickets t
         WHERE t.id = ANY ($2) AND t.assignee_id = $1 AND t.status <> 'closed'
         ORDER BY t.id FOR NO KEY UPDATE OF t"
    ))
    .bind::<SqlUuid, _>(account.0)
    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .load::<TicketRow>(db)
    .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}
