//! A request id for every request, on its log lines and in its answer. Neither
//! headers nor bodies nor query strings are logged: they hold secrets.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::HeaderValue,
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::metrics::Metrics;

/// The header that an answer has its request's id in.
pub const REQUEST_ID: &str = "x-request-id";

/// Names a request in logs and errors.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Uuid);

/// What a path is counted under that is none of ours.
const OTHER: &str = "other";

/// Gives the request its id, and logs and counts how it went.
#[expect(clippy::disallowed_methods, reason = "a request id is no domain value")]
pub async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::new_v4());
    request.extensions_mut().insert(id);
    let span = tracing::info_span!("request", id = %id.0.simple(), method = %request.method(), path = request.uri().path());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    async {
        let mut response = next.run(request).await;
        if let Ok(value) = HeaderValue::from_str(&id.0.simple().to_string()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let status = response.status().as_u16();
        let took = started.elapsed();
        metrics.request(route.as_ref().map_or(OTHER, MatchedPath::as_str), status, took);
        let millis = took.as_millis();
        if response.status().is_server_error() {
            tracing::error!(status, millis, "answered");
        } else {
            tracing::debug!(status, millis, "answered");
        }
        response
    }
    .instrument(span)
    .await
}
