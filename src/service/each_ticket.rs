//! Changes of many tickets by the system, in which one that cannot be changed holds up no other.

use super::ServiceError;
use crate::{
    db::{DbError, TransactionError as _},
    domain::ids::TicketId,
};

/// How many tickets one transaction changes. All of them stay locked until it ends.
pub(super) const BATCH: usize = 20;

/// What came of changing many tickets.
#[derive(Default)]
pub(super) struct Changed {
    /// How many were changed.
    pub(super) count: usize,
    /// Why the last one that could not be changed could not.
    pub(super) failed: Option<ServiceError>,
}

impl Changed {
    /// Returns how many tickets were changed, or why not all of them.
    ///
    /// # Errors
    /// Returns the last error, if there was one.
    pub(super) fn result(self) -> Result<usize, ServiceError> {
        self.failed.map_or(Ok(self.count), Err)
    }
}

/// Changes tickets in one transaction, or each in its own if that fails. `change` returns how many it
/// has changed.
///
/// # Errors
/// Returns an error if the database is not available, or none of a whole batch could be changed: others
/// would fail too. What only some meet is logged and added to `changed`.
pub(super) async fn change_each<F>(
    tickets: Vec<TicketId>,
    changed: &mut Changed,
    change: impl Fn(Vec<TicketId>) -> F,
) -> Result<(), ServiceError>
where
    F: Future<Output = Result<usize, ServiceError>>,
{
    if tickets.len() > 1 {
        match change(tickets.clone()).await {
            Ok(count) => {
                changed.count += count;
                return Ok(());
            }
            Err(error) if is_unavailable(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "changing tickets together failed; changing them one by one");
            }
        }
    }
    let (mut failed, mut last) = (0, None);
    for &ticket in &tickets {
        match change(vec![ticket]).await {
            Ok(count) => changed.count += count,
            Err(error) if is_unavailable(&error) => return Err(error),
            Err(error) => {
                tracing::error!(ticket = %ticket.0, %error, "a ticket could not be changed");
                failed += 1;
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if failed == BATCH => Err(error),
        None => Ok(()),
        last => {
            changed.failed = last;
            Ok(())
        }
    }
}

fn is_unavailable(error: &ServiceError) -> bool {
    error.database().is_some_and(DbError::is_unavailable)
}
