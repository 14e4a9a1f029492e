//! How far behind everything is, for whoever watches the server.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Double, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;

use super::{Database, DbError};
use crate::domain::clock::Timestamp;

/// How far behind everything is. Ages are in seconds, and 0 where nothing waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backlog {
    /// The last position of the feed.
    pub head: i64,
    /// The age of the oldest event that has no place in the feed yet.
    pub oldest_pending: f64,
    /// How many positions each consumer of the feed is behind.
    pub lags: Vec<(String, i64)>,
    /// How many mails are on their way, by their state.
    pub mails: Vec<(String, i64)>,
    /// The age of the oldest of those.
    pub oldest_mail: f64,
}

#[derive(QueryableByName)]
struct Figure {
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = Text)]
    of: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Double)]
    seconds: f64,
}

/// Looks, in one statement on a connection of its own: it is right also where all
/// others are busy.
///
/// # Errors
/// The database can't be reached, or failed.
pub async fn backlog(database: &Database, now: Timestamp) -> Result<Backlog, DbError> {
    let mut connection = database
        .connector()
        .diesel()
        .await
        .map_err(|error| DbError::Unavailable(error.to_string()))?;
    let figures = diesel::sql_query(
        "WITH head AS (SELECT pos FROM feed_head)
         SELECT 'head' AS what, '' AS of, pos AS count, 0::float8 AS seconds FROM head
         UNION ALL
         SELECT 'lag', name, (SELECT pos FROM head) - pos, 0 FROM consumer_offsets
         UNION ALL
         SELECT 'pending', '', 0, extract(epoch FROM $1 - occurred_at)::float8
         FROM events WHERE id = (SELECT min(event_id) FROM pending_events)
         UNION ALL
         SELECT 'mails', s.state, count(d.id),
                coalesce(extract(epoch FROM $1 - min(d.created_at)), 0)::float8
         FROM (VALUES ('queued'), ('sending')) s (state)
         LEFT JOIN deliveries d
             ON d.state::text = s.state AND d.state IN ('queued', 'sending')
         GROUP BY s.state",
    )
    .bind::<Timestamptz, _>(now)
    .load::<Figure>(&mut connection)
    .await?;
    let mut backlog = Backlog::default();
    for Figure { what, of, count, seconds } in figures {
        match what.as_str() {
            "head" => backlog.head = count,
            "lag" => backlog.lags.push((of, count.max(0))),
            "pending" => backlog.oldest_pending = seconds.max(0.0),
            _ => {
                backlog.mails.push((of, count));
                backlog.oldest_mail = backlog.oldest_mail.max(seconds);
            }
        }
    }
    Ok(backlog)
}
