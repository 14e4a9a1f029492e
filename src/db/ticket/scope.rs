//! Queries for the tickets that an actor may see.

use diesel::{dsl::sql, pg::Pg, prelude::*, sql_types::Bool};

use super::super::schema::tickets;
use crate::domain::policy::TicketScope;

/// A query on tickets that conditions can be added to.
pub(in crate::db) type Tickets<'a> = tickets::BoxedQuery<'a, Pg>;
/// A condition on tickets.
pub(in crate::db) type Condition = Box<dyn BoxableExpression<tickets::table, Pg, SqlType = Bool>>;

/// Returns a query for the tickets in a scope.
pub(in crate::db) fn in_scope<'a>(scope: TicketScope) -> Tickets<'a> {
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
