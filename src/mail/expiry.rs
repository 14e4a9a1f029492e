//! Expires mails that were not sent in time. It runs on every node, also on those that cannot send
//! mail, so that mails do not wait for ever if no node can.

use super::sender::outcome;
use crate::{
    db::{Database, DbError, delivery},
    domain::clock::Ambient,
    metrics::Metrics,
};

/// The largest number of mails that expire in one statement.
const BATCH: i64 = 500;

/// Expires all mails that are overdue now.
///
/// # Errors
/// The database failed.
pub async fn expire_overdue(
    database: &Database,
    ambient: &Ambient,
    metrics: &Metrics,
) -> Result<(), DbError> {
    while expire_batch(database, ambient, metrics).await? {}
    Ok(())
}

/// Expires one batch. Returns whether there may be more.
async fn expire_batch(
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
