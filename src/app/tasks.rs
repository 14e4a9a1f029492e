//! The background tasks of a server.

use std::{fmt::Display, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::time;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// How long a stopping server waits for its tasks: longer than for a mail that is being sent, and no longer
/// if the host of the database does not answer.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);

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
                .instrument(tracing::info_span!("task", task = name, run))
                .await;
                time::sleep(period).await;
            }
        });
    }

    /// Ends all tasks and waits, for at most six seconds, until they have ended. What they leave undone is
    /// done at the next start or by another node, as after a crash.
    pub(super) async fn stop(self) {
        self.stop_within(STOP_TIMEOUT).await;
    }

    async fn stop_within(self, limit: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if time::timeout(limit, self.tracker.wait()).await.is_err() {
            let tasks = self.tracker.len();
            tracing::warn!(tasks, "some background tasks did not end in time and are abandoned");
        }
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

    #[tokio::test]
    async fn a_task_that_does_not_end_is_abandoned() {
        let tasks = Tasks::default();
        tasks.tracker.spawn(std::future::pending::<()>());
        tasks.stop_within(Duration::ZERO).await;
    }
}
