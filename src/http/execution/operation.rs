//! What the log and the trace of a request say about its operation.

use std::{sync::Arc, time::Instant};

use async_graphql::{Request, Response, parser::types::OperationType};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::super::{observe::milliseconds, response};
use crate::{domain::request::RequestRecord, graphql::operation_name};

/// Records the operation of a request, and returns the span of its execution.
pub(super) fn record(
    record: &RequestRecord,
    request: &mut Request,
    operation: Option<OperationType>,
) -> Span {
    record_operation(record, request, operation);
    let Some(operation) = record.operation() else { return Span::none() };
    let (kind, name) = (operation.kind, operation.name.as_str());
    tracing::trace_span!(
        target: "otel",
        "graphql",
        otel.name = %format_args!("{kind} {name}").to_string().trim_end(),
        graphql.operation.type = kind,
        graphql.operation.name = name,
    )
}

/// Records the name and the type of a request's operation.
pub fn record_operation(
    record: &RequestRecord,
    request: &mut Request,
    operation: Option<OperationType>,
) {
    let kind = match operation {
        Some(OperationType::Query) => "query",
        Some(OperationType::Mutation) => "mutation",
        Some(OperationType::Subscription) => "subscription",
        None => return,
    };
    let requested = request.operation_name.clone();
    let Ok(document) = request.parsed_query() else { return };
    record.set_operation(operation_name(document, requested.as_deref()), kind);
}

/// Records the first error of a response.
pub(super) fn record_errors(record: Option<&RequestRecord>, response: &Response) {
    if let (Some(record), Some(code)) = (record, response::first_code(response)) {
        record.set_error(&code);
    }
}

/// Runs an operation of a websocket or an event stream, and logs its response like that of a request.
pub(super) async fn logged(id: Uuid, executing: impl Future<Output = Response>) -> Response {
    let (record, began) = (Arc::<RequestRecord>::default(), Instant::now());
    let span = tracing::info_span!("operation", id = %id.simple());
    record.set_span(&span);
    async {
        let response = Arc::clone(&record).scope(executing).await;
        let (operation, kind) = record.operation_and_kind();
        let outcome = record.error().unwrap_or("ok");
        let duration_ms = milliseconds(began.elapsed());
        let statements = record.statements();
        tracing::info!(outcome, operation, kind, duration_ms, statements, "operation answered");
        response
    }
    .instrument(span)
    .await
}
