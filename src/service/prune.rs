//! Deletes expired rows.

use chrono::TimeDelta;

use super::Services;
use crate::db::{
    DbError, challenge, handoff, idempotency, password_reset, rate_limit, second_factor,
};

/// How long expired handoffs stay in the database, where an operator can inspect them.
const HANDOFF_RETENTION: TimeDelta = TimeDelta::hours(24);

/// Deletes expired idempotency keys, rate-limit buckets, challenges, mailed codes, password
/// links, unconfirmed authenticators and handoffs. Several nodes may run this at the same
/// time.
///
/// # Errors
/// Returns an error if the database failed.
pub async fn prune(services: &Services) -> Result<(), DbError> {
    let mut connection = services.database.read().await?;
    let now = services.ambient.now();
    idempotency::prune(&mut connection, now).await?;
    rate_limit::prune(&mut connection, now).await?;
    challenge::prune(&mut connection, now).await?;
    password_reset::prune(&mut connection, now).await?;
    second_factor::prune(&mut connection, now).await?;
    handoff::prune(&mut connection, now - HANDOFF_RETENTION).await?;
    Ok(())
}
