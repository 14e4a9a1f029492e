//! Work that completes although nobody polls it.

use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::db::DbError;

/// Runs a future in a new task and returns its output, or `None` if it panicked. The task is aborted
/// if the returned future is dropped.
///
/// A stream is polled only while its client reads. In a task, work for the stream completes and
/// returns its database connection even if the client stops reading.
pub async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    AbortOnDropHandle::new(tokio::spawn(work.in_current_span())).await.ok()
}

/// Reads from the database as [`detached`] does. A panic is returned as an error.
pub(super) async fn detached_read<T: Send + 'static>(
    read: impl Future<Output = Result<T, DbError>> + Send + 'static,
) -> Result<T, DbError> {
    let panicked = || Err(DbError::Value("a read for a stream panicked".into()));
    run_to_completion(read).await.unwrap_or_else(panicked)
}
