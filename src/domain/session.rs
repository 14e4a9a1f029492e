//! Sessions.

use std::net::IpAddr;

use super::{
    clock::Timestamp,
    ids::{AccountId, SessionId},
};

/// A sign-in that has not ended. The token that stands for it is not kept.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last acted through, to the minute.
    pub last_used_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// From where it was begun.
    pub origin: Origin,
    /// A second factor is required and was not yet configured: until it is, the
    /// session can do nothing else.
    pub confined: bool,
}

/// The longest description of a device that is kept, in characters.
const LONGEST_DEVICE: usize = 255;

/// Where a request comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The network address; none: not known, like at the command line.
    pub address: Option<IpAddr>,
    /// What the client says of itself.
    device: Option<String>,
}

impl Origin {
    /// Takes what a client says of itself as it is, cut to 255 characters, without
    /// control characters.
    pub fn new(address: Option<IpAddr>, device: Option<&str>) -> Self {
        let plain = |text: &str| {
            text.chars().filter(|c| !c.is_control()).take(LONGEST_DEVICE).collect::<String>()
        };
        Self { address, device: device.map(plain).filter(|text| !text.is_empty()) }
    }

    /// What the client says of itself: its `User-Agent` (RFC 9110).
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }
}
