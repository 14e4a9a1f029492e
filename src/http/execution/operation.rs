//! What the log and the trace of a request say about its operation.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use async_graphql::{Request, Response, ServerError, parser::types::OperationType};
use futures_util::{Stream, StreamExt as _, future::BoxFuture};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::{
    super::{
        observe::{CANCELLED, OK, REFUSED, RequestId, TOO_SLOW, milliseconds},
        response,
    },
    output::{Operation, Output},
};
use crate::{
    domain::request::{self, RequestRecord},
    events::StreamEnd,
    graphql::{code, operation_name},
    metrics::Metrics,
};

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
fn record_operation(
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
    if let (Some(record), Some(error)) = (record, response.errors.first()) {
        record.set_error(&response::code_of(error));
    }
}

/// The line of the log for an operation of a websocket or an event stream. It is written when the
/// operation ends, or when this is dropped, because the client has given it up.
pub struct OperationLog {
    record: Arc<RequestRecord>,
    span: Span,
    began: Instant,
    /// The bytes of the responses so far.
    bytes: usize,
    /// The code that the server closes the websocket with, if it refuses the message.
    close_code: Option<u16>,
    is_written: bool,
    metrics: Metrics,
}

impl OperationLog {
    /// Begins with an operation of a websocket, which the request `connection` has opened.
    pub fn of_socket(id: Uuid, connection: Option<RequestId>, metrics: Metrics) -> Self {
        let connection =
            connection.map(|connection| tracing::field::display(connection.0.simple()));
        let span = tracing::info_span!("operation", id = %id.simple(), connection);
        let record = Arc::<RequestRecord>::default();
        record.identify(id, &span);
        Self::new(record, metrics)
    }

    /// Begins with the operation of the current request.
    pub fn of_request(metrics: Metrics) -> Self {
        Self::new(request::continued(), metrics)
    }

    fn new(record: Arc<RequestRecord>, metrics: Metrics) -> Self {
        let (span, began) = (record.span(), Instant::now());
        Self { record, span, began, bytes: 0, close_code: None, is_written: false, metrics }
    }

    /// Returns the record of the operation.
    pub fn record(&self) -> &Arc<RequestRecord> {
        &self.record
    }

    /// Sets the operation, of this type.
    pub fn set_operation(&self, request: &mut Request, operation: Option<OperationType>) {
        record_operation(&self.record, request, operation);
    }

    /// Ends with an operation that is not executed because of these errors.
    pub fn refused(mut self, errors: &[ServerError]) {
        self.failed(errors);
    }

    /// Ends with a message that the server refuses by closing the websocket with a code.
    pub fn closed(mut self, code: u16) {
        self.close_code = Some(code);
        self.write(REFUSED);
    }

    /// Runs an operation. What starts it is boxed, since it would be copied into each layer here.
    pub async fn run(self, starting: BoxFuture<'static, Operation>) -> Operation {
        let (record, span) = (Arc::clone(&self.record), self.span.clone());
        let outputs = record.scope(starting).instrument(span).await;
        Box::pin(Logged { outputs, log: self })
    }

    /// Adds the next output, or the end of the outputs.
    fn add(&mut self, output: Option<&Output>) {
        match output {
            Some(Output::Next { payload, .. }) => self.bytes += payload.len(),
            Some(Output::Error(errors)) => self.failed(errors),
            Some(Output::Complete) | None => self.write(OK),
            Some(Output::Interrupted(StreamEnd::SessionEnded)) => self.write(code::UNAUTHENTICATED),
            Some(Output::Interrupted(StreamEnd::ClientTooSlow)) => self.write(TOO_SLOW),
            Some(Output::Interrupted(StreamEnd::Failed)) => self.write(code::INTERNAL),
        }
    }

    fn failed(&mut self, errors: &[ServerError]) {
        self.bytes += serde_json::to_string(errors).map_or(0, |text| text.len());
        let code = errors.first().map(response::code_of);
        self.write(code.as_deref().unwrap_or(code::INTERNAL));
    }

    /// Writes the line, unless it is written. `outcome` is that of an operation without an error.
    fn write(&mut self, outcome: &str) {
        if std::mem::replace(&mut self.is_written, true) {
            return;
        }
        let (record, bytes, close_code) = (&self.record, self.bytes, self.close_code);
        let (operation, kind) = record.operation_and_kind();
        let outcome = record.error().unwrap_or(outcome);
        self.metrics.operation_ended(outcome);
        let (duration_ms, statements) = (milliseconds(self.began.elapsed()), record.statements());
        let _entered = self.span.enter();
        tracing::info!(
            outcome,
            operation,
            kind,
            duration_ms,
            statements,
            bytes,
            close_code,
            "operation answered"
        );
    }
}

impl Drop for OperationLog {
    fn drop(&mut self) {
        self.write(CANCELLED);
    }
}

/// The outputs of an operation, which are polled as work of it and logged at their end.
struct Logged {
    outputs: Operation,
    log: OperationLog,
}

impl Stream for Logged {
    type Item = Output;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        let Self { outputs, log } = self.get_mut();
        let polled = {
            let _entered = log.span.enter();
            log.record.scope_sync(|| outputs.poll_next_unpin(cx))
        };
        if let Poll::Ready(output) = &polled {
            log.add(output.as_ref());
        }
        polled
    }
}
