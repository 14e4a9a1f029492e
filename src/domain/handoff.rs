//! Hand-overs: a customer who is signed in to the control panel comes over without
//! another password.

use chrono::TimeDelta;

use super::{
    clock::Timestamp,
    ids::{AccountId, HandoffId},
};

/// How long a link is good for: long enough for a redirect, too short to be found in
/// a history or a log and used.
pub const VALID_FOR: TimeDelta = TimeDelta::seconds(60);

/// A hand-over that was begun. The token that stands for it is not kept.
#[derive(Clone, Debug)]
pub struct Handoff {
    /// Its id.
    pub id: HandoffId,
    /// Who is handed over.
    pub account_id: AccountId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}
