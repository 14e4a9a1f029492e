//! Tickets that were merged into others.

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{merge_invitations, ticket_invitations, ticket_merges, tickets},
    ticket::{ACCOUNT_CHANGES, TicketRow},
};
use crate::domain::{
    clock::Timestamp,
    ids::{TicketId, TicketInvitationId},
    merge::Merge,
    policy::TicketScope,
    ticket::{Status, Ticket, TicketNumber},
};

/// The longest chain of merged tickets that is followed. Each of them was merged by hand.
const MAX_CHAIN: i64 = 1_000;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = ticket_merges)]
struct MergeRow {
    ticket_id: Uuid,
    into_id: Uuid,
    merged_at: Timestamp,
    status: Status,
    waiting_since: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
}

impl From<MergeRow> for Merge {
    fn from(row: MergeRow) -> Self {
        Self {
            ticket_id: TicketId(row.ticket_id),
            into_id: TicketId(row.into_id),
            merged_at: row.merged_at,
            status: row.status,
            waiting_since: row.waiting_since,
            resolved_at: row.resolved_at,
        }
    }
}

/// Stores a merge. The transaction must have locked both tickets.
pub async fn insert(db: &mut Connection, merge: &Merge) -> Result<(), DbError> {
    let row = MergeRow {
        ticket_id: merge.ticket_id.0,
        into_id: merge.into_id.0,
        merged_at: merge.merged_at,
        status: merge.status,
        waiting_since: merge.waiting_since,
        resolved_at: merge.resolved_at,
    };
    diesel::insert_into(ticket_merges::table).values(row).execute(db).await?;
    Ok(())
}

/// Deletes the merge of a ticket. The transaction must have locked both tickets.
pub async fn delete(db: &mut Connection, merge: &Merge) -> Result<(), DbError> {
    diesel::delete(ticket_merges::table.find(merge.ticket_id.0)).execute(db).await?;
    Ok(())
}

/// Returns the merges of those of the tickets that were merged and are in scope.
pub async fn of_tickets(
    db: &mut Connection,
    scope: TicketScope,
    ids: &[TicketId],
) -> Result<Vec<Merge>, DbError> {
    let visible = super::ticket::ids_in_scope(db, scope, ids).await?;
    let rows = ticket_merges::table
        .filter(ticket_merges::ticket_id.eq_any(visible))
        .select(MergeRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Merge::from).collect())
}

/// Returns the merge of a ticket, or `None` if it was not merged.
pub async fn of(db: &mut Connection, id: TicketId) -> Result<Option<Merge>, DbError> {
    let row = ticket_merges::table.find(id.0).select(MergeRow::as_select());
    Ok(row.first(db).await.optional()?.map(Merge::from))
}

/// Returns how many tickets were merged into one.
pub async fn count_into(db: &mut Connection, id: TicketId) -> Result<usize, DbError> {
    let merged = ticket_merges::table.filter(ticket_merges::into_id.eq(id.0));
    let count = merged.count().get_result::<i64>(db).await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

#[derive(QueryableByName)]
struct EndRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Returns the ticket in which a merged one continues: the last of those that were merged into each
/// other. Returns `None` if the ticket was not merged.
pub async fn continues_in(
    db: &mut Connection,
    id: TicketId,
) -> Result<Option<(TicketId, TicketNumber)>, DbError> {
    let rows = diesel::sql_query(
        "WITH RECURSIVE chain (id, depth) AS (
             SELECT into_id, 1::bigint FROM ticket_merges WHERE ticket_id = $1
             UNION ALL
             SELECT m.into_id, c.depth + 1 FROM chain c
             JOIN ticket_merges m ON m.ticket_id = c.id
             WHERE c.depth < $2
         )
         SELECT t.id, t.number FROM chain c JOIN tickets t ON t.id = c.id
         ORDER BY c.depth DESC LIMIT 1",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<BigInt, _>(MAX_CHAIN)
    .load::<EndRow>(db)
    .await?;
    Ok(rows.into_iter().next().map(|end| (TicketId(end.id), TicketNumber(end.number))))
}

#[derive(QueryableByName)]
struct MergedRow {
    #[diesel(sql_type = SqlUuid)]
    merged_into: Uuid,
    #[diesel(embed)]
    ticket: TicketRow,
}

/// Returns the first `limit` tickets that were merged into each of these and are in scope, in the
/// order of their merges, each with the ticket that it was merged into.
pub async fn into_tickets(
    db: &mut Connection,
    scope: TicketScope,
    ids: &[TicketId],
    limit: i64,
) -> Result<Vec<(TicketId, Ticket)>, DbError> {
    let account = match scope {
        TicketScope::Nothing => return Ok(vec![]),
        TicketScope::Of(account) => Some(account.0),
        TicketScope::All => None,
    };
    let rows = diesel::sql_query(format!(
        "SELECT merged.*, {ACCOUNT_CHANGES} FROM unnest($1) AS requested (id)
         CROSS JOIN LATERAL (
             SELECT m.into_id AS merged_into, m.merged_at, t.* FROM ticket_merges m
             JOIN tickets t ON t.id = m.ticket_id
             WHERE m.into_id = requested.id
               AND ($2 IS NULL OR t.reporter_id = $2 OR t.participant_ids @> ARRAY[$2])
             ORDER BY m.merged_at, m.ticket_id
             LIMIT $3
         ) merged
         ORDER BY merged.merged_at, merged.id"
    ))
    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind::<Nullable<SqlUuid>, _>(account)
    .bind::<BigInt, _>(limit)
    .load::<MergedRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| (TicketId(row.merged_into), row.ticket.into())).collect())
}

