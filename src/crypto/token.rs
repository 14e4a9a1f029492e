//! Opaque bearer tokens: shown once, kept as a hash.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::domain::clock::Ambient;

/// What a token stands for: its prefix says it, so that secret scanners and people
/// recognise a token of ours, and one kind can't stand where another is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A session.
    Session,
    /// A machine.
    Service,
    /// A customer on their way from the control panel.
    Handoff,
    /// A sign-in whose first step is done.
    Challenge,
    /// Somebody who sets a new password.
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

/// 256 bits in base64url, in characters.
const RANDOM: usize = 43;

/// A bearer token: its kind's prefix and 256 random bits in base64url. It can't be
/// printed by accident; [`expose`](Self::expose) gives it out.
pub struct BearerToken(String);

/// SHA-256 of a token. A token has 256 bits of entropy, so a fast hash without
/// salt is enough, and looking it up by equality in an index tells nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl BearerToken {
    /// A new token of a session.
    pub fn generate(ambient: &Ambient) -> Self {
        Self::of(TokenKind::Session, ambient)
    }

    /// A new token of a kind.
    pub fn of(kind: TokenKind, ambient: &Ambient) -> Self {
        Self(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(ambient.bytes::<32>())))
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
    /// The hash of a session's token that a caller presents; `None` where it can't be
    /// one of ours.
    pub fn of_presented(token: &str) -> Option<Self> {
        Self::presented_as(TokenKind::Session, token)
    }

    /// The hash of a token that a caller presents as one of a kind; `None` where it
    /// can't be one of ours.
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
    fn one_kind_never_stands_where_another_is_wanted() {
        let kinds = [TokenKind::Session, TokenKind::Service, TokenKind::Handoff];
        // Random parts that begin like another kind's prefix.
        for random in
            ["A".repeat(43), format!("svc_{}", "A".repeat(39)), "handoff_".repeat(6)[..43].into()]
        {
            for kind in kinds {
                let token = format!("{}{random}", kind.prefix());
                let taken = kinds
                    .into_iter()
                    .filter(|&as_kind| TokenHash::presented_as(as_kind, &token).is_some());
                assert_eq!(taken.collect::<Vec<_>>(), [kind], "{token}");
            }
        }
        for garbage in ["", "tw_", "tw_svc_", "TW_SVC_", "Bearer tw_svc_x"] {
            assert!(kinds.iter().all(|&kind| TokenHash::presented_as(kind, garbage).is_none()));
        }
    }
}
