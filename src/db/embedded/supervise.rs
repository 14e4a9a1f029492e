//! Keeps the server running: starts it again if it ends although nobody stopped it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    EmbeddedPostgres,
    cluster::Cluster,
    error::EmbeddedError,
    launch::Launch,
    log::{self, Log},
};

/// How often the server is started again in a row.
const MAX_RESTARTS: u32 = 5;
/// The pause before the second attempt in a row. It doubles with each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A server that has run for this long is healthy: the next end begins a new row of attempts.
const HEALTHY_AFTER: Duration = Duration::from_mins(5);

impl EmbeddedPostgres {
    /// Watches the server, and starts it again whenever it ends although nobody stopped it: at once,
    /// then after growing pauses, at most 5 times in a row. Returns when that is not enough.
    ///
    /// Dropping the future stops the watching, and a server that is just being started.
    pub async fn supervise(&mut self) -> EmbeddedError {
        let (mut restarts, mut started_at) = (0, Instant::now());
        loop {
            let status = self.server.ended().await;
            let pid = self.pid;
            tracing::error!(pid, ?status, "the embedded PostgreSQL ended unexpectedly");
            if started_at.elapsed() >= HEALTHY_AFTER {
                restarts = 0;
            }
            let again = match restarts {
                MAX_RESTARTS.. => Err(self.exited()),
                _ => self.restart(&mut restarts).await,
            };
            if let Err(last) = again {
                return EmbeddedError::Lost { restarts, last: Box::new(last) };
            }
            started_at = Instant::now();
            tracing::warn!(pid = self.pid, restarts, "restarted the embedded PostgreSQL");
        }
    }

    /// Starts the server again, in as many attempts as are left. Counts them in `restarts`.
    async fn restart(&mut self, restarts: &mut u32) -> Result<(), EmbeddedError> {
        loop {
            if *restarts > 0 {
                sleep(FIRST_PAUSE * 2_u32.pow(*restarts - 1)).await;
            }
            *restarts += 1;
            match self.launch_again().await {
                Ok(()) => return Ok(()),
                Err(error) if *restarts >= MAX_RESTARTS => return Err(error),
                Err(error) => {
                    tracing::error!(%error, restarts, "restarting the embedded PostgreSQL failed");
                }
            }
        }
    }

    fn exited(&self) -> EmbeddedError {
        let log = log::path_in(&self.data_dir);
        EmbeddedError::Exited { tail: log::tail(&log), log }
    }

    async fn launch_again(&mut self) -> Result<(), EmbeddedError> {
        let cluster = Cluster::of(&self.data_dir);
        // The processes of the ended server may still be running.
        cluster.evict(&self.socket.claim()).await?;
        let log = Log::create(&self.data_dir, &self.user)?;
        let (program, user) = (self.program.clone(), self.user.clone());
        let launch = Launch { program, user, cluster, log };
        (self.server, self.pid) = launch.run(&self.settings, &self.socket).await?;
        Ok(())
    }
}
