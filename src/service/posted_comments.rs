//! The comments that this node has just posted. Messages of streams that many subscribers share take
//! them from memory: the node that posts a comment is mostly the first to deliver it.

use std::sync::Arc;

use moka::sync::Cache;

use super::timeline::cache::comment_bytes;
use crate::domain::{comment::Comment, ids::CommentId, redaction::POSTED_COMMENT_MAX_AGE};

/// About how many bytes the comments take at most.
const MAX_BYTES: u64 = 8 << 20;

/// The comments. Clones share them.
#[derive(Clone)]
pub(super) struct PostedComments(Cache<CommentId, Arc<Comment>>);

impl Default for PostedComments {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MAX_BYTES).time_to_live(POSTED_COMMENT_MAX_AGE);
        Self(cache.weigher(|_, comment: &Arc<Comment>| weight(comment)).build())
    }
}

impl PostedComments {
    /// Adds a comment that is about to be stored. Once it is stored its text can be erased, and its age
    /// must not begin later.
    pub(super) fn add(&self, comment: &Arc<Comment>) {
        self.0.insert(comment.id, Arc::clone(comment));
    }

    /// Returns a comment if it was posted within the last moment.
    pub(super) fn get(&self, id: CommentId) -> Option<Arc<Comment>> {
        self.0.get(&id)
    }
}

fn weight(comment: &Comment) -> u32 {
    u32::try_from(comment_bytes(comment)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        clock::Timestamp,
        comment::Visibility,
        ids::{AccountId, TicketId},
    };

    #[test]
    fn a_comment_is_in_memory_from_before_it_is_stored() {
        let id = CommentId(Uuid::nil());
        let comment = Arc::new(Comment {
            id,
            ticket_id: TicketId(Uuid::nil()),
            author_id: AccountId(Uuid::nil()),
            visibility: Visibility::Public,
            body: "text".into(),
            created_at: Timestamp::default(),
            edited_at: None,
            redacted_at: None,
        });
        let posted = PostedComments::default();
        assert!(posted.get(id).is_none());
        posted.add(&comment);
        assert!(posted.get(id).is_some_and(|found| Arc::ptr_eq(&found, &comment)));
    }
}
