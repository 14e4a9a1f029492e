//! Work that must not end half-way.

use std::panic;

use tracing::Instrument as _;

/// Runs work in a task of its own: it completes although its caller is dropped, for example because
/// the time of the request is over. A transaction that also writes files is rolled back otherwise,
/// and its files stay.
pub(super) async fn to_completion<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(error) => panic::resume_unwind(error.into_panic()),
    }
}
