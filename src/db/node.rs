//! The nodes of the installation.

use diesel::{
    prelude::*,
    sql_types::{Jsonb, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use super::{Connection, DbError, prepared::Prepare as _, schema::nodes};
use crate::domain::{clock::Timestamp, node::Node};

#[derive(QueryableByName)]
struct NodeRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    host: String,
    #[diesel(sql_type = Jsonb)]
    report: Value,
}

#[derive(QueryableByName)]
struct Clock {
    #[diesel(sql_type = Timestamptz)]
    now: Timestamp,
}

/// Stores that a node runs, with its report, and deletes the rows of nodes that were not seen for an
/// hour.
pub async fn beat(db: &mut Connection, node: &Node) -> Result<(), DbError> {
    let report =
        serde_json::to_value(&node.report).map_err(|error| DbError::Value(error.to_string()))?;
    diesel::sql_query(
        "WITH gone AS (DELETE FROM nodes WHERE seen_at < now() - interval '1 hour')
         INSERT INTO nodes (id, version, host, started_at, seen_at, report)
         VALUES ($1, left($2, 64), left($3, 255), now(), now(), $4)
         ON CONFLICT (id) DO UPDATE SET seen_at = now(), report = excluded.report",
    )
    .bind::<SqlUuid, _>(node.id)
    .bind::<Text, _>(&node.version)
    .bind::<Text, _>(&node.host)
    .bind::<Jsonb, _>(report)
    .prepared()
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the nodes that were seen within the last 30 seconds, in the order of their start.
pub async fn live(db: &mut Connection) -> Result<Vec<Node>, DbError> {
    let rows = diesel::sql_query(
        "SELECT id, version, host, report FROM nodes
         WHERE seen_at > now() - interval '30 seconds' ORDER BY started_at, id LIMIT 1000",
    )
    .prepared()
    .load::<NodeRow>(db)
    .await?;
    let node = |NodeRow { id, version, host, report }| {
        // A report that this version cannot read says nothing.
        let report = serde_json::from_value(report).unwrap_or_default();
        Node { id, version, host, report }
    };
    Ok(rows.into_iter().map(node).collect())
}

/// Deletes the row of a node that stops.
pub async fn remove(db: &mut Connection, id: Uuid) -> Result<(), DbError> {
    diesel::delete(nodes::table.find(id)).execute(db).await?;
    Ok(())
}

/// Returns the time by the clock of the database.
pub async fn clock(db: &mut Connection) -> Result<Timestamp, DbError> {
    let clock = diesel::sql_query("SELECT clock_timestamp() AS now").prepared();
    Ok(clock.get_result::<Clock>(db).await?.now)
}
