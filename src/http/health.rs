//! Whether the server lives, and whether it should be sent requests.

use std::time::Duration;

use axum::{extract::State, http::StatusCode};
use tokio::time;

use super::Api;

const TIMEOUT: Duration = Duration::from_secs(2);

/// The process answers.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// The database answers, and the server is not stopping.
pub async fn ready(State(api): State<Api>) -> (StatusCode, &'static str) {
    if api.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match time::timeout(TIMEOUT, api.database.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
