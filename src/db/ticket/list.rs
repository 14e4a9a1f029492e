//! Pages of sorted and filtered ticket lists, and counts of tickets.

use std::collections::HashSet;

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Integer, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    super::{
        Connection, DbError,
        prepared::Prepare as _,
        schema::{sql_types::TicketPriority, tickets},
        search,
        union::{Counts, Union},
        unread,
    },
    TicketColumns, TicketRow,
    scope::{Condition, Tickets, in_scope},
    state::{self, PageState, RowVersion},
};
use crate::domain::{
    ids::{AccountId, CategoryId},
    page::{Direction, Page, Slice},
    policy::TicketScope,
    ticket::{Status, Ticket},
    ticket_filter::{TicketCount, TicketFilter, TicketListFilter},
    ticket_list::{TicketKey, TicketListOrder, TicketSort},
};

/// Returns a page of the tickets in scope, with keyset pagination, and the state in which it was
/// read.
pub async fn page(
    db: &mut Connection,
    scope: TicketScope,
    selection: &TicketListFilter,
    list_order: TicketListOrder,
    page: &Page<TicketKey>,
) -> Result<(Slice<Ticket>, PageState), DbError> {
    let TicketListOrder { sort, descending } = list_order;
    // Each part can use an index. A single condition that covers all parts could not.
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
    // These queries have few variants, and an index fits each of them, so a generic plan is good.
    let cached =
        parts.len() <= MAX_CACHED_PARTS && parts.iter().all(|(_, part)| is_indexed(part, sort));
    let parts = parts.into_iter().map(|(all, selection)| {
        let conditions = conditions(&selection, scope == TicketScope::All);
        let part = conditions.into_iter().fold(all, QueryDsl::filter);
        part_of_page(part, column, descending, page).select((TicketColumns, state::row_version()))
    });
    let union = Union {
        name: "tickets",
        parts: parts.collect(),
        order: order(column, list_order.reads_descending(page.direction)),
        limit: page.fetch_limit(),
    };
    let rows: Vec<(TicketRow, RowVersion)> = union.prepared_if(cached).load(db).await?;
    let state = PageState::of(&rows);
    let tickets = rows.into_iter().map(|(row, _)| Ticket::from(row));
    Ok((page.slice(tickets.collect()), state))
}

/// The maximum number of parts of a cached statement.
const MAX_CACHED_PARTS: usize = 5;
/// The maximum number of parts that a list is split into.
const MAX_PARTS: usize = 12;

/// Splits a selection by status and category, so that an index returns the tickets of each part in
/// the order of their last change. No index has the tickets of all statuses in that order. Does not
/// split if another condition narrows the list more.
fn by_state(selection: &TicketListFilter) -> Vec<TicketListFilter> {
    let TicketFilter { statuses, categories, assignee, reporter, .. } = &selection.filter;
    if assignee.is_some() || reporter.is_some() || selection.search.is_some() {
        return vec![selection.clone()];
    }
    let statuses = statuses.as_deref().unwrap_or(&Status::ALL);
    let statuses = statuses.iter().copied().collect::<HashSet<_>>();
    let mut categories = match categories {
        Some(categories) => categories.iter().copied().map(Some).collect::<HashSet<_>>(),
        None => HashSet::from([None]),
    };
    if statuses.is_empty() || categories.is_empty() {
        return vec![selection.clone()];
    }
    if statuses.len() * categories.len() > MAX_PARTS {
        categories = HashSet::from([None]);
    }
    let part = |status, category: Option<CategoryId>| {
        let mut part = selection.clone();
        part.filter.statuses = Some(vec![status]);
        if let Some(category) = category {
            part.filter.categories = Some(vec![category]);
        }
        part
    };
    let of_status = |status| categories.iter().map(move |&category| part(status, category));
    statuses.into_iter().flat_map(of_status).collect()
}

/// Returns whether an index contains exactly the tickets of a selection, in the order of the list.
fn is_indexed(selection: &TicketListFilter, sort: TicketSort) -> bool {
    let TicketListFilter { filter, waiting_since: None, search: None, unread: None } = selection
    else {
        return false;
    };
    let TicketFilter {
        statuses,
        priorities: None,
        categories,
        assignee: None,
        unless_assigned_to: None,
        reporter: None,
    } = filter
    else {
        return false;
    };
    match (statuses.as_deref(), categories.as_deref()) {
        (None, None) => true,
        (Some([_]), None | Some([_])) => sort == TicketSort::UpdatedAt,
        _ => false,
    }
}

