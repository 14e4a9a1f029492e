//! Passwords, hashed with argon2id (RFC 9106) and stored as PHC strings. A hash from another system
//! is verified with its own algorithm and parameters, and replaced when its owner signs in.
//!
//! A password is prepared as an `OpaqueString` (RFC 8265) before it is hashed, so that keyboards
//! that compose characters differently enter the same password. Another system may have hashed it
//! as it was typed.

use std::{fmt, iter, sync::Arc, thread};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task};
use unicode_normalization::UnicodeNormalization as _;

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

    /// Returns the password, to validate it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the length of the prepared password, in characters.
    pub fn chars(&self) -> usize {
        self.prepared().chars().count()
    }

    /// Returns the password in the form that is hashed (RFC 8265): NFC, with U+0020 in the place
    /// of all other spaces. No character is rejected.
    fn prepared(&self) -> String {
        self.0.chars().map(|c| if is_other_space(c) { ' ' } else { c }).nfc().collect()
    }

    /// Returns the forms that a stored hash may have been made of, each once: prepared, as typed,
    /// NFC and NFD. How many they are depends on the password alone, so the time to try all of
    /// them is the same for all accounts.
    fn forms(&self) -> Vec<String> {
        let mut forms = Vec::with_capacity(4);
        let composed = iter::once_with(|| self.0.nfc().collect());
        let decomposed = iter::once_with(|| self.0.nfd().collect());
        let typed = [self.prepared(), self.0.clone()].into_iter();
        for form in typed.chain(composed).chain(decomposed) {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        forms
    }
}

/// Returns whether a character is a space (Unicode category Zs) other than U+0020.
fn is_other_space(c: char) -> bool {
    matches!(
        c,
        '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}'
    )
}

/// Passwords are equal if they are after their preparation.
impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.prepared() == other.prepared()
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
    /// The password is correct, but its hash uses another algorithm or cost, or was made of
    /// another form of the password. Store this hash in its place.
    Outdated(StoredPassword),
}

/// A password could not be hashed or verified. The text does not contain the password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many passwords are waiting to be hashed. The same call may succeed later.
    #[error("too many passwords are waiting to be hashed")]
    Busy,
    /// Hashing failed.
    #[error("hashing a password failed: {0}")]
    Failed(String),
}

/// How many passwords may wait for each that is being hashed. The last one waits about 3 seconds.
const MAX_WAITING: usize = 64;

/// Hashes and verifies passwords on blocking threads, at the same time at most one fewer than there
/// are cores: guesses of passwords leave a core to everything else. A limited number of others
/// wait.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    ambient: Ambient,
    permits: Arc<Semaphore>,
    /// The places of those that are being hashed or wait for it.
    places: Arc<Semaphore>,
    /// How many places there are.
    most: usize,
    /// Verified if there is no hash at all, so that this takes as long as a wrong password.
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
        let at_once = (cores - 1).max(1);
        let permits = Arc::new(Semaphore::new(at_once));
        let most = at_once * (1 + MAX_WAITING);
        let places = Arc::new(Semaphore::new(most));
        Ok(Self { argon2, ambient, permits, places, most, decoy })
    }

    /// Returns how many passwords at most are being hashed or wait for it at the same time.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Hashes a password with a new salt of 128 bits.
    ///
    /// # Errors
    /// Too many passwords are waiting, or the server is out of memory.
    pub async fn hash(&self, password: Password) -> Result<StoredPassword, PasswordError> {
        let (argon2, salt) = (self.argon2.clone(), self.ambient.bytes());
        self.blocking(move || hash(&argon2, &password, salt)).await?
    }

    /// Returns whether a password matches the stored one. Takes the time of the same number of
    /// hashes for a wrong password and if no password is stored. An empty password matches nothing.
    ///
    /// # Errors
    /// Too many passwords are waiting, or the verification could not run.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<StoredPassword>,
    ) -> Result<bool, PasswordError> {
        Ok(!matches!(self.check(password, stored, None).await?, Checked::Wrong))
    }

    /// Verifies a password like [`verify`](Self::verify), and hashes a correct one again if its
    /// hash is from another system, has another cost, or was made of another form.
    ///
    /// If no password is stored, the one of `stand_in` is verified for its time only: hashes of
    /// other systems take longer or shorter than our own.
    ///
    /// # Errors
    /// Too many passwords are waiting, the verification could not run, or the server is out of
    /// memory.
    pub async fn check(
        &self,
        password: Password,
        stored: Option<StoredPassword>,
        stand_in: Option<StoredPassword>,
    ) -> Result<Checked, PasswordError> {
        let known = stored.is_some();
        let stored = stored.or(stand_in).unwrap_or_else(|| self.decoy.clone());
        let (argon2, salt) = (self.argon2.clone(), self.ambient.bytes());
        self.blocking(move || {
            let known = known && (1..=MAX_PASSWORD).contains(&password.chars());
            let forms = password.forms();
            let matching = forms.iter().find(|form| verify(&argon2, form, &stored));
            let Some(form) = matching.filter(|_| known) else { return Ok(Checked::Wrong) };
            let prepared = *form == forms[0];
            if prepared && is_current(&argon2, &stored) || !import::covers_all(form, &stored) {
                return Ok(Checked::Right);
            }
            hash(&argon2, &password, salt).map(Checked::Outdated)
        })
        .await?
    }

    /// Returns whether a stored hash is that of an empty password, as other systems store it for
    /// accounts without a password.
    ///
    /// # Errors
    /// Too many passwords are waiting, or the verification could not run.
    pub async fn is_empty(&self, stored: StoredPassword) -> Result<bool, PasswordError> {
        let argon2 = self.argon2.clone();
        self.blocking(move || verify(&argon2, "", &stored)).await
    }

    /// Does the work of examining a password, in the same turns as hashing.
    ///
    /// # Errors
    /// Too many passwords are waiting, or the work has panicked.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place =
            Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(PasswordError::of)?;
        // The task owns both, so the core stays reserved if the caller is dropped.
        task::spawn_blocking(move || {
            let _owned = (place, permit);
            work()
        })
        .await
        .map_err(PasswordError::of)
    }
}

