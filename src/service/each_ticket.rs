//! Changes of many tickets by the system, in which one that cannot be changed holds up no other.

use super::ServiceError;
use crate::{
    db::{DbError, TransactionError as _},
    domain::ids::TicketId,
};

/// How many tickets one transaction changes. All of them stay locked until it ends.
pub(super) const BATCH: usize = 20;

/// Changes all tickets of a list, [`BATCH`] in one transaction, or each in its own if that fails. `page`
/// returns those that follow one of them, and `change` how many it has changed. Returns how many were.
///
/// # Errors
/// Returns an error if the database is not available, or none of a whole batch could be changed: others
/// would fail too. If only some could not be, returns the last of their errors after the others were
/// changed.
pub(super) async fn change_all<K, P, C>(
    page: impl Fn(Option<K>) -> P,
    change: impl Fn(Vec<TicketId>) -> C,
) -> Result<usize, ServiceError>
where
    K: Copy + Into<TicketId>,
    P: Future<Output = Result<Vec<K>, DbError>>,
    C: Future<Output = Result<usize, ServiceError>>,
{
    let (mut changed, mut last, mut failure) = (0, None, None);
    loop {
        let batch = page(last).await?;
        let Some(&furthest) = batch.last() else { return failure.map_or(Ok(changed), Err) };
        last = Some(furthest);
        let (count, failed) =
            change_batch(batch.into_iter().map(Into::into).collect(), &change).await?;
        changed += count;
        failure = failed.or(failure);
    }
}

/// Changes a batch. Returns how many tickets were changed, and the last error of those that failed.
async fn change_batch<C>(
    tickets: Vec<TicketId>,
    change: &impl Fn(Vec<TicketId>) -> C,
) -> Result<(usize, Option<ServiceError>), ServiceError>
where
    C: Future<Output = Result<usize, ServiceError>>,
{
    if tickets.len() > 1 {
        match change(tickets.clone()).await {
            Ok(count) => return Ok((count, None)),
            Err(error) if is_unavailable(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "changing tickets together failed; changing them one by one");
            }
        }
    }
    let (mut changed, mut failures) = (0, vec![]);
    for ticket in tickets {
        match change(vec![ticket]).await {
            Ok(count) => changed += count,
            Err(error) if is_unavailable(&error) => return Err(error),
            Err(error) => {
                tracing::error!(ticket = %ticket.0, %error, "a ticket could not be changed");
                failures.push(error);
            }
        }
    }
    let is_whole_batch = failures.len() == BATCH;
    match failures.pop() {
        Some(error) if is_whole_batch => Err(error),
        last => Ok((changed, last)),
    }
}

fn is_unavailable(error: &ServiceError) -> bool {
    error.database().is_some_and(DbError::is_unavailable)
}
