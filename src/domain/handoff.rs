//! Handoffs: a customer who is signed in to the control panel signs in here with a link, without
//! a password.

use chrono::TimeDelta;

use super::{
    clock::Timestamp,
    ids::{AccountId, HandoffId},
};

/// How long a handoff link is valid: long enough for a redirect, too short for someone who
/// finds it in a history or log.
pub const VALID_FOR: TimeDelta = TimeDelta::seconds(60);

/// A handoff. Only a hash of its token is stored.
#[derive(Clone, Debug)]
pub struct Handoff {
    /// The handoff's id.
    pub id: HandoffId,
    /// The customer's account.
    pub account_id: AccountId,
    /// When the handoff was created.
    pub created_at: Timestamp,
    /// When the handoff expires.
    pub expires_at: Timestamp,
}
