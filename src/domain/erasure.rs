//! Erasure: an account whose owner is forgotten.

use chrono::TimeDelta;

use super::{
    clock::Timestamp,
    email::{ERASED_DOMAIN, EmailAddress},
    ids::AccountId,
};

/// The name of every erased account.
pub const ERASED_NAME: &str = "Erased account";
/// How long a request that began before an erasure may still write what belongs to the account.
pub const SETTLING: TimeDelta = TimeDelta::minutes(1);

/// An erased account, as the database and the ledger record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Erasure {
    /// The account.
    pub account_id: AccountId,
    /// When it was erased.
    pub erased_at: Timestamp,
    /// Whether what the person wrote and uploaded is redacted too.
    pub redacts: bool,
}

impl Erasure {
    /// Whether everything that was under way when the account was erased has ended.
    pub fn has_settled(&self, now: Timestamp) -> bool {
        now - self.erased_at >= SETTLING
    }
}

/// Returns the address of an account that was erased.
pub fn erased_address(id: AccountId) -> EmailAddress {
    EmailAddress::from_stored(format!("{}@{ERASED_DOMAIN}", id.0))
}
