//! Pages of sorted and filtered ticket lists, and counts of tickets.

use std::collections::HashSet;

use diesel::{
    dsl::sql,
    expression::SqlLiteral,
    pg::Pg,
    prelude::*,
    query_builder::QueryFragment,
    sql_types::{BigInt, Bool, Integer, Nullable, Oid, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    super::{
        Connection, DbError,
        prepared::{Prepare as _, Prepared},
        schema::{sql_types::TicketPriority, tickets},
        search,
        union::{Counts, Union},
        unread,
    },
    ACCOUNT_CHANGES, TicketColumns, TicketRow,
    queue::{Source, Sourced, selects_few_entries, sorts_entries},
    requested,
    scope::{Condition, Tickets, in_scope},
    state::{self, PageState, RowVersion},
};
use crate::domain::{
    account::AccountChangeCount,
    clock::Timestamp,
    ids::{AccountId, CategoryId, TicketId},
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
    order: TicketListOrder,
    page: &Page<TicketKey>,
) -> Result<(Slice<Ticket>, PageState), DbError> {
    let list = List::of(scope, selection, order, page);
    let list = List { source: list.source.with_tickets(), ..list };
    let columns = |part: Tickets<'static>| part.select((TicketColumns, state::row_version()));
    let rows: Vec<(TicketRow, RowVersion)> = list.select(columns).load(db).await?;
    let state = PageState::of(&rows);
    let tickets = rows.into_iter().map(|(row, _)| Ticket::from(row));
    Ok((page.slice(tickets.collect()), state))
}

/// The version of a ticket in the queue. Each change of the ticket changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryVersion(RowVersion);

/// The entries of a page.
pub struct PageEntries {
    /// The tickets, as many as there are rows to read for the page, in the order of reading.
    pub tickets: Vec<(TicketId, EntryVersion)>,
    /// How often accounts have changed. `None` if the page is empty.
    pub account_changes: Option<AccountChangeCount>,
}

/// When a ticket changed, and since when it waits.
type Times = (Timestamp, Option<Timestamp>);

/// Returns whether a page of all tickets is found by its [`entries`] alone.
pub fn has_entries(selection: &TicketListFilter, sort: TicketSort) -> bool {
    sorts_entries(sort) && Source::of_page(selection, sort) != Source::Tickets
}

/// Returns the entries of a page of all tickets, without the tickets, if it [has them](has_entries).
pub async fn entries(
    db: &mut Connection,
    selection: &TicketListFilter,
    order: TicketListOrder,
    page: &Page<TicketKey>,
) -> Result<PageEntries, DbError> {
    let columns = |part: Tickets<'static>| {
        // The list is sorted by one of the times.
        let times = (tickets::updated_at, tickets::waiting_since);
        part.select((tickets::id, times, entry_version(), account_changes()))
    };
    let list = List::of(TicketScope::All, selection, order, page).select(columns);
    let rows: Vec<(Uuid, Times, RowVersion, Option<i64>)> = list.load(db).await?;
    Ok(PageEntries {
        account_changes: rows.iter().find_map(|row| row.3).map(AccountChangeCount),
        tickets: rows.iter().map(|row| (TicketId(row.0), EntryVersion(row.2))).collect(),
    })
}

/// Returns the tickets with these ids and their versions in the queue, in any order.
pub async fn with_versions(
    db: &mut Connection,
    ids: &[TicketId],
) -> Result<Vec<(Ticket, EntryVersion)>, DbError> {
    let query =
        in_scope(TicketScope::All).filter(requested(ids)).select((TicketColumns, entry_version()));
    let found = Sourced { source: Source::EntriesWithTickets, query };
    let rows: Vec<(TicketRow, RowVersion)> = found.prepared().load(db).await?;
    Ok(rows.into_iter().map(|(row, version)| (row.into(), EntryVersion(version))).collect())
}

/// Selects the version of an entry. Its type, `xid`, is sent like an `oid`.
fn entry_version() -> SqlLiteral<Oid> {
    sql("tickets.entry_version")
}

fn account_changes() -> SqlLiteral<Nullable<BigInt>> {
    sql(ACCOUNT_CHANGES)
}

/// A page of a list to be read: the parts of the list, which are merged in its order.
struct List {
    source: Source,
    /// Whether the prepared statement is cached.
    cached: bool,
    parts: Vec<Tickets<'static>>,
    /// Whether the parts come one after the other.
    in_turn: bool,
    order: String,
    limit: i64,
}

