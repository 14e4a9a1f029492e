//! Requests by links, which carry no session. They use the connections of requests, so each runs in a
//! turn and within the budget of a request, as a query does.

use std::pin::Pin;

use super::{
    api::Api,
    budgets::{Follower, LimitReached, delay_refusal},
};
use crate::{db::DbError, domain::budget::RequestBudget, service::ServiceError};

/// Why a link was not followed.
pub enum NotFollowed {
    /// The caller's other requests use up the limit.
    Refused(LimitReached),
    /// It failed.
    Failed(ServiceError),
}

impl From<LimitReached> for NotFollowed {
    fn from(reached: LimitReached) -> Self {
        Self::Refused(reached)
    }
}

/// Does the work of a link within the budget of its follower. The work is boxed: it is large, and every
/// layer above would copy it.
///
/// # Errors
/// The follower has too many requests under way, the work takes too much, or it failed.
pub async fn follow<T>(
    api: &Api,
    follower: Follower<'_>,
    work: Pin<Box<impl Future<Output = Result<T, ServiceError>>>>,
) -> Result<T, NotFollowed> {
    let _held = delay_refusal(api.budgets.link(follower).await).await?;
    let done = RequestBudget::new(api.limits).run(work).await;
    let done = done.unwrap_or_else(|exceeded| Err(DbError::from(exceeded).into()));
    done.map_err(NotFollowed::Failed)
}