/// Stores that a merge needs these invitations, which it or an earlier one has created.
pub async fn insert_invitations(
    db: &mut Connection,
    merge: &Merge,
    ids: &[TicketInvitationId],
) -> Result<(), DbError> {
    // Who was invited by a person before stays so.
    let insert = "INSERT INTO merge_invitations (invitation_id, ticket_id, is_requested)
         SELECT id, $2, EXISTS (SELECT FROM merge_invitations m
                                WHERE m.invitation_id = id AND m.is_requested)
         FROM unnest($1) AS new (id)
         ON CONFLICT DO NOTHING";
    diesel::sql_query(insert)
        .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(merge.ticket_id.0)
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets that a merge needs invitations. Returns those of them that nobody needs any more and that
/// are open, oldest first: no other merge does, and no person has invited the address.
pub async fn release_invitations(
    db: &mut Connection,
    merge: &Merge,
    now: Timestamp,
) -> Result<Vec<TicketInvitationId>, DbError> {
    let others = diesel::alias!(merge_invitations as others);
    let needed = others
        .filter(others.field(merge_invitations::invitation_id).eq(merge_invitations::invitation_id))
        .filter(
            others
                .field(merge_invitations::ticket_id)
                .ne(merge.ticket_id.0)
                .or(others.field(merge_invitations::is_requested)),
        );
    let ids = merge_invitations::table
        .inner_join(ticket_invitations::table)
        .filter(merge_invitations::ticket_id.eq(merge.ticket_id.0))
        .filter(ticket_invitations::ticket_id.eq(merge.into_id.0))
        .filter(ticket_invitations::declined_at.is_null())
        .filter(ticket_invitations::expires_at.gt(now))
        .filter(diesel::dsl::not(diesel::dsl::exists(needed)))
        .order((ticket_invitations::created_at, ticket_invitations::id))
        .select(ticket_invitations::id)
        .load::<Uuid>(db)
        .await?;
    let own = merge_invitations::table.filter(merge_invitations::ticket_id.eq(merge.ticket_id.0));
    diesel::delete(own).execute(db).await?;
    Ok(ids.into_iter().map(TicketInvitationId).collect())
}

/// Returns whether an invitation exists because of merges only: no person has invited the address.
pub async fn is_only_reason(db: &mut Connection, id: TicketInvitationId) -> Result<bool, DbError> {
    let rows = merge_invitations::table.filter(merge_invitations::invitation_id.eq(id.0));
    let requested = rows.select(merge_invitations::is_requested).load::<bool>(db).await?;
    Ok(!requested.is_empty() && !requested.contains(&true))
}

/// Returns whether a merge has created an invitation.
pub async fn has_created(db: &mut Connection, id: TicketInvitationId) -> Result<bool, DbError> {
    let rows = merge_invitations::table.filter(merge_invitations::invitation_id.eq(id.0));
    Ok(rows.count().get_result::<i64>(db).await? > 0)
}

/// Stores that a person has invited the address of an invitation too.
pub async fn request(db: &mut Connection, id: TicketInvitationId) -> Result<(), DbError> {
    let rows = merge_invitations::table.filter(merge_invitations::invitation_id.eq(id.0));
    diesel::update(rows).set(merge_invitations::is_requested.eq(true)).execute(db).await?;
    Ok(())
}

/// Returns the merged tickets because of which an invitation exists.
pub async fn tickets_of_invitation(
    db: &mut Connection,
    id: TicketInvitationId,
) -> Result<Vec<TicketId>, DbError> {
    let rows = merge_invitations::table.filter(merge_invitations::invitation_id.eq(id.0));
    let ids = rows.select(merge_invitations::ticket_id).load::<Uuid>(db).await?;
    Ok(ids.into_iter().map(TicketId).collect())
}

/// Stores because of which merged tickets an invitation exists that a person has sent.
pub async fn insert_requested(
    db: &mut Connection,
    id: TicketInvitationId,
    tickets: &[TicketId],
) -> Result<(), DbError> {
    let row = |ticket: &TicketId| {
        (
            merge_invitations::invitation_id.eq(id.0),
            merge_invitations::ticket_id.eq(ticket.0),
            merge_invitations::is_requested.eq(true),
        )
    };
    let rows = tickets.iter().map(row).collect::<Vec<_>>();
    diesel::insert_into(merge_invitations::table).values(rows).execute(db).await?;
    Ok(())
}

/// Returns the addresses of the open invitations to a ticket that merges have created.
pub async fn invited_addresses(
    db: &mut Connection,
    id: TicketId,
    now: Timestamp,
) -> Result<Vec<String>, DbError> {
    let addresses = merge_invitations::table
        .inner_join(ticket_invitations::table)
        .filter(ticket_invitations::ticket_id.eq(id.0))
        .filter(ticket_invitations::declined_at.is_null())
        .filter(ticket_invitations::expires_at.gt(now))
        .select(ticket_invitations::email)
        .distinct();
    Ok(addresses.load(db).await?)
}

/// Returns the number of the merged ticket because of which somebody was invited, or `None` if the
/// invitation has another reason.
pub async fn reason(
    db: &mut Connection,
    id: TicketInvitationId,
) -> Result<Option<TicketNumber>, DbError> {
    let number = merge_invitations::table
        .inner_join(tickets::table)
        .filter(merge_invitations::invitation_id.eq(id.0))
        .order(tickets::number)
        .select(tickets::number);
    Ok(number.first(db).await.optional()?.map(TicketNumber))
}
