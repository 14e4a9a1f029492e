//! Password hashes as the database stores them.

use std::fmt;

/// A password hash, as a PHC string or in bcrypt's own format. Its `Debug` output omits the hash.
#[derive(Clone)]
pub struct StoredPassword(String);

impl StoredPassword {
    /// Wraps a hash from the database.
    pub fn from_phc(phc: String) -> Self {
        Self(phc)
    }

    /// Returns the hash, for the database.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredPassword(…)")
    }
}
