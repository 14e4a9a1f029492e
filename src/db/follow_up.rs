//! Follow-ups: tickets that continue closed ones.

use diesel::sql_types::{Array, BigInt, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use super::{
    Connection, DbError,
    ticket::{ACCOUNT_CHANGES, TicketRow},
};
use crate::domain::{ids::TicketId, policy::TicketScope, ticket::Ticket};

/// Returns the first `limit` follow-ups of each ticket that are in scope, oldest first.
pub async fn of_tickets(
    db: &mut Connection,
    scope: TicketScope,
    ids: &[TicketId],
    limit: i64,
) -> Result<Vec<Ticket>, DbError> {
    let account = match scope {
        TicketScope::Nothing => return Ok(vec![]),
        TicketScope::Of(account) => Some(account.0),
        TicketScope::All => None,
    };
    let rows = diesel::sql_query(format!(
        "SELECT f.*, {ACCOUNT_CHANGES} FROM unnest($1) AS requested (id)
         CROSS JOIN LATERAL (
             SELECT * FROM tickets
             WHERE follow_up_to_id = requested.id
               AND ($2 IS NULL OR reporter_id = $2 OR participant_ids @> ARRAY[$2])
             ORDER BY created_at, id
             LIMIT $3
         ) f
         ORDER BY f.created_at, f.id"
    ))
    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind::<Nullable<SqlUuid>, _>(account)
    .bind::<BigInt, _>(limit)
    .load::<TicketRow>(db)
    .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}
