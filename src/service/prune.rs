//! Deletes expired rows, and data that is older than the installation keeps it.

use chrono::TimeDelta;
use uuid::Uuid;

use super::Services;
use crate::{
    db::{
        DbError, challenge, handoff, idempotency, password_reset, rate_limit, retention,
        second_factor, staff_list, ticket_invitation,
    },
    domain::{clock::Timestamp, staff_list::StaffList},
};

/// How long expired handoffs stay in the database, where an operator can inspect them.
const HANDOFF_RETENTION: TimeDelta = TimeDelta::hours(24);
/// How many rows one statement of [`prune_sessions`] and [`prune_deliveries`] reads.
const BATCH: i64 = 1_000;

/// Deletes expired idempotency keys, rate-limit buckets, challenges, mailed codes, password
/// links, unconfirmed authenticators, handoffs and invitations, the canned answers and views of erased
/// accounts, and what `Settings::retention` limits. Several nodes may run this at the same time. What
/// fails for one kind of rows does not keep the others.
///
/// # Errors
/// Returns the first error if the database failed.
pub async fn prune(services: &Services) -> Result<(), DbError> {
    let mut connection = services.database.read().await?;
    let (db, now) = (&mut *connection, services.ambient.now());
    let expired = [
        idempotency::prune(db, now).await,
        rate_limit::prune(db, now).await,
        challenge::prune(db, now).await,
        password_reset::prune(db, now).await,
        second_factor::prune(db, now).await,
        ticket_invitation::prune(db, now).await,
        staff_list::prune(db, StaffList::CannedAnswers).await,
        staff_list::prune(db, StaffList::SavedViews).await,
        handoff::prune(db, now - HANDOFF_RETENTION).await,
    ];
    drop(connection);
    let old = [prune_sessions(services, now).await, prune_deliveries(services, now).await];
    expired.into_iter().chain(old).collect()
}

/// Deletes old sessions, and the network addresses and devices of those that stay.
async fn prune_sessions(services: &Services, now: Timestamp) -> Result<(), DbError> {
    let (keep, idle) = (services.settings.retention, services.settings.session_idle);
    if keep.origin.is_none() && keep.ended_session.is_none() {
        return Ok(());
    }
    let mut after = Uuid::nil();
    loop {
        let mut connection = services.database.read().await?;
        let last = retention::last_session(&mut connection, after, BATCH).await?;
        let Some(last) = last else { return Ok(()) };
        if let Some(origin) = keep.origin {
            retention::erase_origins(&mut connection, (after, last), now - origin).await?;
        }
        if let Some(ended) = keep.ended_session {
            let ended_at = now - ended;
            retention::delete_sessions(&mut connection, (after, last), ended_at, idle).await?;
        }
        after = last;
    }
}

/// Deletes old deliveries. They are planned in the order of their `seq`, so it ends at the first
/// batch that is not old.
async fn prune_deliveries(services: &Services, now: Timestamp) -> Result<(), DbError> {
    let Some(keep) = services.settings.retention.delivery else { return Ok(()) };
    let mut after = 0;
    loop {
        let mut connection = services.database.read().await?;
        let last = retention::last_delivery(&mut connection, after, BATCH).await?;
        let Some((last, planned_at)) = last else { return Ok(()) };
        retention::delete_deliveries(&mut connection, (after, last), now - keep).await?;
        if planned_at > now - keep {
            return Ok(());
        }
        after = last;
    }
}
