//! Sealing: authenticated encryption (XChaCha20-Poly1305) of secrets that must be read again, such
//! as the key of an authenticator. The sealing keys are not stored in the database.

use std::fmt;

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::domain::clock::Ambient;

/// The minimum length of a key, in bytes.
pub const MIN_KEY: usize = 32;
/// The length of the id of a key, in bytes.
pub const KEY_ID: usize = 4;
/// Identifies a key without revealing it. Sealed data begins with the id of its key.
pub type KeyId = [u8; KEY_ID];
const NONCE: usize = 24;

/// The installation's keys. The first one seals, and all of them can open. To rotate a key, put a
/// new one in front of it, and remove it when nothing is sealed with it any more. The `Debug`
/// output omits the keys.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: KeyId,
    sealing: [u8; 32],
    hashing: [u8; 32],
}

/// Sealed data cannot be opened: its key is unknown, it was sealed for another purpose, or it was
/// altered.
#[derive(Debug, thiserror::Error)]
#[error("opening sealed data failed: {0}")]
pub struct SealError(&'static str);

impl Keyring {
    /// Parses keys separated by commas, the newest first.
    ///
    /// # Errors
    /// There is no key, or one is shorter than 32 bytes.
    pub fn parse(keys: &str) -> Result<Self, &'static str> {
        let keys = keys.split(',').map(str::trim).map(Key::new).collect::<Option<Vec<_>>>();
        let keys = keys.ok_or(
            "must be keys of at least 32 characters each, separated by commas, the newest first; \
             generate one with `openssl rand -hex 32`",
        )?;
        Ok(Self { keys })
    }

    /// Returns the ids of the keys, the newest first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|key| key.id).collect()
    }

    /// Seals data for a purpose. It can be opened only for the same purpose.
    ///
    /// # Panics
    /// The data is larger than 256 GiB.
    pub fn seal(&self, ambient: &Ambient, purpose: &[u8], data: &[u8]) -> Vec<u8> {
        let (key, nonce) = (&self.keys[0], ambient.bytes::<NONCE>());
        let sealed = key
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: data, aad: purpose })
            .expect("the data is smaller than the cipher's limit of 256 GiB");
        [&key.id[..], &nonce, &sealed].concat()
    }

    /// Opens data that was sealed for a purpose.
    ///
    /// # Errors
    /// The key is unknown, the purpose differs, or the data was altered.
    pub fn open(&self, purpose: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, rest) = sealed.split_at_checked(KEY_ID).ok_or(SealError("it is too short"))?;
        let (nonce, data) = rest.split_first_chunk().ok_or(SealError("it is too short"))?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or(SealError("its key is not among the configured ones"))?;
        key.cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: data, aad: purpose })
            .map_err(|_| SealError("it was altered, or sealed for another purpose"))
    }

    /// Returns whether data was sealed with the newest key.
    pub fn is_newest(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.keys[0].id)
    }

    /// Hashes a short secret that is only compared, with a key (HMAC-SHA-256). Without the key,
    /// a short secret could be found by trying all of them.
    pub fn hash(&self, purpose: &[u8], secret: &str) -> [u8; 32] {
        self.keys[0].hash(purpose, secret)
    }

    /// Returns the hashes of a secret under all keys.
    pub fn hashes(&self, purpose: &[u8], secret: &str) -> Vec<[u8; 32]> {
        self.keys.iter().map(|key| key.hash(purpose, secret)).collect()
    }

    /// Returns whether a hash belongs to a secret under any of the keys. Compares in constant
    /// time.
    pub fn verify(&self, purpose: &[u8], secret: &str, hash: &[u8]) -> bool {
        self.keys.iter().any(|key| key.mac(purpose, secret).verify_slice(hash).is_ok())
    }
}

impl Key {
    fn new(text: &str) -> Option<Self> {
        let part = |purpose: &str| -> [u8; 32] {
            let mut mac = Hmac::<Sha256>::new_from_slice(text.as_bytes())
                .expect("HMAC accepts keys of any length");
            mac.update(purpose.as_bytes());
            mac.finalize().into_bytes().into()
        };
        let id = Sha256::digest(part("ticketwire key id 1"));
        (text.len() >= MIN_KEY).then(|| Self {
            id: [id[0], id[1], id[2], id[3]],
            sealing: part("ticketwire sealing 1"),
            hashing: part("ticketwire hashing 1"),
        })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.sealing.into())
    }

    fn hash(&self, purpose: &[u8], secret: &str) -> [u8; 32] {
        self.mac(purpose, secret).finalize().into_bytes().into()
    }

    fn mac(&self, purpose: &[u8], secret: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.hashing).expect("HMAC accepts keys of any length");
        // The digest has a fixed length, so no other purpose and secret yield the same input.
        mac.update(&Sha256::digest(purpose));
        mac.update(secret.as_bytes());
        mac
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{crypto::random::SystemRandomness, domain::clock::SystemClock};

    fn ambient() -> Ambient {
        Ambient::new(Arc::new(SystemClock), Arc::new(SystemRandomness))
    }

    #[test]
    fn sealed_data_opens_for_its_purpose_only() {
        let ring = Keyring::parse(&"k".repeat(32)).unwrap();
        let sealed = ring.seal(&ambient(), b"anna", b"secret");
        assert_eq!(ring.open(b"anna", &sealed).unwrap(), b"secret");
        assert!(ring.open(b"jonas", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(ring.open(b"anna", &altered).is_err(), "byte {at}");
            assert!(ring.open(b"anna", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn an_old_key_opens_and_the_newest_seals() {
        let (old, new) = ("o".repeat(32), "n".repeat(40));
        let before = Keyring::parse(&old).unwrap();
        let sealed = before.seal(&ambient(), b"p", b"secret");
        let rotated = Keyring::parse(&format!("{new}, {old}")).unwrap();
        assert_eq!(rotated.open(b"p", &sealed).unwrap(), b"secret");
        assert!(!rotated.is_newest(&sealed));
        assert!(rotated.is_newest(&rotated.seal(&ambient(), b"p", b"secret")));
        assert!(rotated.hashes(b"p", "123456").contains(&before.hash(b"p", "123456")));
        assert!(Keyring::parse(&new).unwrap().open(b"p", &sealed).is_err());
    }

    #[test]
    fn short_keys_are_rejected() {
        for keys in ["", "short", &format!("{},short", "k".repeat(32))] {
            assert!(Keyring::parse(keys).is_err(), "{keys}");
        }
    }
}
