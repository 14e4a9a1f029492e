//! Password hashes that another system made: argon2 and bcrypt. What one costs to
//! check was that system's choice, so it is held to bounds before it is kept: a hash
//! that asks for gigabytes would be a way to burn this server's memory.

use std::fmt;

use argon2::{Algorithm, Params, Version, password_hash::phc::PasswordHash};
use bcrypt::HashParts;
use sha2::{Digest, Sha256};

use super::stored_password::StoredPassword;

/// 256 MiB, in KiB.
const MOST_MEMORY: u32 = 256 * 1_024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;
/// Memory times passes: 1 GiB, in KiB. That takes some 2 seconds.
const MOST_WORK: u32 = 1_024 * 1_024;
/// A second; each further step doubles it.
const MOST_BCRYPT_COST: u32 = 14;
const LONGEST: usize = 255;
/// bcrypt looks at so many bytes of a password and at no more.
const BCRYPT_SEES: usize = 72;

/// A hash that another system made. It can't be printed.
pub struct ImportedPassword {
    stored: StoredPassword,
    fingerprint: [u8; 32],
}

/// Why a hash is not taken. Its `Display` is for the other system's developer, and
/// repeats nothing of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It can't be read.
    #[error(
        "must be a PHC string of argon2id, argon2i or argon2d with version, m, t and p, salt and \
         hash, like $argon2id$v=19$m=19456,t=2,p=1$…$…, or bcrypt's, like $2y$10$…"
    )]
    Malformed,
    /// It takes more memory or time than we give.
    #[error(
        "asks for too much: at most 256 MiB, 16 passes, 16 lanes and 1 GiB of memory times \
         passes for argon2, and a cost of 14 for bcrypt"
    )]
    TooCostly,
}

impl ImportedPassword {
    /// Accepts a hash.
    ///
    /// # Errors
    /// Neither argon2 nor bcrypt; asks for too much memory or time.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        if text.len() > LONGEST {
            return Err(ImportError::Malformed);
        }
        if text.starts_with("$2") {
            check_bcrypt(text)?
        } else {
            check_argon2(text)?
        }
        let fingerprint = Sha256::digest(text).into();
        Ok(Self { stored: StoredPassword::from_phc(text.to_owned()), fingerprint })
    }

    /// What is kept of the password.
    pub fn stored(&self) -> &StoredPassword {
        &self.stored
    }

    /// Tells whether it comes again: SHA-256 of the hash.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl fmt::Debug for ImportedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportedPassword(…)")
    }
}

fn check_argon2(text: &str) -> Result<(), ImportError> {
    let hash = PasswordHash::new(text).map_err(|_| ImportError::Malformed)?;
    Algorithm::new(hash.algorithm.as_str()).map_err(|_| ImportError::Malformed)?;
    let version = hash.version.ok_or(ImportError::Malformed)?;
    Version::try_from(version).map_err(|_| ImportError::Malformed)?;
    // A parameter that is missing would be taken from the library's defaults.
    let named = ["m", "t", "p"].iter().all(|&name| hash.params.get(name).is_some());
    let whole = hash.salt.is_some() && hash.hash.is_some_and(|hash| hash.len() >= 16);
    let params = Params::try_from(&hash).map_err(|_| ImportError::Malformed)?;
    // A secret key or associated data would have to come from elsewhere.
    if !named || !whole || hash.params.iter().count() != 3 {
        return Err(ImportError::Malformed);
    }
    let fits = params.m_cost() <= MOST_MEMORY
        && params.t_cost() <= MOST_PASSES
        && params.p_cost() <= MOST_LANES
        && params.m_cost() * params.t_cost() <= MOST_WORK;
    if fits { Ok(()) } else { Err(ImportError::TooCostly) }
}

