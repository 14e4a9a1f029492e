//! Unsubscriptions from a ticket's mails.

use diesel::{
    prelude::*,
    sql_types::{Array, Text},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{mail_unsubscriptions as unsubscriptions, tickets},
    ticket::scope::in_scope,
};
use crate::domain::{account::EmailAddress, clock::Timestamp, ids::TicketId, policy::TicketScope};

/// Returns whether an address has unsubscribed from a ticket, in whatever spelling.
pub async fn exists(db: &mut Connection, ticket: TicketId, address: &str) -> Result<bool, DbError> {
    let spellings = EmailAddress::from_stored(address.to_owned()).spellings();
    let found = unsubscriptions::table
        .filter(unsubscriptions::ticket_id.eq(ticket.0))
        .filter(unsubscriptions::address.eq_any(spellings));
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(db).await?)
}

/// Unsubscribes an address from a ticket. Returns `false` if it already is.
pub async fn insert(
    db: &mut Connection,
    ticket: TicketId,
    address: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let inserted = diesel::insert_into(unsubscriptions::table)
        .values((
            unsubscriptions::ticket_id.eq(ticket.0),
            unsubscriptions::address.eq(address),
            unsubscriptions::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(db)
        .await?;
    Ok(inserted > 0)
}

/// Moves the unsubscriptions of an address to another one.
pub async fn redirect(
    db: &mut Connection,
    from: &EmailAddress,
    to: &EmailAddress,
) -> Result<(), DbError> {
    diesel::sql_query(
        "WITH moved AS (
             DELETE FROM mail_unsubscriptions WHERE address = ANY ($1) AND address <> $2
             RETURNING ticket_id, created_at
         )
         INSERT INTO mail_unsubscriptions (ticket_id, address, created_at)
         SELECT DISTINCT ON (ticket_id) ticket_id, $2, created_at
         FROM moved
         ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Text>, _>(from.spellings())
    .bind::<Text, _>(to.as_str())
    .execute(db)
    .await?;
    Ok(())
}

/// Subscribes addresses to a ticket again. Returns `false` if none is unsubscribed.
pub async fn delete(
    db: &mut Connection,
    ticket: TicketId,
    addresses: &[String],
) -> Result<bool, DbError> {
    let of_ticket = unsubscriptions::table.filter(unsubscriptions::ticket_id.eq(ticket.0));
    let deleted = diesel::delete(of_ticket.filter(unsubscriptions::address.eq_any(addresses)))
        .execute(db)
        .await?;
    Ok(deleted > 0)
}

/// Returns the tickets in scope that one of the addresses has unsubscribed from, the last first.
pub async fn of_addresses(
    db: &mut Connection,
    scope: TicketScope,
    addresses: &[String],
    limit: i64,
) -> Result<Vec<TicketId>, DbError> {
    let visible = in_scope(scope).select(tickets::id);
    let ids = unsubscriptions::table
        .filter(unsubscriptions::address.eq_any(addresses))
        .filter(unsubscriptions::ticket_id.eq_any(visible))
        .order((unsubscriptions::created_at.desc(), unsubscriptions::ticket_id.desc()))
        .limit(limit)
        .select(unsubscriptions::ticket_id)
        .load::<Uuid>(db)
        .await?;
    Ok(ids.into_iter().map(TicketId).collect())
}
