//! Request ids, request logs, request metrics and the root of a trace. Headers, bodies, query strings
//! and paths with parameters are never logged or traced: they contain secrets, such as the token of
//! an attachment's link.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::HttpBody as _,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use parking_lot::Mutex;
use tracing::{Instrument as _, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::{
    domain::request::RequestRecord,
    metrics::{HandshakeFailure, Metrics, Rejection},
};

/// The response header with the request's id.
pub const REQUEST_ID: &str = "x-request-id";

/// Marks a response that is a stream, whose operation is logged at its end.
#[derive(Clone, Copy)]
pub struct LoggedAtEnd;

/// The id of a request: in its logs, its response and its internal errors.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Uuid);

// The outcomes of requests and operations that have no code of an error.
pub const OK: &str = "ok";
/// The client did not wait for the response, or ended a stream.
pub const CANCELLED: &str = "cancelled";
pub const REFUSED: &str = "refused";
/// The client of a stream read too slowly.
pub const TOO_SLOW: &str = "too_slow";
/// The stream ended because the server stops.
pub const STOPPED: &str = "stopped";
/// The route that requests for unknown paths are counted under.
const OTHER: &str = "other";
/// The routes that monitoring and proxies ask for every few seconds. They are logged only at `debug`
/// if all is well.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];
/// How many lines about rejected requests, and how many about failed handshakes, are written in a
/// [`REJECTION_WINDOW`]: anybody can cause them, and fast.
const MAX_REJECTION_LINES: u32 = 60;
const REJECTION_WINDOW: Duration = Duration::from_mins(1);

/// Assigns the request's id; logs, traces and counts the response.
#[expect(clippy::disallowed_methods, reason = "request ids are not part of the domain")]
pub async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::new_v4());
    request.extensions_mut().insert(id);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let name = route.as_ref().map_or(OTHER, MatchedPath::as_str);
    let method = method_name(request.method());
    let span = tracing::info_span!("request", id = %id.0.simple(), method, route = name);
    let trace = trace(&span, &request, name, method);
    let pending = Pending {
        metrics,
        route: route.clone(),
        record: Arc::default(),
        started: Instant::now(),
        span: span.clone(),
        trace: trace.clone(),
        is_answered: false,
    };
    pending.record.identify(id.0, &span);
    async {
        let handled = Arc::clone(&pending.record).scope(next.run(request));
        let mut response = handled.instrument(trace).await;
        if let Ok(value) = HeaderValue::from_str(&id.0.simple().to_string()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        pending.answered(&response);
        response
    }
    .instrument(span)
    .await
}

/// A request under way. Dropped before the response, because the client gave up, it is logged,
/// counted and traced as cancelled.
struct Pending {
    metrics: Metrics,
    route: Option<MatchedPath>,
    record: Arc<RequestRecord>,
    started: Instant,
    span: Span,
    trace: Span,
    is_answered: bool,
}

impl Pending {
    fn route(&self) -> &str {
        self.route.as_ref().map_or(OTHER, MatchedPath::as_str)
    }

    fn answered(mut self, response: &Response) {
        self.is_answered = true;
        let (status, took) = (response.status(), self.started.elapsed());
        let bytes = response.body().size_hint().exact();
        self.metrics.request(self.route(), status.as_u16(), took, bytes.unwrap_or(0));
        self.trace.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            self.trace.record("otel.status_code", "ERROR");
        }
        if response.extensions().get::<LoggedAtEnd>().is_some() {
            return;
        }
        let took = milliseconds(took);
        let is_failure =
            self.record.error().is_some_and(|outcome| self.metrics.operation_ended(outcome))
                || status.is_server_error();
        let status = status.as_u16();
        let line = Line { status, is_failure, took, bytes, record: &self.record };
        line.write(HEALTH.contains(&self.route()));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let took = self.started.elapsed();
        self.metrics.cancelled(self.route(), took);
        self.trace.record("otel.status_code", "ERROR");
        self.trace.record("error.type", CANCELLED);
        let (operation, kind) = self.record.operation_and_kind();
        let statements = self.record.statements();
        let (outcome, duration_ms) = (CANCELLED, milliseconds(took));
        let _entered = self.span.enter();
        tracing::info!(outcome, operation, kind, duration_ms, statements, "request cancelled");
    }
}

/// The line of the log for a response.
struct Line<'r> {
    status: u16,
    /// Whether the server failed, which a status of 200 does not tell.
    is_failure: bool,
    /// In milliseconds.
    took: f64,
    /// The size of the body, or `None` for a stream.
    bytes: Option<u64>,
    record: &'r RequestRecord,
}