impl List {
    fn of(
        scope: TicketScope,
        selection: &TicketListFilter,
        list_order: TicketListOrder,
        page: &Page<TicketKey>,
    ) -> Self {
        let TicketListOrder { sort, descending } = list_order;
        let selection = &without_contradiction(selection.clone());
        let source = match scope {
            TicketScope::All => Source::of_page(selection, sort),
            TicketScope::Of(_) | TicketScope::Nothing => Source::Tickets,
        };
        let sorted = Sorted::By(column(sort, descending));
        let mut parts = parts(scope, source, selection, (sort, sorted));
        let in_turn =
            matches!(parts[..], [(_, Sorted::Waiting, _), (_, Sorted::NotWaiting { .. }, _)]);
        if in_turn && page.direction == Direction::Backward {
            parts.reverse();
        }
        // These queries have few variants, and an index fits each of them, so a generic plan is good.
        let cached = parts.len() <= MAX_CACHED_PARTS
            && parts.iter().all(|(.., part)| is_indexed(part, sort));
        let parts = parts.into_iter().map(|(all, sorted, selection)| {
            let conditions = conditions(&selection, scope == TicketScope::All);
            let part = conditions.into_iter().fold(all, QueryDsl::filter);
            part_of_page(part, sorted, descending, page)
        });
        let order = sorted.order(list_order.reads_descending(page.direction));
        let (parts, limit) = (parts.collect(), page.fetch_limit());
        Self { source, cached, parts, in_turn, order, limit }
    }

