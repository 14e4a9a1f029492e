//! Why a stream cannot begin.

use crate::db::DbError;

/// The error of a stream that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The caller is not signed in, the session has ended, or its role has changed.
    #[error("the caller has no live session")]
    Unauthenticated,
    /// The ticket does not exist, or the caller may not see it.
    #[error("the ticket does not exist, or the caller may not see it")]
    NotFound,
    /// The caller must configure a second factor first.
    #[error("the caller must configure a second factor first")]
    SecondFactorMissing,
    /// The cursor is beyond the end of the feed.
    #[error("the cursor is beyond the end of the event log")]
    CursorAhead,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}
