//! Passwords: argon2id (RFC 9106) as PHC strings. Those that another system hashed are
//! checked by their own kind and parameters, and hashed anew when they are known.

use std::{fmt, sync::Arc, thread};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task};

use super::{import, stored_password::StoredPassword};
use crate::domain::clock::Ambient;

/// The longest password that is taken, in characters: nothing is ever truncated.
pub const MAX_PASSWORD: usize = 1_024;

/// A password as somebody typed it. It can't be printed.
pub struct Password(String);

impl Password {
    /// Wraps what was typed. The length is judged where a password is set; where
    /// one is checked, a longer one is simply wrong.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// What was typed, to be judged or compared with its repetition.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its length in characters.
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How much a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// 19 MiB and two passes, one lane: OWASP's minimum for argon2id, 40 ms.
    fn default() -> Self {
        Self { memory_kib: 19 * 1_024, passes: 2 }
    }
}

/// What checking a password came to.
#[derive(Debug)]
pub enum Checked {
    /// It is another one, or there is none.
    Wrong,
    /// It is the one that was stored.
    Right,
    /// It is the one that was stored, by another method or at another cost than ours:
    /// this is to be kept in its place.
    Outdated(StoredPassword),
}

/// Hashing failed. The password itself is never the reason, and is not told.
#[derive(Debug, thiserror::Error)]
#[error("passwords can't be hashed: {0}")]
pub struct PasswordError(String);

/// Hashes and checks passwords off the async threads, as many at once as there
/// are cores: more would only take more memory.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    ambient: Ambient,
    permits: Arc<Semaphore>,
    /// Checked in place of a hash that doesn't exist, so that an unknown address
    /// takes the same time as a wrong password.
    decoy: StoredPassword,
}

impl Passwords {
    /// Prepares hashing at a cost.
    ///
    /// # Errors
    /// A cost that argon2 doesn't take.
    pub fn new(cost: PasswordCost, ambient: Ambient) -> Result<Self, PasswordError> {
        let params =
            Params::new(cost.memory_kib, cost.passes, 1, None).map_err(PasswordError::of)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, &Password(String::new()), ambient.bytes())?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { argon2, ambient, permits: Arc::new(Semaphore::new(cores)), decoy })
    }

    /// Hashes a password with a new salt of 128 bits.
    ///
    /// # Errors
    /// Out of memory.
    pub async fn hash(&self, password: Password) -> Result<StoredPassword, PasswordError> {
        let (argon2, salt) = (self.argon2.clone(), self.ambient.bytes());
        self.blocking(move || hash(&argon2, &password, salt)).await?
    }

    /// Whether the password is the one that was stored. Costs one hash in any
    /// case, also where nothing is stored.
    ///
    /// # Errors
    /// The check could not run at all.
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

    /// As [`verify`](Self::verify), and hashes a right password anew where it was
    /// hashed by another system or at another cost.
    ///
    /// # Errors
    /// The check could not run at all; out of memory.
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
            if is_current(&argon2, &stored) || !import::sees_all(&password.0, &stored) {
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
        // The permit goes along: a caller that hangs up doesn't free the core.
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
    // By the kind and the parameters of the hash, whatever ours are.
    PasswordHash::new(stored.expose())
        .is_ok_and(|hash| argon2.verify_password(password.0.as_bytes(), &hash).is_ok())
}

/// Whether a password is stored as we would store it.
fn is_current(argon2: &Argon2<'_>, stored: &StoredPassword) -> bool {
    let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    PasswordHash::new(stored.expose()).is_ok_and(|hash| {
        hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
            && hash.version == Some(Version::V0x13.into())
            && Params::try_from(&hash).is_ok_and(|params| cost(&params) == cost(argon2.params()))
    })
}
