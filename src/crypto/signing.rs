//! Signatures for the tokens in links.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use super::seal::Keyring;
use crate::domain::{
    attachment::Link,
    ids::{AccountId, AttachmentId, DeliveryId, SessionId},
};

/// The minimum length of a key, in bytes.
pub const MIN_KEY: usize = 32;

/// A key for HMAC-SHA-256. Its `Debug` output omits the key.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Creates a key from text.
    ///
    /// # Errors
    /// The text is shorter than 32 bytes.
    pub fn new(key: &str) -> Result<Self, &'static str> {
        if key.len() < MIN_KEY {
            return Err(
                "must be at least 32 characters long; generate one with `openssl rand -hex 32`",
            );
        }
        Ok(Self(key.as_bytes().to_vec()))
    }

    /// Returns the token of a mail's unsubscribe link: the id of the mail and a signature. It
    /// does not identify the recipient.
    pub fn sign_delivery(&self, DeliveryId(id): DeliveryId) -> String {
        let signature = self.mac(id).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([id.as_bytes().as_slice(), &signature].concat())
    }

    /// Returns the mail that a token belongs to, or `None` if the signature is invalid.
    pub fn verify_delivery(&self, token: &str) -> Option<DeliveryId> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (id, signature) = bytes.split_at_checked(16)?;
        let id = Uuid::from_slice(id).ok()?;
        // Compares in constant time.
        self.mac(id).verify_slice(signature).ok().map(|()| DeliveryId(id))
    }

    fn mac(&self, id: Uuid) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC accepts keys of any length");
        // The purpose is signed too, so a signature for another purpose is invalid here.
        mac.update(b"ticketwire unsubscribe 1");
        mac.update(id.as_bytes());
        mac
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

const LINK_PURPOSE: &[u8] = b"ticketwire attachment link 1";
/// The length of a link's payload, in bytes.
const LINK: usize = 56;

/// Returns the signed token of a link to an attachment.
pub fn sign_link(keys: &Keyring, link: &Link) -> String {
    let payload = URL_SAFE_NO_PAD.encode(
        [
            link.attachment.0.as_bytes().as_slice(),
            link.account.0.as_bytes(),
            link.session.0.as_bytes(),
            &link.expires_at.timestamp_micros().to_be_bytes(),
        ]
        .concat(),
    );
    let signature = URL_SAFE_NO_PAD.encode(keys.hash(LINK_PURPOSE, &payload));
    format!("{payload}.{signature}")
}

/// Returns the content of a signed link, or `None` if the signature is invalid.
pub fn verify_link(keys: &Keyring, token: &str) -> Option<Link> {
    let (payload, signature) = token.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !keys.verify(LINK_PURPOSE, payload, &signature) {
        return None;
    }
    let bytes = <[u8; LINK]>::try_from(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let uuid = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).ok();
    let micros = i64::from_be_bytes(bytes[48..].try_into().ok()?);
    Some(Link {
        attachment: AttachmentId(uuid(0)?),
        account: AccountId(uuid(16)?),
        session: SessionId(uuid(32)?),
        expires_at: DateTime::from_timestamp_micros(micros)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_signed_with_the_key_are_accepted() {
        let key = SigningKey::new(&"k".repeat(32)).unwrap();
        let id = DeliveryId(Uuid::from_u128(7));
        let token = key.sign_delivery(id);
        assert_eq!(key.verify_delivery(&token), Some(id));
        let other = SigningKey::new(&"l".repeat(32)).unwrap();
        assert_eq!(other.verify_delivery(&token), None);
        let forged = format!("B{}", &token[1..]);
        for text in ["", "x", &token[..token.len() - 4], &forged, &"A".repeat(10_000)] {
            assert_eq!(key.verify_delivery(text), None, "{text:.40}");
        }
        assert!(SigningKey::new("short").is_err());
    }
}
