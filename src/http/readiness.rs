//! Whether the database answers.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::time;

use crate::db::Database;

/// How long the database may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the database whether it answers. Requests that come meanwhile share the answer, so that any
/// number of them use one connection.
#[derive(Default)]
pub struct Readiness(Mutex<Option<Shared<BoxFuture<'static, bool>>>>);

impl Readiness {
    /// Asks over a connection of its own, which waits for nobody: if busy nodes were not ready, the
    /// others would be busier.
    pub(super) fn ask(&self, database: &Database) -> Shared<BoxFuture<'static, bool>> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asking) = asked.as_ref().filter(|asking| asking.peek().is_none()) {
            return asking.clone();
        }
        let database = database.clone();
        // A task: it ends also if everybody who asked has gone.
        let asking = tokio::spawn(async move {
            let answered = time::timeout(TIMEOUT, database.ping_apart()).await;
            matches!(answered, Ok(Ok(())))
        });
        let asking = asking.map(|answered| answered.unwrap_or(false));
        asked.insert(asking.boxed().shared()).clone()
    }
}
