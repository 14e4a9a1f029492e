//! Opaque bearer tokens: shown once, kept as a hash.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::domain::clock::Ambient;

/// So that secret scanners and people recognise a token of ours.
const PREFIX: &str = "tw_";

/// A bearer token: `tw_` and 256 random bits in base64url. It can't be printed
/// by accident; [`expose`](Self::expose) gives it out.
pub struct BearerToken(String);

/// SHA-256 of a token. A token has 256 bits of entropy, so a fast hash without
/// salt is enough, and looking it up by equality in an index tells nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl BearerToken {
    /// A new token.
    pub fn generate(ambient: &Ambient) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(ambient.bytes::<32>())))
    }

    /// The token's text, for its owner only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(&self.0).into())
    }
}

impl TokenHash {
    /// The hash of a token that a caller presents; `None` where it can't be one of ours.
    pub fn of_presented(token: &str) -> Option<Self> {
        let ours = token.len() == PREFIX.len() + 43 && token.starts_with(PREFIX);
        ours.then(|| Self(Sha256::digest(token).into()))
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}
