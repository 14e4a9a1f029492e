//! What operators' machines ask for, on a listener of its own.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::time;

use super::{Api, health};
use crate::{
    db::{
        DbError,
        monitor::{self, Backlog},
    },
    metrics::Snapshot,
};

/// Longer than a database that is well takes, and shorter than a scraper waits.
const TIMEOUT: Duration = Duration::from_secs(3);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin listener's routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(api)
}

/// The metrics. What the database knows is snapshot up now, so that it is right also
/// where this server is stuck.
async fn metrics(State(api): State<Api>) -> Response {
    let mut snapshot = Snapshot::default();
    let sockets = i64::try_from(api.sockets.len()).unwrap_or(i64::MAX);
    snapshot.gauge("sockets", "Websockets that are open on this node", sockets);
    let help = "The last position of the feed that this node has published";
    snapshot.gauge("feed_published_position", help, api.log.cursor().pos);
    let pool = api.database.pool_use();
    let help = "Connections of the database pool, at most, made, lent out, and waited for";
    let pool =
        pool.map(|(state, count)| (state.to_owned(), i64::try_from(count).unwrap_or(i64::MAX)));
    snapshot.gauges("database_pool_connections", help, "state", pool);
    let backlog = time::timeout(TIMEOUT, monitor::backlog(&api.database, api.ambient.now())).await;
    let backlog = backlog.unwrap_or_else(|_| Err(DbError::Unavailable("no answer in time".into())));
    let up = i64::from(backlog.is_ok());
    snapshot.gauge("database_up", "Whether the database answered just now", up);
    match backlog {
        Ok(backlog) => add(&mut snapshot, backlog),
        Err(error) => tracing::warn!(%error, "the metrics lack what the database knows"),
    }
    match api.metrics.expose(&snapshot) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn add(snapshot: &mut Snapshot, backlog: Backlog) {
    snapshot.gauge("feed_head_position", "The last position of the feed", backlog.head);
    let help = "The age of the oldest event that has no place in the feed yet; 0: there is none";
    snapshot.seconds("oldest_pending_event_age_seconds", help, backlog.oldest_pending);
    let help = "How many positions of the feed a consumer is behind";
    snapshot.gauges("feed_consumer_lag_positions", help, "consumer", backlog.lags);
    snapshot.gauges("mails_undelivered", "Mails on their way", "state", backlog.mails);
    let help = "The age of the oldest mail on its way; 0: there is none";
    snapshot.seconds("oldest_undelivered_mail_age_seconds", help, backlog.oldest_mail);
}
