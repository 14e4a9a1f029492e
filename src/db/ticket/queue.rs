//! Where the lists of staff find tickets.

use std::sync::LazyLock;

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
};

use crate::domain::{
    ticket::Status,
    ticket_filter::{TicketFilter, TicketListFilter},
    ticket_list::TicketSort,
};

/// The rows in which the tickets of a list are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Those of `tickets`.
    Tickets,
    /// Those of `queue_entries`. The ticket of each is looked up.
    EntriesWithTickets,
    /// Those of `queue_entries`. Tickets are read only if the query names what entries don't have.
    Entries,
}

impl Source {
    /// Returns where to find the tickets of a selection in an order.
    pub(super) fn of_page(selection: &TicketListFilter, sort: TicketSort) -> Self {
        match selection.unread {
            _ if is_narrowed(selection) => Self::Tickets,
            None if sorts_entries(sort) => Self::Entries,
            _ if sorts_entries(sort) || selects_few_entries(selection) => Self::EntriesWithTickets,
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
            Self::Tickets => Self::Tickets,
            Self::Entries | Self::EntriesWithTickets => Self::EntriesWithTickets,
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
/// sorted. Almost all tickets of a large desk are closed.
fn selects_few_entries(selection: &TicketListFilter) -> bool {
    let TicketFilter { statuses, assignee, .. } = &selection.filter;
    matches!(assignee, Some(Some(_)))
        || selection.waiting_since.is_some()
        || statuses.as_ref().is_some_and(|statuses| !statuses.contains(&Status::Closed))
}

/// A query of `tickets`, in which this name stands for the rows of a [`Source`].
pub(super) struct Sourced<Q> {
    pub(super) source: Source,
    pub(super) query: Q,
}

/// Gives the entries with their tickets the name `tickets`. `NOT MATERIALIZED` makes each use of the
/// name a query of its own.
fn named(tickets: &str) -> String {
    format!(
        "WITH tickets AS NOT MATERIALIZED (
             SELECT q.ticket_id AS id, q.category_id, q.assignee_id, q.status, q.priority,
                    q.updated_at, q.waiting_since, q.resolved_at,
                    t.number, t.reporter_id, t.summary, t.description, t.version, t.event_seq,
                    t.created_at, t.participant_ids, t.past_participant_ids, t.follow_up_to_id,
                    t.public_seq, t.public_actor_id, t.public_seq_by_others,
                    t.any_seq, t.any_actor_id, t.any_seq_by_others,
                    t.last_comment_id, t.last_public_comment_id, t.last_comments_seq, t.xmin,
                    q.xmin AS entry_version
             FROM queue_entries q {tickets}) "
    )
}

/// The limit has each ticket looked up by its id, so that an index can return the entries in order.
static ENTRIES_WITH_TICKETS: LazyLock<String> = LazyLock::new(|| {
    named("CROSS JOIN LATERAL (SELECT *, xmin FROM tickets WHERE id = q.ticket_id LIMIT 1) t")
});

/// Postgres leaves out this join if nothing of the ticket is read.
static ENTRIES: LazyLock<String> =
    LazyLock::new(|| named("LEFT JOIN tickets t ON t.id = q.ticket_id"));

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Sourced<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(match self.source {
            Source::Tickets => "",
            Source::EntriesWithTickets => &ENTRIES_WITH_TICKETS,
            Source::Entries => &ENTRIES,
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
