//! The admin listener: metrics and health, for the operator's monitoring.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::time;

use super::{api::Api, health};
use crate::{
    db::{
        Database, DbError,
        monitor::{self, Backlog},
    },
    metrics::Snapshot,
};

/// How long the database may take to answer. Longer than a healthy one needs, and shorter than
/// a scraper waits.
const TIMEOUT: Duration = Duration::from_secs(3);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns the admin listener's routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(api)
}

/// Sends the metrics. Those of the database are read for each request, so that they are right
/// even if this server's tasks are stuck.
async fn metrics(State(api): State<Api>) -> Response {
    let mut snapshot = Snapshot::default();
    let sockets = i64::try_from(api.sockets.len()).unwrap_or(i64::MAX);
    snapshot.gauge("sockets", "Open websockets and event streams on this node", sockets);
    let help = "The last position of the feed that this node has published";
    snapshot.gauge("feed_published_position", help, api.log.cursor().pos);
    let states = |database: &Database| {
        let states = database.pool_use();
        states.map(|(state, count)| (state.to_owned(), i64::try_from(count).unwrap_or(i64::MAX)))
    };
    let help = "Connections of the database pool: the limit, open, in use, and requests waiting";
    snapshot.gauges("database_pool_connections", help, "state", states(&api.database));
    let help = "The same for the connections that requests don't use";
    let background = states(&api.background);
    snapshot.gauges("database_background_connections", help, "state", background);
    let backlog = time::timeout(TIMEOUT, monitor::backlog(&api.database, api.ambient.now())).await;
    let backlog = backlog.unwrap_or_else(|_| Err(DbError::Unavailable("no answer in time".into())));
    let up = i64::from(backlog.is_ok());
    snapshot.gauge("database_up", "1 if the database answered this request, otherwise 0", up);
    match backlog {
        Ok(backlog) => add(&mut snapshot, backlog),
        Err(error) => tracing::warn!(%error, "reading the metrics of the database failed"),
    }
    match api.metrics.expose(&snapshot) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Adds the metrics of the database.
fn add(snapshot: &mut Snapshot, backlog: Backlog) {
    snapshot.gauge("feed_head_position", "The last position of the feed", backlog.head);
    let help = "The age of the oldest event that is not in the feed yet, or 0";
    snapshot.seconds("oldest_pending_event_age_seconds", help, backlog.oldest_pending);
    let help = "How many positions a consumer is behind the head of the feed";
    snapshot.gauges("feed_consumer_lag_positions", help, "consumer", backlog.lags);
    let help = "Events that a consumer could not process and that wait for another attempt";
    snapshot.gauges("set_aside_events", help, "consumer", backlog.set_aside);
    snapshot.gauges(
        "mails_undelivered",
        "Mails that are not delivered yet",
        "state",
        backlog.mails,
    );
    let help = "The age of the oldest mail that is not delivered yet, or 0";
    snapshot.seconds("oldest_undelivered_mail_age_seconds", help, backlog.oldest_mail);
}
