//! Tickets.

pub mod list;
mod queue;
pub(super) mod scope;
pub mod state;

use diesel::{
    dsl::{AsSelect, Select, SingleValue, sql},
    expression::{ValidGrouping, is_aggregate},
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Bool, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use self::scope::{Condition, in_scope};
use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{account_changes, tickets},
    text::LongText,
};
use crate::domain::{
    account::AccountChangeCount,
    clock::Timestamp,
    ids::{AccountId, CategoryId, CommentId, TicketId},
    policy::TicketScope,
    ticket::{LastComments, Priority, Status, Ticket, TicketNumber},
};

#[derive(Queryable, QueryableByName, Selectable)]
#[diesel(table_name = tickets)]
pub(super) struct TicketRow {
    id: Uuid,
    number: i64,
    category_id: Uuid,
    reporter_id: Uuid,
    participant_ids: Vec<Option<Uuid>>,
    past_participant_ids: Vec<Option<Uuid>>,
    assignee_id: Option<Uuid>,
    summary: String,
    description: LongText,
    status: Status,
    priority: Priority,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    waiting_since: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    follow_up_to_id: Option<Uuid>,
    event_seq: i64,
    last_comment_id: Option<Uuid>,
    last_public_comment_id: Option<Uuid>,
    last_comments_seq: Option<i64>,
    #[diesel(select_expression = account_changes::table.select(account_changes::number).single_value())]
    #[diesel(select_expression_type = SingleValue<Select<account_changes::table, account_changes::number>>)]
    #[diesel(sql_type = Nullable<BigInt>)]
    account_changes: Option<i64>,
}

/// The columns of a [`TicketRow`], in its order. Diesel would put this text together again for each
/// statement, which takes longer than everything else about it.
const TICKET_COLUMNS: &str = "tickets.id, tickets.number, tickets.category_id, tickets.reporter_id, \
    tickets.participant_ids, tickets.past_participant_ids, tickets.assignee_id, tickets.summary, \
    tickets.description, tickets.status, tickets.priority, tickets.version, tickets.created_at, \
    tickets.updated_at, tickets.waiting_since, tickets.resolved_at, tickets.follow_up_to_id, \
    tickets.event_seq, tickets.last_comment_id, tickets.last_public_comment_id, \
    tickets.last_comments_seq, \
    (SELECT account_changes.number FROM account_changes LIMIT 1)";

/// Selects a [`TicketRow`].
#[derive(Clone, Copy, QueryId)]
struct TicketColumns;

impl Expression for TicketColumns {
    type SqlType = <AsSelect<TicketRow, Pg> as Expression>::SqlType;
}

impl QueryFragment<Pg> for TicketColumns {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(TICKET_COLUMNS);
        Ok(())
    }
}

impl ValidGrouping<()> for TicketColumns {
    type IsAggregate = is_aggregate::No;
}

impl AppearsOnTable<tickets::table> for TicketColumns {}

impl SelectableExpression<tickets::table> for TicketColumns {}

/// The column `account_changes` of a [`TicketRow`] in raw SQL.
pub(super) const ACCOUNT_CHANGES: &str = "(SELECT number FROM account_changes) AS account_changes";

impl From<TicketRow> for Ticket {
    fn from(row: TicketRow) -> Self {
        Self {
            id: TicketId(row.id),
            number: TicketNumber(row.number),
            category_id: CategoryId(row.category_id),
            reporter_id: AccountId(row.reporter_id),
            participant_ids: accounts(row.participant_ids),
            past_participant_ids: accounts(row.past_participant_ids),
            assignee_id: row.assignee_id.map(AccountId),
            summary: row.summary,
            description: row.description.0,
            status: row.status,
            priority: row.priority,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            waiting_since: row.waiting_since,
            resolved_at: row.resolved_at,
            follow_up_to: row.follow_up_to_id.map(TicketId),
            events: row.event_seq,
            last_comments: (row.last_comments_seq == Some(row.event_seq)).then(|| LastComments {
                any: row.last_comment_id.map(CommentId),
                public: row.last_public_comment_id.map(CommentId),
            }),
            account_changes: row.account_changes.map(AccountChangeCount),
        }
    }
}

/// Converts an array of account ids from the database. Its elements are never null.
pub(super) fn accounts(ids: Vec<Option<Uuid>>) -> Vec<AccountId> {
    ids.into_iter().flatten().map(AccountId).collect()
}