impl Line<'_> {
    fn write(&self, is_health: bool) {
        let Self { status, is_failure, took: duration_ms, bytes, record } = *self;
        let (operation, kind) = record.operation_and_kind();
        let statements = record.statements();
        let outcome = record.error().unwrap_or(if status < 400 { OK } else { REFUSED });
        // A node that is not ready, because it stops or its database is away, says so elsewhere.
        if is_health {
            tracing::debug!(status, outcome, duration_ms, statements, bytes, "request answered");
        } else if is_failure {
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

/// Logs and counts the requests that are rejected before their route is known, such as those that
/// cannot be parsed, and the TLS handshakes that fail.
pub struct Rejections {
    metrics: Metrics,
    requests: Mutex<RejectionLines>,
    handshakes: Mutex<RejectionLines>,
}

/// The lines of one kind in the current window.
struct RejectionLines {
    began: Instant,
    written: u32,
    /// How many were left out since the last line.
    left_out: u64,
}

impl Rejections {
    /// Counts in these metrics.
    pub fn new(metrics: Metrics) -> Self {
        let lines = || Mutex::new(RejectionLines::new(Instant::now()));
        Self { metrics, requests: lines(), handshakes: lines() }
    }

    /// Logs and counts a request of a connection from this address. The text of an error of hyper has
    /// nothing of what the client sent.
    pub fn add(&self, reason: Rejection, error: Option<&hyper::Error>, client: IpAddr) {
        self.metrics.rejected(reason);
        let Some(left_out) = next_line(&self.requests) else { return };
        let reason = reason.name();
        let error = error.map(tracing::field::display);
        tracing::info!(outcome = REFUSED, reason, error, %client, left_out, "request rejected");
    }

    /// Logs and counts a failed handshake of a connection from this address. Clients that close their
    /// connections are only counted: scanners and browsers do so, and it says nothing about the
    /// server.
    pub fn add_handshake(&self, reason: HandshakeFailure, error: &io::Error, client: IpAddr) {
        self.metrics.handshake_failed(reason);
        if reason == HandshakeFailure::Closed {
            return;
        }
        let Some(left_out) = next_line(&self.handshakes) else { return };
        tracing::info!(reason = reason.name(), %error, %client, left_out, "TLS handshake failed");
    }
}

/// Returns how many lines were left out before the next one, if there were any, or `None` if it is left
/// out too.
fn next_line(lines: &Mutex<RejectionLines>) -> Option<Option<u64>> {
    let mut lines = lines.lock();
    let left_out = lines.next(Instant::now())?;
    Some((left_out > 0).then_some(left_out))
}

impl RejectionLines {
    fn new(began: Instant) -> Self {
        Self { began, written: 0, left_out: 0 }
    }

    /// Returns how many were left out before the next line, or `None` if it is left out too.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.began) >= REJECTION_WINDOW {
            (self.began, self.written) = (now, 0);
        }
        if self.written == MAX_REJECTION_LINES {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Returns a time in milliseconds, rounded to microseconds.
pub fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

/// Returns a method as it is logged, counted and traced: clients may send any token.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// Returns the span of a request in its trace, which continues that of its caller. Log lines in it are
/// also in the span `logged`. It does nothing if traces are off.
fn trace(logged: &Span, request: &Request, route: &str, method: &str) -> Span {
    let span = tracing::trace_span!(
        target: "otel",
        parent: logged,
        "http",
        otel.name = %format_args!("{} {route}", if method == "_OTHER" { "HTTP" } else { method }),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        "error.type" = Empty,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_rejections_are_bounded_and_say_how_many_were_left_out() {
        let began = Instant::now();
        let mut lines = RejectionLines::new(began);
        let first = (0..100).filter(|_| lines.next(began) == Some(0));
        assert_eq!(first.count(), MAX_REJECTION_LINES as usize);
        let later = began + REJECTION_WINDOW;
        assert_eq!([lines.next(later), lines.next(later)], [Some(40), Some(0)]);
    }

    #[test]
    fn durations_have_at_most_three_decimals() {
        assert_eq!(milliseconds(Duration::from_nanos(457_088)).to_string(), "0.457");
        assert_eq!(milliseconds(Duration::from_nanos(12_345_678_901)).to_string(), "12345.679");
        assert_eq!(milliseconds(Duration::from_secs(2)).to_string(), "2000");
    }
}
