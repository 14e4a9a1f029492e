//! The background tasks of a server.

use std::{fmt::Display, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::time;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// The background tasks of one server: those of the use cases, which are spawned here, and those of
/// the event log and the mail, which share `tracker` and `stop`.
#[derive(Default)]
pub(super) struct Tasks {
    /// Waits for every task.
    pub(super) tracker: TaskTracker,
    /// Cancelled when the tasks must end.
    pub(super) stop: CancellationToken,
}

impl Tasks {
    /// Runs a task until it ends or the server stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move { stop.run_until_cancelled(task).await });
    }

    /// Runs `work` on a clone of `context` now, and again `period` after each run has ended, until
    /// the server stops. A run that fails is logged as "`name` failed", and one that panics is no
    /// reason to end either.
    pub(super) fn every<T, F, E>(
        &self,
        period: Duration,
        name: &'static str,
        context: &T,
        work: impl Fn(T) -> F + Send + Sync + 'static,
    ) where
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let context = context.clone();
        self.spawn(async move {
            for run in 1_u64.. {
                let work = work(context.clone());
                async {
                    match AssertUnwindSafe(work).catch_unwind().await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::warn!(%error, "{name} failed"),
                        Err(_) => tracing::error!("{name} panicked"),
                    }
                }
                .instrument(tracing::info_span!("task", name, run))
                .await;
                time::sleep(period).await;
            }
        });
    }

    /// Ends all tasks and waits until they have ended.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn neither_a_failure_nor_a_panic_ends_a_periodic_task() {
        let (tasks, runs) = (Tasks::default(), Arc::new(AtomicUsize::new(0)));
        tasks.every(Duration::ZERO, "counting", &runs, |runs| async move {
            assert_ne!(runs.fetch_add(1, Ordering::Relaxed), 1, "a bug");
            Err("it always fails")
        });
        while runs.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        tasks.stop().await;
    }
}
