//! The order in which a request works on long texts.

use tokio::{sync::Mutex, task};

/// Lets other requests run between two works on long texts of one request, which can have hundreds.
#[derive(Default)]
pub struct Turn(Mutex<()>);

impl Turn {
    /// Does a work in its turn.
    pub async fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.0.lock().await;
        let result = work();
        task::yield_now().await;
        result
    }
}
