//! Tickets.

use std::collections::HashSet;

use diesel::{
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{Array, Bool, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{sql_types::TicketPriority, tickets},
    search,
    union::Union,
    unread::{self, LatestEvents},
};
use crate::domain::{
    clock::Timestamp,
    ids::{AccountId, CategoryId, TicketId},
    page::{Direction, Page, Slice},
    policy::TicketScope,
    queue::{TicketCount, TicketFilter, TicketSelection},
    ticket::{Priority, Status, Ticket, TicketNumber},
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
    description: String,
    status: Status,
    priority: Priority,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    waiting_since: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    follow_up_to_id: Option<Uuid>,
}

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
            description: row.description,
            status: row.status,
            priority: row.priority,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            waiting_since: row.waiting_since,
            resolved_at: row.resolved_at,
            follow_up_to: row.follow_up_to_id.map(TicketId),
        }
    }
}

/// The accounts of an array; no element of ours is null.
pub(super) fn accounts(ids: Vec<Option<Uuid>>) -> Vec<AccountId> {
    ids.into_iter().flatten().map(AccountId).collect()
}

/// Accounts as an array's elements.
pub(super) fn uuids(accounts: &[AccountId]) -> Vec<Uuid> {
    accounts.iter().map(|id| id.0).collect()
}

/// What a list is sorted by; equal tickets follow in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketSort {
    /// When they were opened.
    CreatedAt,
    /// When something last changed that the customer can see.
    UpdatedAt,
    /// From lowest to highest.
    Priority,
    /// Since when they wait for support; those that don't come last, in either direction.
    WaitingSince,
}

/// A ticket's place in a sorted list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketKey {
    /// In a list by the time of opening or of the last change.
    Time(Timestamp, TicketId),
    /// In a list by priority.
    Priority(Priority, TicketId),
    /// In a list by waiting; `None`: among those that don't.
    Waiting(Option<Timestamp>, TicketId),
}

impl TicketKey {
    /// The place of a ticket.
    pub fn of(ticket: &Ticket, sort: TicketSort) -> Self {
        match sort {
            TicketSort::CreatedAt => Self::Time(ticket.created_at, ticket.id),
            TicketSort::UpdatedAt => Self::Time(ticket.updated_at, ticket.id),
            TicketSort::Priority => Self::Priority(ticket.priority, ticket.id),
            TicketSort::WaitingSince => Self::Waiting(ticket.waiting_since, ticket.id),
        }
    }
}

pub(super) type Tickets<'a> = tickets::BoxedQuery<'a, Pg>;

pub(super) fn in_scope<'a>(scope: TicketScope) -> Tickets<'a> {
    let all = tickets::table.into_boxed();
    match scope {
        TicketScope::All => all,
        TicketScope::Of(account) => all.filter(
            tickets::reporter_id
                .eq(account.0)
                .or(tickets::participant_ids.contains(vec![account.0])),
        ),
        TicketScope::Nothing => all.filter(sql::<Bool>("false")),
    }
}

/// A page of the tickets in scope, by keyset.
pub async fn page(
    db: &mut Connection,
    scope: TicketScope,
    selection: &TicketSelection,
    sort: TicketSort,
    descending: bool,
    page: &Page<TicketKey>,
) -> Result<Slice<Ticket>, DbError> {
    // Parts, each with an index of its own: one condition for all of them would have none.
    let parts = match scope {
        TicketScope::Of(account) => {
            let own = tickets::table.filter(tickets::reporter_id.eq(account.0)).into_boxed();
            vec![(own, selection.clone()), (shared_with(account), selection.clone())]
        }
        TicketScope::All if sort == TicketSort::UpdatedAt => {
            let parts = by_state(selection).into_iter();
            parts.map(|selection| (in_scope(scope), selection)).collect()
        }
        TicketScope::All | TicketScope::Nothing => vec![(in_scope(scope), selection.clone())],
    };
    let column = column(sort, descending);
    // What can be asked in few ways, each with an index for it, is planned once.
    let known = parts.len() <= KNOWN_PARTS && parts.iter().all(|(_, part)| is_indexed(part, sort));
    let parts = parts.into_iter().map(|(all, selection)| {
        let conditions = conditions(&selection, scope == TicketScope::All);
        let part = conditions.into_iter().fold(all, QueryDsl::filter);
        part_of_page(part, column, descending, page).select(TicketRow::as_select())
    });
    let union = Union {
        name: "tickets",
        parts: parts.collect(),
        order: order(column, descending != (page.direction == Direction::Backward)),
        limit: page.fetch_limit(),
    };
    let rows: Vec<TicketRow> = union.prepared_if(known).load(db).await?;
    Ok(page.slice(rows.into_iter().map(Ticket::from).collect()))
}

