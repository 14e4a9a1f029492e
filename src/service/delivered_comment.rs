//! Comments that are looked up one by one, as for the subscribers of a ticket.
//!
//! Events that were placed together are delivered together. Their comments are read by one statement
//! (`grouping.rs`), when they are delivered, so that nobody receives a text that was redacted before.

use std::collections::HashMap;

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
    type Answer = Option<Posted>;
}

/// Looks up a comment together with those that others ask for.
///
/// # Errors
/// The database failed, or the request has exceeded its budget.
pub(super) async fn by_id(
    services: &Services,
    id: CommentId,
) -> Result<Option<Posted>, ServiceError> {
    if let Some(budget) = RequestBudget::current() {
        budget.add_statement().map_err(DbError::from)?;
    }
    let all = services.clone();
    submit(&services.comments, id, move |group| read(all.clone(), group)).await
}

async fn read(services: Services, group: Vec<Waiting<CommentId>>) {
    let ids = group.iter().map(|waiting| waiting.call).collect::<Vec<_>>();
    let found = match services.database.read().await {
        Ok(mut db) => comment::by_ids(&mut db, &ids).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(found) => {
            let found = found.into_iter().map(|posted| (posted.comment.id, posted));
            let found = found.collect::<HashMap<_, _>>();
            for waiting in group {
                let posted = found.get(&waiting.call).cloned();
                waiting.answer(Ok(posted));
            }
        }
        Err(error) => {
            for waiting in group {
                waiting.answer(Err(repeated(&error)));
            }
        }
    }
}
