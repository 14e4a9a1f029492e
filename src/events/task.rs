//! Work that goes on though nobody polls it.

use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

/// Runs something as a task of its own. A stream whose client takes nothing is not polled,
/// and what it does for that client neither: here it goes on all the same, and gives back
/// the connection to the database that it holds. It ends with whoever waits for it.
///
/// `None` where it panicked.
pub async fn detached<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    AbortOnDropHandle::new(tokio::spawn(work.in_current_span())).await.ok()
}
