//! The lock under which a request works on a long text.

use tokio::{sync::Mutex, task};

/// Lets other requests run between two long texts of one request, which can have hundreds.
#[derive(Default)]
pub struct LongTextLock(Mutex<()>);

impl LongTextLock {
    /// Works on a long text under the lock.
    pub async fn hold<T>(&self, work: impl FnOnce() -> T) -> T {
        let _held = self.0.lock().await;
        let result = work();
        task::yield_now().await;
        result
    }
}
