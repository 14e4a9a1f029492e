//! One sorted list of several queries: diesel's own unions have a type for each number of
//! them.

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
};

/// The first rows of several queries together. Where an index gives each of them in the
/// list's order, Postgres merges them, and reads no more than the rows that it gives.
pub(super) struct Union<Q> {
    /// What the queries are together, for the order to name it.
    pub name: &'static str,
    /// The queries: one at least, of the same columns.
    pub parts: Vec<Q>,
    /// What follows `ORDER BY`.
    pub order: String,
    /// How many rows at most.
    pub limit: i64,
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Union<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (index, part) in self.parts.iter().enumerate() {
            out.push_sql(if index == 0 { "SELECT * FROM ((" } else { ") UNION ALL (" });
            part.walk_ast(out.reborrow())?;
        }
        out.push_sql(")) ");
        out.push_identifier(self.name)?;
        out.push_sql(" ORDER BY ");
        out.push_sql(&self.order);
        out.push_sql(" LIMIT ");
        out.push_bind_param::<diesel::sql_types::BigInt, _>(&self.limit)
    }
}

impl<Q> QueryId for Union<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Union<Q> {
    type SqlType = Q::SqlType;
}
