//! Request ids, request logs, request metrics and the root of a trace. Headers, bodies, query strings
//! and paths with parameters are never logged or traced: they contain secrets, such as the token of
//! an attachment's link.

use std::{sync::Arc, time::Instant};

use axum::{
    body::HttpBody as _,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Instrument as _, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::{domain::request::RequestRecord, metrics::Metrics};

/// The response header with the request's id.
pub const REQUEST_ID: &str = "x-request-id";

/// The id of a request: in its logs, its response and its internal errors.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Uuid);

/// The route that requests for unknown paths are counted under.
const OTHER: &str = "other";
/// The routes that monitoring and proxies ask for every few seconds. They are logged only at `debug`
/// if all is well.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// Assigns the request's id; logs, traces and counts the response.
#[expect(clippy::disallowed_methods, reason = "request ids are not part of the domain")]
pub async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::new_v4());
    request.extensions_mut().insert(id);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let name = route.as_ref().map_or(OTHER, MatchedPath::as_str);
    let span = tracing::info_span!("request", id = %id.0.simple(), method = %request.method(), route = name);
    let trace = trace(&request, name);
    let (started, record) = (Instant::now(), Arc::<RequestRecord>::default());
    async {
        let handled = Arc::clone(&record).scope(next.run(request));
        let mut response = handled.instrument(trace.clone()).await;
        if let Ok(value) = HeaderValue::from_str(&id.0.simple().to_string()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let (status, took) = (response.status().as_u16(), started.elapsed());
        let bytes = response.body().size_hint().exact();
        metrics.request(name, status, took, bytes.unwrap_or(0));
        trace.record("http.response.status_code", status);
        if status >= 500 {
            trace.record("otel.status_code", "ERROR");
        }
        let line = Line { status, took: took.as_secs_f64() * 1e3, bytes, record: &record };
        line.write(HEALTH.contains(&name));
        response
    }
    .instrument(span)
    .await
}

/// The line of the log for a response.
struct Line<'r> {
    status: u16,
    /// In milliseconds.
    took: f64,
    /// The size of the body, or `None` for a stream.
    bytes: Option<u64>,
    record: &'r RequestRecord,
}

impl Line<'_> {
    fn write(&self, is_health: bool) {
        let Self { status, took: duration_ms, bytes, record } = *self;
        let operation = record.operation();
        let (operation, kind) =
            (operation.map(|operation| operation.name.as_str()), operation.map(|o| o.kind));
        let statements = record.statements();
        let outcome = record.error().unwrap_or(if status < 400 { "ok" } else { "refused" });
        if status >= 500 {
            tracing::error!(
                status,
                outcome,
                operation,
                kind,
                duration_ms,
                statements,
                bytes,
                "request answered with a server error"
            );
        } else if is_health {
            tracing::debug!(status, outcome, duration_ms, statements, bytes, "request answered");
        } else {
            tracing::info!(
                status,
                outcome,
                operation,
                kind,
                duration_ms,
                statements,
                bytes,
                "request answered"
            );
        }
    }
}

/// Returns the span of a request, which continues the trace of its caller. It does nothing if traces
/// are off.
fn trace(request: &Request, route: &str) -> Span {
    let span = tracing::trace_span!(
        target: "otel",
        "http",
        otel.name = %format_args!("{} {route}", request.method()),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %request.method(),
        http.route = route,
        http.response.status_code = Empty,
        url.path = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    if route != OTHER && !route.contains('{') {
        span.record("url.path", request.uri().path());
    }
    let caller = TraceContextPropagator::new().extract(&Headers(request.headers()));
    // It fails only without a subscriber for traces.
    let _ = span.set_parent(caller);
    span
}

/// The headers of a request, for the propagation of traces.
struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