fn check_bcrypt(text: &str) -> Result<(), ImportError> {
    // `2x` marks hashes of a faulty implementation, which ours isn't.
    let known = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix));
    let parts: HashParts = text.parse().map_err(|_| ImportError::Malformed)?;
    match parts.get_cost() {
        4..=MOST_BCRYPT_COST if known => Ok(()),
        cost if known && cost > MOST_BCRYPT_COST => Err(ImportError::TooCostly),
        _ => Err(ImportError::Malformed),
    }
}

/// Whether a stored password is bcrypt's.
pub(super) fn is_bcrypt(stored: &StoredPassword) -> bool {
    stored.expose().starts_with("$2")
}

/// Whether a password is the one that bcrypt hashed.
pub(super) fn verify_bcrypt(password: &str, stored: &StoredPassword) -> bool {
    bcrypt::verify(password, stored.expose()).unwrap_or(false)
}

/// Whether all of a password was looked at: of a longer one bcrypt can't tell that the
/// rest is right.
pub(super) fn sees_all(password: &str, stored: &StoredPassword) -> bool {
    !is_bcrypt(stored) || password.len() <= BCRYPT_SEES
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT_AND_HASH: &str =
        "c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObGRdescudvJCs";

    fn argon2(head: &str) -> Result<(), ImportError> {
        ImportedPassword::parse(&format!("{head}${SALT_AND_HASH}")).map(drop)
    }

    #[test]
    fn usual_hashes_are_taken() {
        for head in [
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2i$v=16$m=4096,t=3,p=1",
            "$argon2d$v=19$m=65536,t=4,p=4",
            "$argon2id$v=19$m=262144,t=4,p=16",
        ] {
            assert_eq!(argon2(head), Ok(()), "{head}");
        }
        for prefix in ["2a", "2b", "2y"] {
            let text =
                format!("${prefix}$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy");
            assert!(ImportedPassword::parse(&text).is_ok(), "{prefix}");
        }
    }

    #[test]
    fn absurd_parameters_are_refused() {
        for head in [
            "$argon2id$v=19$m=4194304,t=1,p=1",
            "$argon2id$v=19$m=4294967295,t=4294967295,p=1",
            "$argon2id$v=19$m=262144,t=5,p=1",
            "$argon2id$v=19$m=65536,t=17,p=1",
            "$argon2id$v=19$m=65536,t=1,p=17",
        ] {
            assert_eq!(argon2(head), Err(ImportError::TooCostly), "{head}");
        }
        let costly = "$2b$31$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        assert_eq!(ImportedPassword::parse(costly).map(drop), Err(ImportError::TooCostly));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for head in [
            "",
            "$argon2id",
            "$argon2id$v=19",
            "$argon2id$m=19456,t=2,p=1",
            "$argon2id$v=18$m=19456,t=2,p=1",
            "$argon2id$v=19$t=2,p=1",
            "$argon2id$v=19$m=19456,t=0,p=1",
            "$argon2id$v=19$m=99999999999,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1,keyid=aaaa",
            "$argon2$v=19$m=19456,t=2,p=1",
            "$scrypt$ln=16,r=8,p=1",
            "$6$rounds=5000",
        ] {
            assert_eq!(argon2(head), Err(ImportError::Malformed), "{head}");
        }
        for text in [
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA",
            "$2x$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
            "$2b$03$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
            "$2b$10$N9qo8uLOickgx2ZMRZoMye",
            "$2b$1é$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhW",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "hunter2",
        ] {
            let refused = ImportedPassword::parse(text).map(drop);
            assert_eq!(refused, Err(ImportError::Malformed), "{text}");
        }
    }

    #[test]
    fn it_is_never_printed() {
        let text = format!("$argon2id$v=19$m=19456,t=2,p=1${SALT_AND_HASH}");
        let imported = ImportedPassword::parse(&text).unwrap();
        assert_eq!(format!("{imported:?}"), "ImportedPassword(…)");
        assert!(!ImportError::Malformed.to_string().contains(SALT_AND_HASH));
    }
}
