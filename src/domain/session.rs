//! Sessions of signed-in people.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    clock::Timestamp,
    ids::{AccountId, SessionId},
};

/// A session. Only a hash of its token is stored.
#[derive(Clone, Debug)]
pub struct Session {
    /// The session's id.
    pub id: SessionId,
    /// The account that is signed in.
    pub account_id: AccountId,
    /// When the session started.
    pub created_at: Timestamp,
    /// When the session was last used, accurate to the minute.
    pub last_used_at: Timestamp,
    /// When the session expires.
    pub expires_at: Timestamp,
    /// Where the session was started.
    pub origin: ClientOrigin,
    /// Whether the account still needs a second factor. Until one is configured, the session
    /// can do nothing else.
    pub confined: bool,
}

/// How many live sessions an account has at most. One more ends the one that was used longest ago.
pub const MAX_SESSIONS: u32 = 200;

/// The maximum length of a stored device description, in characters.
const LONGEST_DEVICE: usize = 255;

/// The origin of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientOrigin {
    /// The network address, or `None` if it is unknown, for example at the command line.
    pub address: Option<IpAddr>,
    /// The client's description of itself.
    device: Option<String>,
}

impl ClientOrigin {
    /// Creates an origin. Control characters are removed from the device description, and it is
    /// cut to 255 characters.
    pub fn new(address: Option<IpAddr>, device: Option<&str>) -> Self {
        let plain = |text: &str| {
            text.chars().filter(|c| !c.is_control()).take(LONGEST_DEVICE).collect::<String>()
        };
        Self { address, device: device.map(plain).filter(|text| !text.is_empty()) }
    }

    /// Returns the client's network, see [`network`]; `None` if its address is unknown.
    pub fn network(&self) -> Option<IpAddr> {
        self.address.map(network)
    }

    /// Returns the /48 network of the client's IPv6 address, the largest that one site usually
    /// receives (RFC 6177). `None` for an IPv4 address.
    pub fn site(&self) -> Option<Ipv6Addr> {
        match self.address?.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
            }
            IpAddr::V4(_) => None,
        }
    }

    /// Returns the client's site, or else its network; `None` if its address is unknown.
    pub fn site_or_network(&self) -> Option<IpAddr> {
        self.site().map(IpAddr::V6).or_else(|| self.network())
    }

    /// Returns the client's description of itself, its `User-Agent` (RFC 9110).
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }
}

/// Returns the network that limits apply to: the IPv4 address, or the /64 network of the IPv6
/// address, within which a client can choose addresses freely.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}
