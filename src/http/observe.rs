//! Request ids, request logs and request metrics. Headers, bodies, paths and query strings are
//! never logged: they contain secrets, such as the token of an attachment's link.

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

/// The response header with the request's id.
pub const REQUEST_ID: &str = "x-request-id";

/// The id of a request: in its logs, its response and its internal errors.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Uuid);

/// The route that requests for unknown paths are counted under.
const OTHER: &str = "other";

/// Assigns the request's id; logs and counts the response.
#[expect(clippy::disallowed_methods, reason = "request ids are not part of the domain")]
pub async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::new_v4());
    request.extensions_mut().insert(id);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let name = route.as_ref().map_or(OTHER, MatchedPath::as_str);
    let span = tracing::info_span!("request", id = %id.0.simple(), method = %request.method(), route = name);
    let started = Instant::now();
    async {
        let mut response = next.run(request).await;
        if let Ok(value) = HeaderValue::from_str(&id.0.simple().to_string()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let status = response.status().as_u16();
        let took = started.elapsed();
        metrics.request(name, status, took);
        let millis = took.as_millis();
        if response.status().is_server_error() {
            tracing::error!(status, millis, "request answered with a server error");
        } else {
            tracing::debug!(status, millis, "request answered");
        }
        response
    }
    .instrument(span)
    .await
}
