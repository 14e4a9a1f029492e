//! Liveness and readiness.

use axum::{extract::State, http::StatusCode};

use super::api::Api;

/// Answers 200 as long as the process runs.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// Answers 200 if the database responds and accepts changes and the server is not stopping, otherwise
/// 503.
pub async fn ready(State(api): State<Api>) -> (StatusCode, &'static str) {
    if api.leaving.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match api.readiness.ask(&api.database).await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}
