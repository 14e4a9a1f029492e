//! The admin listener: metrics and health, for the operator's monitoring.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::time;

use super::{api::Api, health, process};
use crate::{
    db::{
        Database, DbError,
        monitor::{self, Backlog},
    },
    metrics::{Snapshot, to_text_format},
};

/// How long the database may take to answer. Longer than a healthy one needs, and shorter than
/// a scraper waits.
const TIMEOUT: Duration = Duration::from_secs(3);
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns the admin listener's routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(api)
}

/// Sends the metrics, as `OpenMetrics` text unless the scraper accepts only the text format 0.0.4.
/// Those of the database are read for each request, so that they are right even if this server's
/// tasks are stuck.
async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Response {
    let mut snapshot = Snapshot::default();
    add_node(&mut snapshot, &api);
    add_pools(&mut snapshot, &api);
    process::add(&mut snapshot);
    let backlog = time::timeout(TIMEOUT, monitor::backlog(&api.database, api.ambient.now()));
    let (backlog, ready) = tokio::join!(backlog, api.readiness.ask(&api.database));
    let backlog = backlog.unwrap_or_else(|_| Err(DbError::Unavailable("no answer in time".into())));
    let up = i64::from(backlog.is_ok() && ready.is_ok());
    let help = "1 if the database answered this request and accepts changes, otherwise 0";
    snapshot.gauge("database_up", help, up);
    match backlog {
        Ok(backlog) => add(&mut snapshot, backlog),
        Err(error) => tracing::warn!(%error, "reading the metrics of the database failed"),
    }
    match api.metrics.expose(&snapshot) {
        Ok(text) if is_for_text_format(&headers) => {
            ([(header::CONTENT_TYPE, TEXT_FORMAT)], to_text_format(&text)).into_response()
        }
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn is_for_text_format(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| {
        accepted.contains("text/plain") && !accepted.contains("application/openmetrics-text")
    })
}

/// Adds what this node has in memory.
fn add_node(snapshot: &mut Snapshot, api: &Api) {
    let figure = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let sockets = figure(api.sockets.len() as u64);
    snapshot.gauge("sockets", "Open websockets and event streams on this node", sockets);
    let help = "The last position of the feed that this node has published";
    snapshot.gauge("feed_published_position", help, api.log.cursor().pos);
    let help = "Bytes of the timelines and comments in memory";
    snapshot.gauge("timeline_cache_bytes", help, figure(api.services.timeline_cache_bytes()));
}

/// Adds the use of the connections to the database.
fn add_pools(snapshot: &mut Snapshot, api: &Api) {
    let help = "Connections of the database pool: the limit, open, in use, and requests waiting";
    snapshot.gauges("database_pool_connections", help, "state", states(&api.database));
    let help = "The same for the connections that requests don't use";
    let background = states(&api.background);
    snapshot.gauges("database_background_connections", help, "state", background);
    let acquired = api.database.acquisitions().figures();
    let help = "How often work for a request has borrowed a connection";
    snapshot.counter("database_pool_acquisitions", help, acquired.events);
    let help = "How long requests have waited for connections";
    snapshot.seconds_counter("database_pool_wait_seconds", help, acquired.took.as_secs_f64());
    let statements = api.database.statements().figures();
    let help = "Statements that this node has sent to the database";
    snapshot.counter("database_statements", help, statements.events);
    let help = "How long these statements took";
    snapshot.seconds_counter("database_statement_seconds", help, statements.took.as_secs_f64());
}

fn states(database: &Database) -> [(String, i64); 4] {
    let used = database.pool_use();
    let states = [
        ("limit", used.limit),
        ("open", used.open),
        ("in_use", used.in_use),
        ("waiting", used.waiting),
    ];
    states.map(|(state, count)| (state.to_owned(), i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Adds the metrics of the database.
fn add(snapshot: &mut Snapshot, backlog: Backlog) {
    snapshot.gauge("feed_head_position", "The last position of the feed", backlog.head);
    let help = "The age of the oldest event that is not in the feed yet, or 0";
    snapshot.seconds("oldest_pending_event_age_seconds", help, backlog.oldest_pending);
    let help = "How many positions a consumer is behind the head of the feed";
    snapshot.gauges("feed_consumer_lag_positions", help, "consumer", backlog.lags);
    let help = "The age of the oldest event that a consumer has not processed, or 0";
    let ages = backlog.oldest_unprocessed;
    snapshot.labelled_seconds("feed_consumer_lag_seconds", help, "consumer", ages);
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
    let help = "How long the mail that is overdue the longest has been due, or 0";
    snapshot.seconds("oldest_due_mail_age_seconds", help, backlog.oldest_due_mail);
    if let Some(at) = backlog.last_backup {
        let help = "The time of the state that the last backup has, in Unix time";
        snapshot.seconds("last_backup_timestamp_seconds", help, at);
    }
}
