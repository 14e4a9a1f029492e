//! Where the lists of staff find tickets.

use std::sync::LazyLock;

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
};

use crate::domain::{
    ticket_filter::{TicketFilter, TicketListFilter},
    ticket_list::TicketSort,
};

/// The rows in which the tickets of a list are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Those of `tickets`.
    Tickets,
    /// Those of `queue_entries`. Tickets are read only if the query names what entries don't have.
    Entries,
    /// Those of `queue_entries`. The ticket of each is looked up.
    EntriesWithTickets,
    /// Those of `queue_entries` or of `tickets`, as Postgres decides. Those of the other table are looked
    /// up.
    Either,
}

impl Source {
    /// Returns where to find the tickets of a selection in an order.
    pub(super) fn of_page(selection: &TicketListFilter, sort: TicketSort) -> Self {
        match selection.unread {
            _ if is_narrowed(selection) => Self::Tickets,
            None if sorts_entries(sort) => Self::Entries,
            _ if sorts_entries(sort) || selects_few_entries(selection) => Self::EntriesWithTickets,
            _ if selects_entries(selection) => Self::Either,
            _ => Self::Tickets,
        }
    }

    /// Returns where to count the tickets of a selection.
    pub(super) fn of_count(selection: &TicketListFilter) -> Self {
        match selection.unread {
            _ if is_narrowed(selection) => Self::Tickets,
            Some(_) => Self::EntriesWithTickets,
            None => Self::Entries,
        }
    }

    /// Returns where to find the whole tickets instead.
    pub(super) fn with_tickets(self) -> Self {
        match self {
            Self::Entries => Self::EntriesWithTickets,
            Self::Tickets | Self::EntriesWithTickets | Self::Either => self,
        }
    }
}

/// Whether an index of `queue_entries` returns them in an order.
pub(super) fn sorts_entries(sort: TicketSort) -> bool {
    match sort {
        TicketSort::UpdatedAt | TicketSort::WaitingSince => true,
        TicketSort::CreatedAt | TicketSort::Priority => false,
    }
}

/// Whether few tickets are left by a condition that only `tickets` has an index for.
fn is_narrowed(selection: &TicketListFilter) -> bool {
    selection.filter.reporter.is_some() || selection.search.is_some()
}

/// Whether an index of `queue_entries` finds the entries of a selection, which are few enough to be
/// sorted: almost all tickets of a large desk are resolved or closed. Postgres does not know that the
/// open ones are the newest, and would look for them among the oldest tickets.
pub(super) fn selects_few_entries(selection: &TicketListFilter) -> bool {
    let statuses = selection.filter.statuses.as_ref();
    statuses.is_some_and(|statuses| statuses.iter().all(|status| status.is_open()))
}

/// Whether an index of `queue_entries` finds the entries of a selection, of which there may be many.
fn selects_entries(selection: &TicketListFilter) -> bool {
    let TicketFilter { statuses, categories, assignee, .. } = &selection.filter;
    statuses.is_some() || categories.is_some() || assignee.is_some()
}

/// A query of `tickets`, in which this name stands for the rows of a [`Source`].
pub(super) struct Sourced<Q> {
    pub(super) source: Source,
    pub(super) query: Q,
}

/// Gives the entries with their tickets the name `tickets`. `NOT MATERIALIZED` makes each use of the
/// name a query of its own. `id` and `priority` are the columns whose indexes may sort a list.
fn tickets_by_entries(join: &str, id: &str, priority: &str) -> String {
    format!(
        "WITH tickets AS NOT MATERIALIZED (
             SELECT {id} AS id, q.category_id, q.assignee_id, q.status, {priority},
                    q.updated_at, q.waiting_since, q.resolved_at,
                    t.number, t.reporter_id, t.summary, t.description, t.version, t.event_seq,
                    t.created_at, t.participant_ids, t.past_participant_ids, t.follow_up_to_id,
                    t.public_seq, t.public_actor_id, t.public_seq_by_others,
                    t.any_seq, t.any_actor_id, t.any_seq_by_others,
                    t.last_comment_id, t.last_public_comment_id, t.last_comments_seq, t.xmin,
                    q.xmin AS entry_version
             FROM queue_entries q {join}) "
    )
}

/// Postgres leaves out this join if nothing of the ticket is read.
static ENTRIES: LazyLock<String> = LazyLock::new(|| {
    tickets_by_entries("LEFT JOIN tickets t ON t.id = q.ticket_id", "q.ticket_id", "q.priority")
});

/// The limit has each ticket looked up by its id, so that an index can return the entries in order.
static ENTRIES_WITH_TICKETS: LazyLock<String> = LazyLock::new(|| {
    let ticket = "SELECT *, xmin FROM tickets WHERE id = q.ticket_id LIMIT 1";
    let join = format!("CROSS JOIN LATERAL ({ticket}) t");
    tickets_by_entries(&join, "q.ticket_id", "q.priority")
});

static EITHER: LazyLock<String> = LazyLock::new(|| {
    tickets_by_entries("JOIN tickets t ON t.id = q.ticket_id", "t.id", "t.priority")
});

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Sourced<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(match self.source {
            Source::Tickets => "",
            Source::Entries => &ENTRIES,
            Source::EntriesWithTickets => &ENTRIES_WITH_TICKETS,
            Source::Either => &EITHER,
        });
        self.query.walk_ast(out)
    }
}

impl<Q> QueryId for Sourced<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Sourced<Q> {
    type SqlType = Q::SqlType;
}
