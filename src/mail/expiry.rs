//! Expires mails that were not sent in time. It runs on every node, also on those that cannot send
//! mail, so that mails do not wait for ever if no node can.

use std::time::Duration;

use tokio::time;

use crate::{
    db::{Database, DbError, delivery},
    domain::clock::Ambient,
    metrics::Metrics,
};

use super::sender::outcome;

/// How often overdue mails are looked for.
const EVERY: Duration = Duration::from_secs(5);
/// The largest number of mails that expire in one statement.
const BATCH: i64 = 500;

/// Expires overdue mails until the future is dropped.
pub(super) async fn run(database: Database, ambient: Ambient, metrics: Metrics) {
    loop {
        match expire(&database, &ambient, &metrics).await {
            Ok(true) => {}
            Ok(false) => time::sleep(EVERY).await,
            Err(error) => {
                tracing::warn!(%error, "expiring overdue mails failed; retrying");
                time::sleep(EVERY).await;
            }
        }
    }
}

/// Expires one batch. Returns whether there may be more.
async fn expire(
    database: &Database,
    ambient: &Ambient,
    metrics: &Metrics,
) -> Result<bool, DbError> {
    let states = {
        let mut connection = database.read().await?;
        delivery::expire(&mut connection, ambient.now(), BATCH).await?
    };
    for state in &states {
        metrics.mail_attempt(outcome(*state));
    }
    if !states.is_empty() {
        tracing::warn!(count = states.len(), "mails expired before they could be sent");
    }
    Ok(i64::try_from(states.len()).is_ok_and(|count| count == BATCH))
}
