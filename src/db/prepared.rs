//! Statements that a connection parses and plans once.
//!
//! Diesel keeps a prepared statement only of what can have but one text. Neither an `UPDATE`
//! nor anything that is written as SQL is that to it: they are parsed and planned anew each
//! time, which takes several times as long as to execute them.

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
};

/// Rows up to which inserts are prepared: each number of them is a text of its own.
const FEW: usize = 4;

/// What can be prepared.
pub(super) trait Prepare: Sized {
    /// Keeps the prepared statement with the connection. Only for what has few texts,
    /// selects no `*` (which a migration beside a running server would change) and is best
    /// read in the same way whatever its values are: Postgres plans it without them after a
    /// while.
    fn prepared(self) -> Prepared<Self> {
        Prepared { statement: self, kept: true }
    }

    /// The same where the statement is one of those.
    fn prepared_if(self, kept: bool) -> Prepared<Self> {
        Prepared { statement: self, kept }
    }

    /// The same for an insert of so many rows, if they are few.
    fn prepared_if_few(self, rows: usize) -> Prepared<Self> {
        self.prepared_if(rows <= FEW)
    }
}

impl<S: QueryFragment<Pg>> Prepare for S {}

/// A statement, and whether its connection keeps it.
pub(super) struct Prepared<S> {
    statement: S,
    kept: bool,
}

impl<S: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<S> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.statement.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(self.kept)
    }
}

impl<S: QueryId> QueryId for Prepared<S> {
    type QueryId = S::QueryId;

    const HAS_STATIC_QUERY_ID: bool = S::HAS_STATIC_QUERY_ID;
}

impl<S: Query> Query for Prepared<S> {
    type SqlType = S::SqlType;
}
