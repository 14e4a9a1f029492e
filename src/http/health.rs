//! Liveness and readiness.

use std::time::Duration;

use axum::{extract::State, http::StatusCode};
use tokio::time;

use super::api::Api;

/// How long the database may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Answers 200 as long as the process runs.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// Answers 200 if the database responds and the server is not stopping, otherwise 503.
pub async fn ready(State(api): State<Api>) -> (StatusCode, &'static str) {
    if api.leaving.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match time::timeout(TIMEOUT, api.database.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
