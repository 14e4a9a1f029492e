//! Prepared statements, which a connection parses and plans once.
//!
//! Diesel caches a prepared statement only if its type determines its text. That excludes every
//! `UPDATE` and all raw SQL. Without the cache, they are parsed and planned on each execution,
//! which takes several times as long as the execution itself.

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
};

/// Adds caching as a prepared statement to any statement.
pub(super) trait Prepare: Sized {
    /// Caches the prepared statement in the connection. Use it only for a statement that
    ///
    /// - has few variants of its text,
    /// - does not select `*`, whose columns change if a migration runs while the server is up,
    /// - has a good plan that does not depend on its values, because Postgres switches to a
    ///   generic plan after some executions.
    fn prepared(self) -> Prepared<Self> {
        Prepared { statement: self, cached: true }
    }

    /// Caches the prepared statement if `cached` is true.
    fn prepared_if(self, cached: bool) -> Prepared<Self> {
        Prepared { statement: self, cached }
    }
}

impl<S: QueryFragment<Pg>> Prepare for S {}

/// A statement, and whether its connection caches it.
pub(super) struct Prepared<S> {
    statement: S,
    cached: bool,
}

impl<S: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<S> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.statement.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(self.cached)
    }
}

impl<S: QueryId> QueryId for Prepared<S> {
    type QueryId = S::QueryId;

    const HAS_STATIC_QUERY_ID: bool = S::HAS_STATIC_QUERY_ID;
}

impl<S: Query> Query for Prepared<S> {
    type SqlType = S::SqlType;
}