impl PasswordError {
    fn of(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

fn hash(
    argon2: &Argon2<'_>,
    password: &Password,
    salt: [u8; 16],
) -> Result<StoredPassword, PasswordError> {
    let password = password.prepared();
    let phc: PasswordHash =
        argon2.hash_password_with_salt(password.as_bytes(), &salt).map_err(PasswordError::of)?;
    Ok(StoredPassword::from_phc(phc.to_string()))
}

/// Returns whether a form of a password is the one that was hashed.
fn verify(argon2: &Argon2<'_>, password: &str, stored: &StoredPassword) -> bool {
    if import::is_bcrypt(stored) {
        return import::verify_bcrypt(password, stored);
    }
    // Uses the algorithm and parameters of the hash, not those of `argon2`.
    PasswordHash::new(stored.expose())
        .is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok())
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

#[cfg(test)]
mod tests {
    use tokio::sync::OwnedSemaphorePermit;

    use super::*;
    use crate::{
        crypto::{import::ImportedPassword, random::SystemRandomness},
        domain::clock::SystemClock,
    };

    fn passwords() -> Passwords {
        let ambient = Ambient::new(Arc::new(SystemClock), Arc::new(SystemRandomness));
        Passwords::new(PasswordCost { memory_kib: 8, passes: 1 }, ambient).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn bcrypt(text: &str) -> StoredPassword {
        let hash = bcrypt::hash(text, 4).unwrap();
        ImportedPassword::parse(&hash).unwrap().stored().clone()
    }

    #[test]
    fn a_password_is_prepared_as_an_opaque_string() {
        // The examples of RFC 8265, section 4.3, and further spaces.
        for (typed, prepared) in [
            ("correct horse battery staple", "correct horse battery staple"),
            ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
            ("\u{3C0}\u{DF}\u{E5}", "\u{3C0}\u{DF}\u{E5}"),
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
            ("a\u{A0}b\u{3000}c\u{2009}d\u{202F}e", "a b c d e"),
            ("Gru\u{308}ße", "Grüße"),
            ("\u{FB01}\u{200D}\t", "\u{FB01}\u{200D}\t"),
        ] {
            assert_eq!(password(typed).prepared(), prepared);
        }
    }

    #[test]
    fn the_number_of_forms_depends_on_the_password_alone() {
        for (typed, forms) in [
            ("plain", 1),
            ("Grüße", 2),
            ("Gru\u{308}ße", 2),
            ("Gru\u{308}ß\u{A0}dich", 3),
            ("Gr\u{FC}ßt\u{A0}u\u{308}ber", 4),
        ] {
            assert_eq!(password(typed).forms().len(), forms, "{typed}");
        }
    }

    #[tokio::test]
    async fn a_bcrypt_hash_is_replaced_only_if_it_covers_the_whole_password() {
        let long = "x".repeat(103);
        for (hashed, typed, replaced) in [
            ("short", "short", true),
            (&long[..71], &long[..71], true),
            (&long, &long[..72], false),
            (&long, &long, false),
            // bcrypt repeats a short password and the null byte after it.
            ("a", "a\0a", false),
        ] {
            let checked =
                passwords().check(password(typed), Some(bcrypt(hashed)), None).await.unwrap();
            let outdated = matches!(checked, Checked::Outdated(_));
            assert_eq!(outdated, replaced, "{typed}: {checked:?}");
            assert!(!matches!(checked, Checked::Wrong), "{typed}");
        }
    }

    #[tokio::test]
    async fn the_password_of_another_account_matches_nothing() {
        let stand_in = Some(bcrypt("short"));
        let checked = passwords().check(password("short"), None, stand_in).await.unwrap();
        assert!(matches!(checked, Checked::Wrong), "{checked:?}");
    }

    #[tokio::test]
    async fn a_limited_number_of_passwords_wait() {
        let passwords = passwords();
        let all = u32::try_from(passwords.places.available_permits()).unwrap();
        let busy: OwnedSemaphorePermit =
            Arc::clone(&passwords.places).try_acquire_many_owned(all).unwrap();
        let refused = passwords.verify(password("x"), None).await;
        assert!(matches!(refused, Err(PasswordError::Busy)), "{refused:?}");
        drop(busy);
        assert!(!passwords.verify(password("x"), None).await.unwrap());
    }
}
