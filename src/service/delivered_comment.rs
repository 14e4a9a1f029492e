//! Comments that are looked up one by one, as for the subscribers of a ticket.
//!
//! Events that were placed together are delivered together. Their comments are read by one statement
//! (`grouping.rs`), when they are delivered, so that nobody receives a text that was redacted before.

use std::{collections::HashMap, sync::Arc};

use super::{
    ServiceError, Services,
    grouping::{Call, Waiting, repeated, submit},
};
use crate::{
    db::{
        DbError,
        comment::{self, Posted},
    },
    domain::{budget::RequestBudget, ids::CommentId},
};

impl Call for CommentId {
    /// The comments of the group by their ids, or `None` if they could not be read together.
    type Answer = Option<Arc<HashMap<CommentId, Posted>>>;
}

/// Looks up a comment together with those that others ask for.
///
/// # Errors
/// The database failed, or the request has exceeded its budget.
pub(super) async fn by_id(
    services: &Services,
    id: CommentId,
) -> Result<Option<Posted>, ServiceError> {
    let budget = RequestBudget::current();
    if let Some(budget) = &budget {
        budget.add_statement().map_err(DbError::from)?;
    }
    let all = services.clone();
    let found = submit(&services.comments, id, move |group| read(all.clone(), group)).await?;
    let Some(found) = found else {
        let mut db = services.database.read().await?;
        return Ok(comment::by_ids(&mut db, &[id]).await?.into_iter().next());
    };
    let posted = found.get(&id).cloned();
    if let (Some(posted), Some(budget)) = (&posted, &budget) {
        budget.add_loaded_bytes(posted.comment.body.len()).map_err(DbError::from)?;
    }
    Ok(posted)
}

async fn read(services: Services, group: Vec<Waiting<CommentId>>) {
    let mut ids = group.iter().map(|waiting| waiting.call).collect::<Vec<_>>();
    ids.sort_unstable();
    ids.dedup();
    let found = match services.database.read().await {
        Ok(mut db) => comment::by_ids(&mut db, &ids).await,
        Err(error) => Err(error),
    };
    let found = match found {
        Ok(found) => {
            let found = found.into_iter().map(|posted| (posted.comment.id, posted));
            Ok(Some(Arc::new(found.collect())))
        }
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "reading comments together failed; they are read one by one");
            Ok(None)
        }
    };
    for waiting in group {
        waiting.answer(found.as_ref().map(Option::clone).map_err(repeated));
    }
}