    /// Returns the statement that reads these columns.
    fn select<Q>(self, columns: impl Fn(Tickets<'static>) -> Q) -> Prepared<Sourced<Union<Q>>>
    where
        Q: QueryFragment<Pg>,
    {
        let Self { source, cached, parts, in_turn, order, limit } = self;
        let parts = parts.into_iter().map(columns).collect();
        let query = Union { name: "tickets", parts, in_turn, order, limit };
        Sourced { source, query }.prepared_if(cached)
    }
}

/// Tickets that wait have one status. Selects it, or nothing if the selection excludes it.
fn without_contradiction(mut selection: TicketListFilter) -> TicketListFilter {
    if selection.waiting_since.is_some() {
        let statuses = selection.filter.statuses.take().unwrap_or(Status::ALL.to_vec());
        let waiting = statuses.into_iter().filter(|status| *status == Status::WaitingForSupport);
        selection.filter.statuses = Some(waiting.collect());
    }
    selection
}

/// Splits a list. Each part can use an index. A single condition that covers all parts could not.
fn parts(
    scope: TicketScope,
    source: Source,
    selection: &TicketListFilter,
    (sort, sorted): (TicketSort, Sorted),
) -> Vec<Part> {
    match scope {
        TicketScope::Of(account) => {
            let own = tickets::table.filter(tickets::reporter_id.eq(account.0)).into_boxed();
            vec![
                (own, sorted, selection.clone()),
                (shared_with(account), sorted, selection.clone()),
            ]
        }
        TicketScope::All | TicketScope::Nothing => match source {
            Source::Tickets | Source::Either => {
                vec![(in_scope(scope), sorted, selection.clone())]
            }
            Source::Entries | Source::EntriesWithTickets if sort == TicketSort::WaitingSince => {
                by_waiting(selection)
            }
            Source::Entries | Source::EntriesWithTickets => {
                let parts = by_state(selection).into_iter();
                parts.map(|selection| (in_scope(scope), sorted, selection)).collect()
            }
        },
    }
}

/// A part of a list: its tickets, their order, and the conditions.
type Part = (Tickets<'static>, Sorted, TicketListFilter);

/// What the tickets of a part of a list are sorted by, before their ids.
#[derive(Clone, Copy)]
enum Sorted {
    /// An expression.
    By(&'static str),
    /// How long they wait. All of them do.
    Waiting,
    /// Nothing: none of them waits. They come after those that wait, in both directions. If they are
    /// `few`, Postgres finds them first. It would look for the newest tickets among all, oldest first.
    NotWaiting { few: bool },
}

impl Sorted {
    /// Returns the expressions after `ORDER BY`.
    fn order(self, descending: bool) -> String {
        let direction = if descending { "DESC" } else { "ASC" };
        match self {
            Self::By(column) => format!("{column} {direction}, tickets.id {direction}"),
            // If they don't wait, the time is NULL in all of them, and in no index.
            Self::Waiting | Self::NotWaiting { few: true } => {
                format!("tickets.waiting_since {direction}, tickets.id {direction}")
            }
            Self::NotWaiting { few: false } => format!("tickets.id {direction}"),
        }
    }
}

/// Splits a selection into the tickets that wait and the others, so that an index returns each part
/// in its order. Leaves out a part that the selection excludes.
fn by_waiting(selection: &TicketListFilter) -> Vec<Part> {
    let waits = |status: &Status| *status == Status::WaitingForSupport;
    let statuses = selection.filter.statuses.as_deref();
    let mut waiting = selection.clone();
    if statuses.is_some_and(|statuses| statuses.iter().any(waits)) {
        // All tickets that wait have this status. Postgres does not know that.
        waiting.filter.statuses = None;
    }
    let all = || in_scope(TicketScope::All);
    let waiting = (all().filter(tickets::waiting_since.is_not_null()), Sorted::Waiting, waiting);
    if statuses.is_some_and(|statuses| statuses.iter().all(waits)) {
        return vec![waiting];
    }
    let not_waiting = all().filter(tickets::waiting_since.is_null());
    let sorted = Sorted::NotWaiting { few: selects_few_entries(selection) };
    let not_waiting = (not_waiting, sorted, selection.clone());
    if statuses.is_some_and(|statuses| !statuses.iter().any(waits)) {
        return vec![not_waiting];
    }
    vec![waiting, not_waiting]
}

/// The maximum number of parts of a cached statement.
const MAX_CACHED_PARTS: usize = 5;
/// The maximum number of parts that a list is split into.
const MAX_PARTS: usize = 12;

/// Splits a selection by status and category, so that an index returns the tickets of each part in
/// the order of their last change. No index has the tickets of all statuses in that order. Does not
/// split the tickets of an agent.
fn by_state(selection: &TicketListFilter) -> Vec<TicketListFilter> {
    let TicketFilter { statuses, categories, assignee, .. } = &selection.filter;
    if matches!(assignee, Some(Some(_))) {
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
    sorted: Sorted,
    descending: bool,
    page: &Page<TicketKey>,
) -> Tickets<'a> {
    for boundary in [page.after.map(Boundary::After), page.before.map(Boundary::Before)] {
        query =
            boundary.into_iter().fold(query, |it, boundary| seek(it, sorted, descending, boundary));
    }
    let descending = descending != (page.direction == Direction::Backward);
    query.order(sql::<Bool>(&sorted.order(descending))).limit(page.fetch_limit())
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
    let query = conditions(selection, true).into_iter().fold(all, QueryDsl::filter);
    let counted = Sourced { source: Source::of_count(selection), query };
    let rows = counted.load::<(Uuid, Status, i64)>(db).await?;
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
        let query = part.select(sql::<Integer>("1")).limit(limit);
        Sourced { source: Source::of_count(selection), query }
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
        all.push(Box::new(tickets::waiting_since.le(time).assume_not_null()));
    }
    if let Some((reader, is_unread)) = *unread {
        all.push(unread::is_unread(reader, is_unread));
    }
    if let Some(search_query) = search {
        all.push(search::matches(search_query, internal));
    }
    all
}

/// Returns the expression that a list is sorted by. Tickets that do not wait come last in both
/// directions.
fn column(sort: TicketSort, descending: bool) -> &'static str {
    match (sort, descending) {
        (TicketSort::CreatedAt, _) => "tickets.created_at",
        (TicketSort::UpdatedAt, _) => "tickets.updated_at",
        (TicketSort::Priority, _) => "tickets.priority",
        (TicketSort::WaitingSince, false) => "coalesce(tickets.waiting_since, 'infinity')",
        (TicketSort::WaitingSince, true) => "coalesce(tickets.waiting_since, '-infinity')",
    }
}

/// One end of a page, which is not part of it.
#[derive(Clone, Copy)]
enum Boundary {
    After(TicketKey),
    Before(TicketKey),
}

/// Narrows a query to the tickets on the page's side of a boundary. The row comparison becomes one
/// index range.
fn seek(query: Tickets<'_>, sorted: Sorted, descending: bool, boundary: Boundary) -> Tickets<'_> {
    let (key, is_after) = match boundary {
        Boundary::After(key) => (key, true),
        Boundary::Before(key) => (key, false),
    };
    let operator = if is_after == descending { "<" } else { ">" };
    let column = match (sorted, key) {
        (Sorted::By(column), _) => column,
        (Sorted::Waiting, TicketKey::Waiting(Some(_), _)) => "tickets.waiting_since",
        (Sorted::NotWaiting { .. }, TicketKey::Waiting(None, id)) => {
            let beyond = sql::<Bool>(&format!("tickets.id {operator} "));
            return query.filter(beyond.bind::<SqlUuid, _>(id.0));
        }
        // The key is in the other part: all tickets of this one are on the same side of it.
        (Sorted::Waiting, _) if !is_after => return query,
        (Sorted::NotWaiting { .. }, _) if is_after => return query,
        (Sorted::Waiting | Sorted::NotWaiting { .. }, _) => {
            return query.filter(sql::<Bool>("false"));
        }
    };
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
