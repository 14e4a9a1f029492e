//! Unions of any number of queries: sorted, or of their numbers of rows. Diesel's own unions have
//! another type for each number of queries.

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Integer},
};

/// The first rows of the union of several queries. If an index returns the rows of each query in
/// this order, Postgres merges them and reads only the rows that it returns.
pub(super) struct Union<Q> {
    /// The alias of the union, which `order` refers to.
    pub name: &'static str,
    /// The queries. At least one, all with the same columns.
    pub parts: Vec<Q>,
    /// Whether all rows of a query come before those of the next one. Then a query runs only if those
    /// before it have returned too few rows.
    pub in_turn: bool,
    /// The expressions after `ORDER BY`.
    pub order: String,
    /// The maximum number of rows.
    pub limit: i64,
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Union<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT * FROM (");
        if self.in_turn {
            self.walk_in_turn(out.reborrow())?;
        } else {
            for (index, part) in self.parts.iter().enumerate() {
                out.push_sql(if index == 0 { "(" } else { ") UNION ALL (" });
                part.walk_ast(out.reborrow())?;
            }
            out.push_sql(")");
        }
        out.push_sql(") ");
        out.push_identifier(self.name)?;
        out.push_sql(" ORDER BY ");
        out.push_sql(&self.order);
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)
    }
}

impl<Q: QueryFragment<Pg>> Union<Q> {
    /// Names each query, so that the next one can be skipped by the number of its rows.
    fn walk_in_turn<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (index, part) in self.parts.iter().enumerate() {
            out.push_sql(if index == 0 { "WITH " } else { "), " });
            out.push_sql(&format!("part_{index} AS MATERIALIZED (SELECT * FROM ("));
            part.walk_ast(out.reborrow())?;
            out.push_sql(") part");
            if index > 0 {
                let counts = (0..index).map(|it| format!("(SELECT count(*) FROM part_{it})"));
                let count = counts.collect::<Vec<_>>().join(" + ");
                out.push_sql(&format!(" WHERE {count} < "));
                out.push_bind_param::<BigInt, _>(&self.limit)?;
            }
        }
        let all = (0..self.parts.len()).map(|it| format!("SELECT * FROM part_{it}"));
        out.push_sql(&format!(") {}", all.collect::<Vec<_>>().join(" UNION ALL ")));
        Ok(())
    }
}

impl<Q> QueryId for Union<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Union<Q> {
    type SqlType = Q::SqlType;
}

/// The number of rows of each of several queries, each with the position of its query.
pub(super) struct Counts<Q> {
    /// The queries. At least one.
    pub parts: Vec<Q>,
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Counts<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (position, part) in self.parts.iter().enumerate() {
            out.push_sql(if position == 0 { "SELECT " } else { ") part UNION ALL SELECT " });
            out.push_sql(&position.to_string());
            out.push_sql(", count(*) FROM (");
            part.walk_ast(out.reborrow())?;
        }
        out.push_sql(") part");
        Ok(())
    }
}

impl<Q> QueryId for Counts<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q> Query for Counts<Q> {
    type SqlType = (Integer, BigInt);
}
