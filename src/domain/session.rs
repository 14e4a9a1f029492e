//! Sessions.

use super::{
    clock::Timestamp,
    ids::{AccountId, SessionId},
};

/// A sign-in that has not ended. The token that stands for it is not kept.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}
