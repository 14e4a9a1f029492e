//! Password hashes from another system: argon2 and bcrypt.
//!
//! The other system chose what it costs to verify a hash. The cost is limited before a hash is
//! stored, because a hash that requires gigabytes could exhaust this server's memory.

use std::fmt;

use argon2::{Algorithm, Params, Version, password_hash::phc::PasswordHash};
use bcrypt::HashParts;
use sha2::{Digest, Sha256};

use super::stored_password::StoredPassword;

/// 256 MiB.
const MAX_MEMORY_KIB: u32 = 256 * 1_024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;
/// 1 GiB, as memory in KiB times passes. A hash of this cost takes about 2 seconds.
const MAX_WORK: u32 = 1_024 * 1_024;
/// A hash of this cost takes about a second. Each further step doubles the time.
const MAX_BCRYPT_COST: u32 = 14;
/// The maximum length of a hash, in bytes.
const MAX_LENGTH: usize = 255;
/// bcrypt ignores the bytes of a password after these.
const BCRYPT_MAX_PASSWORD: usize = 72;

/// A password hash from another system. Its `Debug` output omits the hash.
pub struct ImportedPassword {
    stored: StoredPassword,
    fingerprint: [u8; 32],
}

/// The reason why a hash is rejected. Its `Display` output is for the developer of the other
/// system and does not repeat the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The hash is malformed or of an unsupported kind.
    #[error(
        "must be an argon2id, argon2i or argon2d hash in PHC format with version, m, t, p, salt \
         and hash, like $argon2id$v=19$m=19456,t=2,p=1$…$…, or a bcrypt hash, like $2y$10$…"
    )]
    Malformed,
    /// Verifying the hash would take too much memory or time.
    #[error(
        "is too expensive to verify: argon2 is limited to 256 MiB, 16 passes, 16 lanes and 1 GiB \
         of memory times passes, and bcrypt to a cost of 14"
    )]
    TooCostly,
}

impl ImportedPassword {
    /// Parses a hash.
    ///
    /// # Errors
    /// The hash is neither argon2 nor bcrypt, or is too expensive to verify.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        if text.len() > MAX_LENGTH {
            return Err(ImportError::Malformed);
        }
        if text.starts_with("$2") {
            check_bcrypt(text)?;
        } else {
            check_argon2(text)?;
        }
        let fingerprint = Sha256::digest(text).into();
        Ok(Self { stored: StoredPassword::from_phc(text.to_owned()), fingerprint })
    }

    /// Returns the hash to store.
    pub fn stored(&self) -> &StoredPassword {
        &self.stored
    }

    /// Returns the SHA-256 checksum of the hash, to recognise the hash when it is sent again.
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
    // The library would replace a missing parameter by its own default.
    let named = ["m", "t", "p"].iter().all(|&name| hash.params.get(name).is_some());
    let whole = hash.salt.is_some() && hash.hash.is_some_and(|hash| hash.len() >= 16);
    let params = Params::try_from(&hash).map_err(|_| ImportError::Malformed)?;
    // A fourth parameter would be a secret key or associated data, which is not known here.
    if !named || !whole || hash.params.iter().count() != 3 {
        return Err(ImportError::Malformed);
    }
    let fits = params.m_cost() <= MAX_MEMORY_KIB
        && params.t_cost() <= MAX_PASSES
        && params.p_cost() <= MAX_LANES
        && params.m_cost() * params.t_cost() <= MAX_WORK;
    if fits { Ok(()) } else { Err(ImportError::TooCostly) }
}

fn check_bcrypt(text: &str) -> Result<(), ImportError> {
    // `2x` marks hashes of a faulty implementation, which the library does not reproduce.
    let known = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix));
    let parts: HashParts = text.parse().map_err(|_| ImportError::Malformed)?;
    match parts.get_cost() {
        4..=MAX_BCRYPT_COST if known => Ok(()),
        cost if known && cost > MAX_BCRYPT_COST => Err(ImportError::TooCostly),
        _ => Err(ImportError::Malformed),
    }
}

/// Returns whether a stored hash is a bcrypt hash.
pub(super) fn is_bcrypt(stored: &StoredPassword) -> bool {
    stored.expose().starts_with("$2")
}

/// Returns whether a password matches a bcrypt hash.
pub(super) fn verify_bcrypt(password: &str, stored: &StoredPassword) -> bool {
    bcrypt::verify(password, stored.expose()).unwrap_or(false)
}

/// Returns whether no other password matches the same hash. bcrypt ignores the bytes after the
/// first 72, so one of 72 bytes may be the start of a longer one. It repeats a shorter password
/// and the null byte after it up to that length.
pub(super) fn covers_all(password: &str, stored: &StoredPassword) -> bool {
    !is_bcrypt(stored) || password.len() < BCRYPT_MAX_PASSWORD && !password.contains('\0')
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
    fn common_hashes_are_accepted() {
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
    fn excessive_parameters_are_rejected() {
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
    fn malformed_hashes_are_rejected() {
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
            let rejected = ImportedPassword::parse(text).map(drop);
            assert_eq!(rejected, Err(ImportError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_hash_is_never_printed() {
        let text = format!("$argon2id$v=19$m=19456,t=2,p=1${SALT_AND_HASH}");
        let imported = ImportedPassword::parse(&text).unwrap();
        assert_eq!(format!("{imported:?}"), "ImportedPassword(…)");
        assert!(!ImportError::Malformed.to_string().contains(SALT_AND_HASH));
    }
}
