//! Work that completes although nobody polls it, and work that survives a panic.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::{
    db::DbError,
    domain::{budget::RequestBudget, request},
};

/// Runs a future in a new task and returns its output, or `None` if it panicked. The task is aborted
/// if the returned future is dropped.
///
/// A stream is polled only while its client reads. In a task, work for the stream completes and
/// returns its database connection even if the client stops reading. Its statements count for the
/// request that it works for.
pub async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let record = request::continued();
    let span = record.span();
    let work = record.scope(work.in_current_span()).instrument(span);
    AbortOnDropHandle::new(tokio::spawn(work)).await.ok()
}

/// Makes a step of a task that goes on after it, whatever happens. A panic is returned as
/// [`DbError::Panicked`].
pub async fn survive_panics<T>(
    step: impl Future<Output = Result<T, DbError>>,
) -> Result<T, DbError> {
    AssertUnwindSafe(step).catch_unwind().await.unwrap_or(Err(DbError::Panicked))
}

/// Reads from the database as [`run_to_completion`] does. If the returned future is dropped, the
/// statement is cancelled. A panic is returned as an error.
pub(super) async fn detached_read<T: Send + 'static>(
    read: impl Future<Output = Result<T, DbError>> + Send + 'static,
) -> Result<T, DbError> {
    let read = async move {
        let budget = RequestBudget::unlimited();
        budget.run(read).await.unwrap_or_else(|exceeded| Err(exceeded.into()))
    };
    run_to_completion(read).await.unwrap_or(Err(DbError::Panicked))
}