/// The most parts of a list that is planned once.
const KNOWN_PARTS: usize = 3;
/// The most parts that a list is split into.
const MAX_PARTS: usize = 12;

/// Splits a selection by status and category, so that an index gives the tickets of each
/// part in the order in which they were changed; not where something else narrows it more.
fn by_state(selection: &TicketSelection) -> Vec<TicketSelection> {
    let TicketFilter { statuses, categories, assignee, reporter, .. } = &selection.filter;
    let statuses = statuses.iter().flatten().copied().collect::<HashSet<_>>();
    let categories = match categories {
        Some(categories) => categories.iter().copied().map(Some).collect::<HashSet<_>>(),
        None => HashSet::from([None]),
    };
    let narrowed = assignee.is_some() || reporter.is_some() || selection.search.is_some();
    if narrowed || !(2..=MAX_PARTS).contains(&(statuses.len() * categories.len())) {
        return vec![selection.clone()];
    }
    let part = |status, category: Option<CategoryId>| {
        let mut part = selection.clone();
        part.filter.statuses = Some(vec![status]);
        part.filter.categories = category.map(|category| vec![category]);
        part
    };
    let of_status = |status| categories.iter().map(move |&category| part(status, category));
    statuses.into_iter().flat_map(of_status).collect()
}

/// Whether an index gives all of a selection, and nothing else, in the order of a list.
fn is_indexed(selection: &TicketSelection, sort: TicketSort) -> bool {
    let TicketSelection { filter, waiting_since: None, search: None, unread: None } = selection
    else {
        return false;
    };
    let TicketFilter { statuses, priorities: None, categories, assignee: None, reporter: None } =
        filter
    else {
        return false;
    };
    match (statuses.as_deref(), categories.as_deref()) {
        (None, None) => true,
        (Some([_]), None | Some([_])) => sort == TicketSort::UpdatedAt,
        _ => false,
    }
}

/// The tickets that an account takes part in and did not open: found by themselves, so
/// that the order of a list is no reason to look through all tickets for them.
fn shared_with<'a>(account: AccountId) -> Tickets<'a> {
    let found = sql::<Bool>(
        "tickets.id = ANY (ARRAY(SELECT shared.id FROM tickets shared
             WHERE shared.participant_ids <> '{}' AND shared.participant_ids @> ARRAY[",
    );
    tickets::table.filter(found.bind::<SqlUuid, _>(account.0).sql("]))")).into_boxed()
}

/// As much of a query's tickets as a page needs, in its order.
fn part_of_page<'a>(
    mut query: Tickets<'a>,
    column: &str,
    descending: bool,
    page: &Page<TicketKey>,
) -> Tickets<'a> {
    if let Some(key) = page.after {
        query = seek(query, column, if descending { "<" } else { ">" }, key);
    }
    if let Some(key) = page.before {
        query = seek(query, column, if descending { ">" } else { "<" }, key);
    }
    let backward = page.direction == Direction::Backward;
    query.order(sql::<Bool>(&order(column, descending != backward))).limit(page.fetch_limit())
}

/// How many of all tickets there are of each category and status.
pub async fn counts(
    db: &mut Connection,
    selection: &TicketSelection,
) -> Result<Vec<TicketCount>, DbError> {
    let all = tickets::table
        .group_by((tickets::category_id, tickets::status))
        .select((tickets::category_id, tickets::status, diesel::dsl::count_star()))
        .into_boxed();
    let rows = conditions(selection, true)
        .into_iter()
        .fold(all, QueryDsl::filter)
        .load::<(Uuid, Status, i64)>(db)
        .await?;
    let count =
        |(category, status, count)| TicketCount { category: CategoryId(category), status, count };
    Ok(rows.into_iter().map(count).collect())
}

