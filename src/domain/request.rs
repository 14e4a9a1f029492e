//! What is known about a request at its end: its operation, its outcome, and how many statements it
//! sent to the database.
//!
//! A transport opens the record with [`RequestRecord::scope`]. Code below finds it with
//! [`RequestRecord::current`], also in a task that continues the scope.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use tokio::task_local;
use tracing::Span;
use uuid::Uuid;

task_local! {
    static CURRENT: Arc<RequestRecord>;
}

/// The length, in bytes, to which names of operations are truncated.
const MAX_NAME: usize = 100;

/// The record of one request.
#[derive(Debug, Default)]
pub struct RequestRecord {
    statements: AtomicUsize,
    operation: OnceLock<Operation>,
    error: OnceLock<String>,
    identity: OnceLock<(Uuid, Span)>,
}

/// The GraphQL operation of a request.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its name in the document, truncated, or an empty text if it has none.
    pub name: String,
    /// `query`, `mutation` or `subscription`.
    pub kind: &'static str,
}

impl RequestRecord {
    /// Returns the record of the request that the caller works for, or `None` outside of a request.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Runs work of the request. Meanwhile [`current`](Self::current) returns this record.
    pub async fn scope<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Runs a part of the request's work that does not wait, such as a poll of a stream, like
    /// [`scope`](Self::scope).
    pub fn scope_sync<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(Arc::clone(self), work)
    }

    /// Counts a statement.
    pub fn add_statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many statements were sent.
    pub fn statements(&self) -> usize {
        self.statements.load(Ordering::Relaxed)
    }

    /// Records the operation.
    pub fn set_operation(&self, name: Option<&str>, kind: &'static str) {
        let name = name.unwrap_or_default();
        let name = name[..name.floor_char_boundary(MAX_NAME)].to_owned();
        let _ = self.operation.set(Operation { name, kind });
    }

    /// Returns the operation, or `None` if the request has none.
    pub fn operation(&self) -> Option<&Operation> {
        self.operation.get()
    }

    /// Returns the name and the kind of the operation, if the request has one.
    pub fn operation_and_kind(&self) -> (Option<&str>, Option<&'static str>) {
        self.operation().map(|operation| (operation.name.as_str(), operation.kind)).unzip()
    }

    /// Records the code of the first error, or what else has ended the request.
    pub fn set_error(&self, code: &str) {
        let _ = self.error.set(code.to_owned());
    }

    /// Returns what [`set_error`](Self::set_error) has recorded first, or `None` if nothing failed.
    pub fn error(&self) -> Option<&str> {
        self.error.get().map(String::as_str)
    }

    /// Records the id of the request, and the span of its log lines, which has that id.
    pub fn identify(&self, id: Uuid, span: &Span) {
        let _ = self.identity.set((id, span.clone()));
    }

    /// Returns the id that the request's log lines have.
    pub fn id(&self) -> Option<Uuid> {
        self.identity.get().map(|(id, _)| *id)
    }

    /// Returns the span of the request's log lines. A task that works for the request enters it as
    /// well as the current one, which may be one of a trace: the log shows only what a task has
    /// entered.
    pub fn span(&self) -> Span {
        self.identity.get().map_or_else(Span::none, |(_, span)| span.clone())
    }
}

/// Records for the current request, if there is one, what [`RequestRecord::set_error`] describes.
pub fn record_error(code: &str) {
    if let Some(record) = RequestRecord::current() {
        record.set_error(code);
    }
}

/// Returns the record that a new task continues: the current one, or an empty one.
pub fn continued() -> Arc<RequestRecord> {
    RequestRecord::current().unwrap_or_default()
}
