//! Opaque bearer tokens. A token is shown once, and only its hash is stored.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::domain::clock::Ambient;

/// The kind of a token. Each kind has its own prefix, so that secret scanners and people recognise
/// the token, and a token of one kind is not accepted as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Authenticates a session.
    Session,
    /// Authenticates a machine.
    Service,
    /// Signs a customer in from the control panel.
    Handoff,
    /// Continues a sign-in after its first step.
    Challenge,
    /// Authorises a password reset.
    PasswordReset,
}

impl TokenKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Session => "tw_",
            Self::Service => "tw_svc_",
            Self::Handoff => "tw_handoff_",
            Self::Challenge => "tw_challenge_",
            Self::PasswordReset => "tw_reset_",
        }
    }
}

/// The length of 256 bits in base64url, in characters.
const RANDOM: usize = 43;

/// A bearer token: the prefix of its kind and 256 random bits in base64url. Its `Debug` output
/// omits the token.
#[derive(Clone)]
pub struct BearerToken(String);

/// The SHA-256 hash of a token. A token has 256 bits of entropy, so a fast hash without salt is
/// sufficient, and the time of an index lookup reveals nothing useful.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl BearerToken {
    /// Generates a session token.
    pub fn generate(ambient: &Ambient) -> Self {
        Self::of(TokenKind::Session, ambient)
    }

    /// Generates a token of a kind.
    pub fn of(kind: TokenKind, ambient: &Ambient) -> Self {
        Self(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(ambient.bytes::<32>())))
    }

    /// Returns the token, for its owner only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the hash to store.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(&self.0).into())
    }
}

impl TokenHash {
    /// Returns the hash of a session token from a request, or `None` if the token is malformed.
    pub fn of_presented(token: &str) -> Option<Self> {
        Self::presented_as(TokenKind::Session, token)
    }

    /// Returns the hash of a token of a kind from a request, or `None` if the token is malformed
    /// or of another kind.
    pub fn presented_as(kind: TokenKind, token: &str) -> Option<Self> {
        let random = token.strip_prefix(kind.prefix())?;
        (random.len() == RANDOM).then(|| Self(Sha256::digest(token).into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_one_kind_is_not_accepted_as_another() {
        let kinds = [TokenKind::Session, TokenKind::Service, TokenKind::Handoff];
        // Random parts that begin like another kind's prefix.
        for random in
            ["A".repeat(43), format!("svc_{}", "A".repeat(39)), "handoff_".repeat(6)[..43].into()]
        {
            for kind in kinds {
                let token = format!("{}{random}", kind.prefix());
                let accepted = kinds
                    .into_iter()
                    .filter(|&as_kind| TokenHash::presented_as(as_kind, &token).is_some());
                assert_eq!(accepted.collect::<Vec<_>>(), [kind], "{token}");
            }
        }
        for garbage in ["", "tw_", "tw_svc_", "TW_SVC_", "Bearer tw_svc_x"] {
            assert!(kinds.iter().all(|&kind| TokenHash::presented_as(kind, garbage).is_none()));
        }
    }
}