pub(super) type Condition = Box<dyn BoxableExpression<tickets::table, Pg, SqlType = Bool>>;

/// What a selection asks of tickets. `internal`: its words are looked for in notes too.
fn conditions(selection: &TicketSelection, internal: bool) -> Vec<Condition> {
    let TicketSelection { filter, waiting_since, search, unread } = selection;
    let mut all: Vec<Condition> = Vec::new();
    // An index gives the rows of one value in order, and those of several values in none.
    match filter.statuses.as_deref() {
        Some(&[status]) => all.push(Box::new(tickets::status.eq(status))),
        Some(statuses) => all.push(Box::new(tickets::status.eq_any(statuses.to_vec()))),
        None => {}
    }
    match filter.priorities.as_deref() {
        Some(&[priority]) => all.push(Box::new(tickets::priority.eq(priority))),
        Some(priorities) => all.push(Box::new(tickets::priority.eq_any(priorities.to_vec()))),
        None => {}
    }
    match filter.categories.as_deref() {
        Some(&[category]) => all.push(Box::new(tickets::category_id.eq(category.0))),
        Some(categories) => {
            let ids = categories.iter().map(|id| id.0).collect::<Vec<_>>();
            all.push(Box::new(tickets::category_id.eq_any(ids)));
        }
        None => {}
    }
    if let Some(reporter) = filter.reporter {
        all.push(Box::new(tickets::reporter_id.eq(reporter.0)));
    }
    match filter.assignee {
        Some(Some(id)) => all.push(Box::new(tickets::assignee_id.eq(id.0).assume_not_null())),
        Some(None) => all.push(Box::new(tickets::assignee_id.is_null())),
        None => {}
    }
    if let Some(time) = *waiting_since {
        let waiting = sql::<Bool>("coalesce(tickets.waiting_since, 'infinity') <= ");
        all.push(Box::new(waiting.bind::<Timestamptz, _>(time)));
    }
    if let Some((reader, is_unread)) = *unread {
        all.push(unread::is_unread(reader, is_unread));
    }
    if let Some(search_query) = search {
        all.push(search::fits(search_query, internal));
    }
    all
}

/// What a list is sorted by, as an index has it: who waits comes first in either direction.
fn column(sort: TicketSort, descending: bool) -> &'static str {
    match (sort, descending) {
        (TicketSort::CreatedAt, _) => "tickets.created_at",
        (TicketSort::UpdatedAt, _) => "tickets.updated_at",
        (TicketSort::Priority, _) => "tickets.priority",
        (TicketSort::WaitingSince, false) => "coalesce(tickets.waiting_since, 'infinity')",
        (TicketSort::WaitingSince, true) => "coalesce(tickets.waiting_since, '-infinity')",
    }
}

/// Those before or after a key: a row comparison, which one index range answers.
fn seek<'a>(query: Tickets<'a>, column: &str, operator: &str, key: TicketKey) -> Tickets<'a> {
    let row = sql::<Bool>(&format!("({column}, tickets.id) {operator} ("));
    match key {
        TicketKey::Time(time, id) | TicketKey::Waiting(Some(time), id) => query
            .filter(row.bind::<Timestamptz, _>(time).sql(", ").bind::<SqlUuid, _>(id.0).sql(")")),
        TicketKey::Priority(priority, id) => query.filter(
            row.bind::<TicketPriority, _>(priority).sql(", ").bind::<SqlUuid, _>(id.0).sql(")"),
        ),
        // The value that the column has for who doesn't wait.
        TicketKey::Waiting(None, id) => {
            let none = column.replace("tickets.waiting_since", "NULL::timestamptz");
            query.filter(row.sql(&none).sql(", ").bind::<SqlUuid, _>(id.0).sql(")"))
        }
    }
}

fn order(column: &str, descending: bool) -> String {
    let direction = if descending { "DESC" } else { "ASC" };
    format!("{column} {direction}, tickets.id {direction}")
}

/// The tickets in scope of some ids, in no order; others are left out.
pub async fn by_ids(
    db: &mut Connection,
    scope: TicketScope,
    ids: &[TicketId],
) -> Result<Vec<Ticket>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    // Asked so that Postgres can't tell how many ids there are, it plans this once.
    let requested = sql::<Bool>("tickets.id = ANY (ARRAY(SELECT unnest(");
    let rows = in_scope(scope)
        .filter(requested.bind::<Array<SqlUuid>, _>(ids).sql(")))"))
        .select(TicketRow::as_select())
        .prepared()
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}

