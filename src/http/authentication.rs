//! Who is asking: the bearer token (RFC 6750) of a request or of a websocket, and
//! from where.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, header, request::Parts},
};

use crate::{
    domain::{actor::Actor, session::Origin},
    service::{ServiceError, Services, authentication},
};

/// How often a session is used by its socket's or stream's being open: the shortest time
/// that an installation may have sessions expire in is twice as long.
pub const USE_EVERY: Duration = Duration::from_secs(1_800);

/// The token in an `Authorization` value; `None` where it is of another scheme.
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token that a request comes with.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?))
}

/// Who sends a request. A token that stands for no live session counts as none,
/// so that a client that still sends an old one can sign in again.
///
/// # Errors
/// The database failed.
pub async fn actor(headers: &HeaderMap, services: &Services) -> Result<Actor, ServiceError> {
    match token(headers) {
        None => Ok(Actor::Anonymous),
        Some(token) => {
            Ok(authentication::actor(services, token).await?.unwrap_or(Actor::Anonymous))
        }
    }
}

/// From where a request comes. Each of the installation's own reverse proxies has
/// appended the address that it was called from to `X-Forwarded-For`; what stands
/// before those entries is the caller's word and worth nothing.
pub fn origin(parts: &Parts, trusted_proxies: usize) -> Origin {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let forwarded = || {
        let entries = parts.headers.get_all("x-forwarded-for").iter();
        let entries = entries.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        let entries = entries.collect::<Vec<_>>();
        let index = entries.len().checked_sub(trusted_proxies)?;
        entries.get(index)?.trim().parse::<IpAddr>().ok()
    };
    let address = (trusted_proxies > 0).then(forwarded).flatten().or(peer);
    let device = parts.headers.get(header::USER_AGENT).map(|value| value.as_bytes());
    let device = device.map(String::from_utf8_lossy);
    Origin::new(address.map(|address| address.to_canonical()), device.as_deref())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn address(forwarded: &[&str], trusted_proxies: usize) -> Option<IpAddr> {
        let mut request = Request::builder();
        for value in forwarded {
            request = request.header("x-forwarded-for", *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let peer = SocketAddr::from(([10, 0, 0, 1], 4_000));
        parts.extensions.insert(ConnectInfo(peer));
        origin(&parts, trusted_proxies).address
    }

    #[test]
    fn only_what_trusted_proxies_say_is_believed() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(address(&["203.0.113.9"], 0), ip("10.0.0.1"));
        assert_eq!(address(&["198.51.100.1, 203.0.113.9"], 1), ip("203.0.113.9"));
        assert_eq!(address(&["198.51.100.1", "203.0.113.9, 192.0.2.1"], 2), ip("203.0.113.9"));
        assert_eq!(address(&["::ffff:203.0.113.9"], 1), ip("203.0.113.9"));
        for forwarded in [&[] as &[&str], &["nonsense"], &["203.0.113.9"]] {
            assert_eq!(address(forwarded, 2), ip("10.0.0.1"));
        }
    }
}
