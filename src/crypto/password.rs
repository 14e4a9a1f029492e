//! Passwords, hashed with argon2id (RFC 9106) and stored as PHC strings. A hash from another system
//! is verified with its own algorithm and parameters, and replaced when its owner signs in.

use std::{fmt, sync::Arc, thread};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task};

use super::{import, stored_password::StoredPassword};
use crate::domain::clock::Ambient;

/// The maximum length of a password, in characters. Passwords are never truncated.
pub const MAX_PASSWORD: usize = 1_024;

/// A password as a person typed it. Its `Debug` output omits the password.
pub struct Password(String);

impl Password {
    /// Wraps a password of any length. The caller validates the length when a password is set.
    /// When a password is verified, one that is too long is wrong.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the password, to validate it or compare it with its repetition.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the length in characters.
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The cost of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// The memory, in KiB.
    pub memory_kib: u32,
    /// The number of passes over the memory.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// Returns 19 MiB and two passes, OWASP's minimum for argon2id. A hash takes about 40 ms.
    fn default() -> Self {
        Self { memory_kib: 19 * 1_024, passes: 2 }
    }
}

/// The outcome of checking a password.
#[derive(Debug)]
pub enum Checked {
    /// The password is wrong, or no password is stored.
    Wrong,
    /// The password is correct.
    Right,
    /// The password is correct, but its hash uses another algorithm or cost. Store this hash in
    /// its place.
    Outdated(StoredPassword),
}

/// A password could not be hashed or verified. The text does not contain the password.
#[derive(Debug, thiserror::Error)]
#[error("hashing a password failed: {0}")]
pub struct PasswordError(String);

/// Hashes and verifies passwords on blocking threads, at the same time at most one fewer than there
/// are cores: guesses of passwords leave a core to everything else.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    ambient: Ambient,
    permits: Arc<Semaphore>,
    /// Verified if no hash is stored, so that an unknown address takes as long as a wrong
    /// password.
    decoy: StoredPassword,
}

impl Passwords {
    /// Prepares hashing at a cost.
    ///
    /// # Errors
    /// argon2 does not support the cost.
    pub fn new(cost: PasswordCost, ambient: Ambient) -> Result<Self, PasswordError> {
        let params =
            Params::new(cost.memory_kib, cost.passes, 1, None).map_err(PasswordError::of)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, &Password(String::new()), ambient.bytes())?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { argon2, ambient, permits: Arc::new(Semaphore::new((cores - 1).max(1))), decoy })
    }

    /// Hashes a password with a new salt of 128 bits.
    ///
    /// # Errors
    /// The server is out of memory.
    pub async fn hash(&self, password: Password) -> Result<StoredPassword, PasswordError> {
        let (argon2, salt) = (self.argon2.clone(), self.ambient.bytes());
        self.blocking(move || hash(&argon2, &password, salt)).await?
    }

    /// Returns whether a password matches the stored one. Takes the time of one hash, even if no
    /// password is stored.
    ///
    /// # Errors
    /// The verification could not run.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<StoredPassword>,
    ) -> Result<bool, PasswordError> {
        let known = stored.is_some() && password.chars() <= MAX_PASSWORD;
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let argon2 = self.argon2.clone();
        let matches = self.blocking(move || verify(&argon2, &password, &stored)).await?;
        Ok(known && matches)
    }

    /// Verifies a password like [`verify`](Self::verify), and hashes a correct one again if its
    /// hash is from another system or has another cost.
    ///
    /// # Errors
    /// The verification could not run, or the server is out of memory.
    pub async fn check(
        &self,
        password: Password,
        stored: Option<StoredPassword>,
    ) -> Result<Checked, PasswordError> {
        let known = stored.is_some() && password.chars() <= MAX_PASSWORD;
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let (argon2, salt) = (self.argon2.clone(), self.ambient.bytes());
        self.blocking(move || {
            let matches = verify(&argon2, &password, &stored);
            if !(matches && known) {
                return Ok(Checked::Wrong);
            }
            if is_current(&argon2, &stored) || !import::covers_all(&password.0, &stored) {
                return Ok(Checked::Right);
            }
            hash(&argon2, &password, salt).map(Checked::Outdated)
        })
        .await?
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(PasswordError::of)?;
        // The task owns the permit, so the core stays reserved if the caller is dropped.
        task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(PasswordError::of)
    }
}

impl PasswordError {
    fn of(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

fn hash(
    argon2: &Argon2<'_>,
    password: &Password,
    salt: [u8; 16],
) -> Result<StoredPassword, PasswordError> {
    let phc: PasswordHash =
        argon2.hash_password_with_salt(password.0.as_bytes(), &salt).map_err(PasswordError::of)?;
    Ok(StoredPassword::from_phc(phc.to_string()))
}

fn verify(argon2: &Argon2<'_>, password: &Password, stored: &StoredPassword) -> bool {
    if import::is_bcrypt(stored) {
        return import::verify_bcrypt(&password.0, stored);
    }
    // Uses the algorithm and parameters of the hash, not those of `argon2`.
    PasswordHash::new(stored.expose())
        .is_ok_and(|hash| argon2.verify_password(password.0.as_bytes(), &hash).is_ok())
}

/// Returns whether a hash has the current algorithm and cost.
fn is_current(argon2: &Argon2<'_>, stored: &StoredPassword) -> bool {
    let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    PasswordHash::new(stored.expose()).is_ok_and(|hash| {
        hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
            && hash.version == Some(Version::V0x13.into())
            && Params::try_from(&hash).is_ok_and(|params| cost(&params) == cost(argon2.params()))
    })
}