/// Returns a query for the tickets that an account takes part in. They are found in a subquery, so
/// that the planner does not scan all tickets in the order of the list to find them.
fn shared_with<'a>(account: AccountId) -> Tickets<'a> {
    let found = sql::<Bool>(
        "tickets.id = ANY (ARRAY(SELECT shared.id FROM tickets shared
             WHERE shared.participant_ids <> '{}' AND shared.participant_ids @> ARRAY[",
    );
    tickets::table.filter(found.bind::<SqlUuid, _>(account.0).sql("]))")).into_boxed()
}

/// Limits a query to the tickets that a page needs, in its order.
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
    let descending = descending != (page.direction == Direction::Backward);
    query.order(sql::<Bool>(&order(column, descending))).limit(page.fetch_limit())
}

/// Counts all tickets of a selection by category and status.
pub async fn counts(
    db: &mut Connection,
    selection: &TicketListFilter,
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

/// Counts the tickets of several selections by one statement, at most `limit` of each. Returns the
/// counts in the order of the selections.
pub async fn capped_counts(
    db: &mut Connection,
    selections: &[TicketListFilter],
    limit: i64,
) -> Result<Vec<i64>, DbError> {
    if selections.is_empty() {
        return Ok(vec![]);
    }
    let parts = selections.iter().map(|selection| {
        let all = in_scope(TicketScope::All);
        let part = conditions(selection, true).into_iter().fold(all, QueryDsl::filter);
        part.select(sql::<Integer>("1")).limit(limit)
    });
    let mut rows: Vec<(i32, i64)> = Counts { parts: parts.collect() }.load(db).await?;
    rows.sort_unstable();
    Ok(rows.into_iter().map(|(_, count)| count).collect())
}

/// Returns the conditions of a selection. `internal` includes internal notes in its search.
fn conditions(selection: &TicketListFilter, internal: bool) -> Vec<Condition> {
    let TicketListFilter { filter, waiting_since, search, unread } = selection;
    let mut all: Vec<Condition> = Vec::new();
    // An index can return the rows of one value in order, but not those of several values.
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
    if let Some(id) = filter.unless_assigned_to {
        all.push(Box::new(tickets::assignee_id.is_distinct_from(id.0)));
    }
    if let Some(time) = *waiting_since {
        let waiting = sql::<Bool>("coalesce(tickets.waiting_since, 'infinity') <= ");
        all.push(Box::new(waiting.bind::<Timestamptz, _>(time)));
    }
    if let Some((reader, is_unread)) = *unread {
        all.push(unread::is_unread(reader, is_unread));
    }
    if let Some(search_query) = search {
        all.push(search::matches(search_query, internal));
    }
    all
}

/// Returns the expression that a list is sorted by, as it occurs in an index. Tickets that do not
/// wait come last in both directions.
fn column(sort: TicketSort, descending: bool) -> &'static str {
    match (sort, descending) {
        (TicketSort::CreatedAt, _) => "tickets.created_at",
        (TicketSort::UpdatedAt, _) => "tickets.updated_at",
        (TicketSort::Priority, _) => "tickets.priority",
        (TicketSort::WaitingSince, false) => "coalesce(tickets.waiting_since, 'infinity')",
        (TicketSort::WaitingSince, true) => "coalesce(tickets.waiting_since, '-infinity')",
    }
}

/// Narrows a query to the tickets before or after a key. The row comparison becomes one index
/// range.
fn seek<'a>(query: Tickets<'a>, column: &str, operator: &str, key: TicketKey) -> Tickets<'a> {
    let row = sql::<Bool>(&format!("({column}, tickets.id) {operator} ("));
    match key {
        TicketKey::Time(time, id) | TicketKey::Waiting(Some(time), id) => query
            .filter(row.bind::<Timestamptz, _>(time).sql(", ").bind::<SqlUuid, _>(id.0).sql(")")),
        TicketKey::Priority(priority, id) => query.filter(
            row.bind::<TicketPriority, _>(priority).sql(", ").bind::<SqlUuid, _>(id.0).sql(")"),
        ),
        // The value of the column for tickets that do not wait.
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
