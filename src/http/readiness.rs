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
    /// Asks over a connection of this pool.
    pub(super) fn ask(&self, database: &Database) -> Shared<BoxFuture<'static, bool>> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asking) = asked.as_ref().filter(|asking| asking.peek().is_none()) {
            return asking.clone();
        }
        let database = database.clone();
        let asking = async move {
            let pinged = time::timeout(TIMEOUT, database.ping()).await;
            matches!(pinged, Ok(Ok(())))
        };
        asked.insert(asking.boxed().shared()).clone()
    }
}