/// Whether the ticket of an id is in scope.
pub async fn is_in_scope(
    db: &mut Connection,
    scope: TicketScope,
    id: TicketId,
) -> Result<bool, DbError> {
    let found = in_scope(scope).filter(tickets::id.eq(id.0)).select(tickets::id);
    Ok(found.first::<Uuid>(db).await.optional()?.is_some())
}

/// The ticket in scope of a number.
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

/// The tickets of some ids, each locked as [`lock`] does, in the order of their ids: who
/// locks several can't block others who do. Unknown ids are left out.
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

/// The ticket of an id, locked until the transaction ends: every writer of a
/// ticket takes this lock first. It is the weakest lock that excludes other
/// writers, so that rows that refer to the ticket can be added beside it.
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

/// Keeps the participants of some tickets as they are until the transaction ends, and
/// gives the tickets. In the order of their ids, as all do who lock several.
pub async fn lock_shared(db: &mut Connection, ids: &[TicketId]) -> Result<Vec<Ticket>, DbError> {
    let rows = tickets::table
        .filter(tickets::id.eq_any(ids.iter().map(|id| id.0)))
        .order(tickets::id)
        .select(TicketRow::as_select())
        .for_share()
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}

/// The next ticket number. A number whose transaction rolls back is not used again.
pub async fn next_number(db: &mut Connection) -> Result<TicketNumber, DbError> {
    let number = diesel::select(sql::<diesel::sql_types::BigInt>("nextval('ticket_numbers')"))
        .get_result(db)
        .await?;
    Ok(TicketNumber(number))
}

/// Makes sure that the next number is at least `first`; numbers never go back.
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

/// Adds a ticket.
pub async fn insert(db: &mut Connection, ticket: &Ticket) -> Result<(), DbError> {
    diesel::insert_into(tickets::table)
        .values((
            tickets::id.eq(ticket.id.0),
            tickets::number.eq(ticket.number.0),
            tickets::category_id.eq(ticket.category_id.0),
            tickets::reporter_id.eq(ticket.reporter_id.0),
            tickets::participant_ids.eq(uuids(&ticket.participant_ids)),
            tickets::past_participant_ids.eq(uuids(&ticket.past_participant_ids)),
            tickets::assignee_id.eq(ticket.assignee_id.map(|id| id.0)),
            tickets::summary.eq(&ticket.summary),
            tickets::description.eq(&ticket.description),
            tickets::status.eq(ticket.status),
            tickets::priority.eq(ticket.priority),
            tickets::version.eq(ticket.version),
            tickets::created_at.eq(ticket.created_at),
            tickets::updated_at.eq(ticket.updated_at),
            tickets::waiting_since.eq(ticket.waiting_since),
            tickets::resolved_at.eq(ticket.resolved_at),
            tickets::follow_up_to_id.eq(ticket.follow_up_to.map(|id| id.0)),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Writes what can change about a locked ticket, with latest of it; gives the place of the last
/// of its events. One statement, as each has to write all the indexes.
pub(super) async fn update(
    db: &mut Connection,
    ticket: &Ticket,
    latest: &LatestEvents,
) -> Result<i64, DbError> {
    let state = (
        tickets::category_id.eq(ticket.category_id.0),
        tickets::assignee_id.eq(ticket.assignee_id.map(|id| id.0)),
        tickets::participant_ids.eq(uuids(&ticket.participant_ids)),
        tickets::past_participant_ids.eq(uuids(&ticket.past_participant_ids)),
        tickets::summary.eq(&ticket.summary),
        tickets::status.eq(ticket.status),
        tickets::priority.eq(ticket.priority),
        tickets::version.eq(ticket.version),
        tickets::updated_at.eq(ticket.updated_at),
        tickets::waiting_since.eq(ticket.waiting_since),
        tickets::resolved_at.eq(ticket.resolved_at),
    );
    let place = diesel::update(tickets::table.find(ticket.id.0))
        .set((state, unread::latest_event_columns(latest)))
        .returning(tickets::event_seq)
        .prepared()
        .get_result(db)
        .await?;
    Ok(place)
}