/// Returns the tickets with these ids that are in scope, in any order.
pub async fn by_ids(
    db: &mut Connection,
    scope: TicketScope,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, DbError> {
    let query = in_scope(scope).filter(requested(ids)).select(TicketColumns);
    let rows = query.prepared().load(db).await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}

/// Returns the condition that selects tickets by their ids. The nested `unnest` hides their number
/// from the planner, so that one generic plan is reused.
fn requested(ids: &[TicketId]) -> Condition {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let requested = sql::<Bool>("tickets.id = ANY (ARRAY(SELECT unnest(");
    Box::new(requested.bind::<Array<SqlUuid>, _>(ids).sql(")))"))
}

/// Returns those of the ids whose tickets are in scope.
pub(super) async fn ids_in_scope(
    db: &mut Connection,
    scope: TicketScope,
    ids: &[TicketId],
) -> Result<Vec<Uuid>, DbError> {
    let requested = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let found = in_scope(scope).filter(tickets::id.eq_any(requested)).select(tickets::id);
    Ok(found.load(db).await?)
}

/// Returns whether the ticket with an id is in scope.
pub async fn is_in_scope(
    db: &mut Connection,
    scope: TicketScope,
    id: TicketId,
) -> Result<bool, DbError> {
    let found = in_scope(scope).filter(tickets::id.eq(id.0)).select(tickets::id);
    Ok(found.first::<Uuid>(db).await.optional()?.is_some())
}

/// Returns the ticket with a number, if it is in scope.
pub async fn by_number(
    db: &mut Connection,
    scope: TicketScope,
    number: TicketNumber,
) -> Result<Option<Ticket>, DbError> {
    let row = in_scope(scope)
        .filter(tickets::number.eq(number.0))
        .select(TicketRow::as_select())
        .first(db)
        .await
        .optional()?;
    Ok(row.map(Ticket::from))
}

/// Returns the tickets with these ids and locks each like [`lock`]. Rows are locked in the order of
/// their ids, so that callers who lock several tickets cannot deadlock. Unknown ids are skipped.
pub async fn lock_all(db: &mut Connection, ids: &[TicketId]) -> Result<Vec<Ticket>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let rows = tickets::table
        .filter(tickets::id.eq_any(ids))
        .order(tickets::id)
        .for_no_key_update()
        .select(TicketRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}

/// Returns the ticket with an id and locks it until the transaction ends. Every writer of a ticket
/// takes this lock first. It is the weakest lock that excludes other writers, so that rows that
/// refer to the ticket can still be inserted.
pub async fn lock(db: &mut Connection, id: TicketId) -> Result<Option<Ticket>, DbError> {
    let row = tickets::table
        .find(id.0)
        .select(TicketRow::as_select())
        .for_no_key_update()
        .first(db)
        .await
        .optional()?;
    Ok(row.map(Ticket::from))
}

/// Prevents changes to a ticket until the transaction ends.
pub async fn lock_shared(db: &mut Connection, id: TicketId) -> Result<(), DbError> {
    diesel::sql_query("SELECT FROM tickets WHERE id = $1 FOR SHARE")
        .bind::<SqlUuid, _>(id.0)
        .prepared()
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the tickets with these ids and prevents the removal of their participants until the
/// transaction ends: see [`lock_participants`]. Rows are locked in the order of their ids, like in
/// [`lock_all`].
///
/// Other writers wait for this lock too: a node of the version before removes participants under the
/// lock of [`lock`].
pub async fn keep_participants(
    db: &mut Connection,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, DbError> {
    let rows = tickets::table
        .filter(tickets::id.eq_any(ids.iter().map(|id| id.0)))
        .order(tickets::id)
        .select(TicketRow::as_select())
        .for_share()
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}

/// Locks a ticket like [`lock`], and waits for the transactions that have called
/// [`keep_participants`] too. Call this to remove a participant.
pub async fn lock_participants(
    db: &mut Connection,
    id: TicketId,
) -> Result<Option<Ticket>, DbError> {
    let row = tickets::table
        .find(id.0)
        .select(TicketRow::as_select())
        .for_update()
        .first(db)
        .await
        .optional()?;
    Ok(row.map(Ticket::from))
}

/// Ensures that the next ticket number is at least `first`. Numbers never decrease.
pub async fn start_numbers_at(db: &mut Connection, first: i64) -> Result<(), DbError> {
    diesel::sql_query(
        "SELECT setval('ticket_numbers', $1, false) FROM ticket_numbers
         WHERE last_value + is_called::int < $1",
    )
    .bind::<diesel::sql_types::BigInt, _>(first)
    .execute(db)
    .await?;
    Ok(())
}

/// Sets the description of a locked ticket.
pub async fn set_description(db: &mut Connection, ticket: &Ticket) -> Result<(), DbError> {
    diesel::update(tickets::table.find(ticket.id.0))
        .set(tickets::description.eq(&ticket.description))
        .execute(db)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_a_ticket_are_those_of_its_row() {
        let statement = tickets::table.select(TicketRow::as_select());
        let statement = diesel::debug_query::<Pg, _>(&statement).to_string();
        let statement = statement.replace('"', "").replace("$1", "1");
        let expected = format!("SELECT {TICKET_COLUMNS} FROM tickets");
        assert!(statement.starts_with(&expected), "{statement}");
    }
}
