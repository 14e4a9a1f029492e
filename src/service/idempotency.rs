//! Repeating a creating mutation safely.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ServiceError, UserError, UserErrorCode};
use crate::{
    db::{
        Connection,
        idempotency::{self, Claim},
    },
    domain::{clock::Timestamp, ids::AccountId, text::IdempotencyKey},
};

/// A call that may come again.
pub(super) struct IdempotentCall {
    /// Who calls.
    pub(super) account: AccountId,
    /// The caller's key; without one every call is the first.
    pub(super) key: Option<IdempotencyKey>,
    /// What tells this call's input from another's.
    pub(super) fingerprint: [u8; 32],
}

/// SHA-256 over a mutation's name and its input's fields, each with its length.
pub(super) fn fingerprint(mutation: &str, fields: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [mutation].iter().chain(fields) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl IdempotentCall {
    /// Claims the key in the transaction that makes the result; gives the id of
    /// an earlier equal call's result. Taken before any other lock, so that two
    /// equal calls can't block each other.
    ///
    /// # Errors
    /// The key was used with another input.
    pub(super) async fn earlier_result(
        &self,
        db: &mut Connection,
        result_id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Uuid>, ServiceError> {
        let Some(key) = &self.key else { return Ok(None) };
        match idempotency::claim(db, self.account, key, self.fingerprint, result_id, now).await? {
            Claim::First => Ok(None),
            Claim::Repeated(id) => Ok(Some(id)),
            Claim::Reused => Err(UserError::new(
                "idempotencyKey",
                UserErrorCode::IdempotencyKeyReused,
                "This idempotency key was used in the last 24 hours with another input. \
                 Use a new key for a new request.",
            )
            .into()),
        }
    }
}
