//! Whether the database answers and accepts changes.

use std::time::Duration;

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tokio::time;

use crate::db::{Database, access};

/// How long the database may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const NO_ANSWER: NotReady = "the database does not answer\n";

/// Why the node should receive no requests, for the answer of `/readyz`.
type NotReady = &'static str;

type Asking = Shared<BoxFuture<'static, Result<(), NotReady>>>;

/// Asks the database whether it answers and accepts changes. Requests that come meanwhile share the
/// answer, so that any number of them use one connection.
#[derive(Default)]
pub struct Readiness(Mutex<Option<Asking>>);

impl Readiness {
    /// Asks over a connection of its own, which waits for nobody: if busy nodes were not ready, the
    /// others would be busier.
    pub(super) fn ask(&self, database: &Database) -> Asking {
        let mut asked = self.0.lock();
        if let Some(asking) = asked.as_ref().filter(|asking| asking.peek().is_none()) {
            return asking.clone();
        }
        let database = database.clone();
        // A task: it ends also if everybody who asked has gone.
        let asking = tokio::spawn(async move {
            match time::timeout(TIMEOUT, access::is_read_only(&database)).await {
                Ok(Ok(false)) => Ok(()),
                Ok(Ok(true)) => Err("the database is read-only\n"),
                Ok(Err(_)) | Err(_) => Err(NO_ANSWER),
            }
        });
        let asking = asking.map(|answered| answered.unwrap_or(Err(NO_ANSWER)));
        asked.insert(asking.boxed().shared()).clone()
    }
}
