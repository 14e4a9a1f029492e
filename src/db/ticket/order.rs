//! The orders of ticket lists in SQL.

use crate::domain::{
    page::Direction,
    ticket_list::{TicketListOrder, TicketSort},
};

/// Returns whether the rows of a page are read from the largest value on.
pub(super) fn reads_descending(order: TicketListOrder, direction: Direction) -> bool {
    order.descending != (direction == Direction::Backward)
}

/// Returns the expression that a list is sorted by, as it occurs in an index. Tickets that do not
/// wait come last in both directions.
pub(super) fn column(sort: TicketSort, descending: bool) -> &'static str {
    match (sort, descending) {
        (TicketSort::CreatedAt, _) => "tickets.created_at",
        (TicketSort::UpdatedAt, _) => "tickets.updated_at",
        (TicketSort::Priority, _) => "tickets.priority",
        (TicketSort::WaitingSince, false) => "coalesce(tickets.waiting_since, 'infinity')",
        (TicketSort::WaitingSince, true) => "coalesce(tickets.waiting_since, '-infinity')",
    }
}

/// Returns the expressions after `ORDER BY`.
pub(super) fn order(column: &str, descending: bool) -> String {
    let direction = if descending { "DESC" } else { "ASC" };
    format!("{column} {direction}, tickets.id {direction}")
}
