//! Idempotency keys, which make mutations that create something safe to repeat.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ServiceError, UserError, UserErrorCode};
use crate::{
    db::{
        Connection, Database,
        event::KeyClaim,
        idempotency::{self, Claim},
    },
    domain::{clock::Timestamp, ids::AccountId, text::IdempotencyKey},
};

/// A call that may be repeated.
pub(super) struct IdempotentCall {
    /// The caller's account.
    pub(super) account: AccountId,
    /// The caller's key. Without one, every call counts as the first.
    pub(super) key: Option<IdempotencyKey>,
    /// Identifies the input, see [`fingerprint`].
    pub(super) fingerprint: [u8; 32],
}

/// Returns a hash (SHA-256) of a mutation's name and the fields of its input.
pub(super) fn fingerprint(mutation: &str, fields: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [mutation].iter().chain(fields) {
        // The length keeps different parts from producing the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl IdempotentCall {
    /// Claims the key in the transaction that creates the result. Returns the id of the
    /// earlier result if the same call was made before. Call this before locking anything
    /// else, so that two equal calls cannot deadlock.
    ///
    /// # Errors
    /// Returns a user error if the key was used with a different input.
    pub(super) async fn earlier_result(
        &self,
        db: &mut Connection,
        result_id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Uuid>, ServiceError> {
        let Some(key) = &self.key else { return Ok(None) };
        earlier(idempotency::claim(db, self.account, key, self.fingerprint, result_id, now).await?)
    }

    /// Returns the id of the earlier result if the same call was made before. Claims nothing.
    ///
    /// # Errors
    /// Returns a user error if the key was used with a different input.
    pub(super) async fn find_earlier_result(
        &self,
        db: &mut Connection,
        now: Timestamp,
    ) -> Result<Option<Uuid>, ServiceError> {
        let Some(key) = &self.key else { return Ok(None) };
        let found = idempotency::find(db, self.account, key, self.fingerprint, now).await?;
        found.map_or(Ok(None), earlier)
    }

    /// Returns the result of an earlier equal call in spite of the error of a limit: a call that was
    /// made at the same time may have reached it.
    ///
    /// # Errors
    /// Returns the error if there was no such call or it is about something else.
    pub(super) async fn in_spite_of_limit(
        &self,
        database: &Database,
        error: ServiceError,
        now: Timestamp,
    ) -> Result<Uuid, ServiceError> {
        if !matches!(error, ServiceError::TooFrequent { .. }) || self.key.is_none() {
            return Err(error);
        }
        let mut connection = database.read().await?;
        self.find_earlier_result(&mut connection, now).await?.ok_or(error)
    }

    /// Returns the claim that creating a result in one statement makes, if the caller has a key.
    pub(super) fn claim(&self, result_id: Uuid, now: Timestamp) -> Option<KeyClaim<'_>> {
        let key = self.key.as_ref()?;
        let (account, fingerprint) = (self.account, self.fingerprint);
        Some(KeyClaim { account, key, fingerprint, result_id, now })
    }
}

fn earlier(claim: Claim) -> Result<Option<Uuid>, ServiceError> {
    match claim {
        Claim::First => Ok(None),
        Claim::Repeated(id) => Ok(Some(id)),
        Claim::Reused => Err(UserError::new(
            "idempotencyKey",
            UserErrorCode::IdempotencyKeyReused,
            "This idempotency key was used with a different input in the last 24 hours. Use a \
             new key for each new request.",
        )
        .into()),
    }
}
