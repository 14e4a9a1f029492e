//! Who sends a request, by its bearer token (RFC 6750) or its cookie, and from where.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, Method, header, request::Parts},
};

use super::session_cookie::{ACCOUNT_HEADER, OwnPages};
use crate::{
    domain::{actor::Actor, session::ClientOrigin},
    graphql::{GlobalId, SessionCookie},
    service::{ServiceError, Services, authentication},
};

/// How often an open websocket or event stream counts as a use of its session. The shortest
/// idle time that can be configured for sessions is twice as long.
pub const SESSION_USE_INTERVAL: Duration = Duration::from_mins(30);

/// Returns the token of an `Authorization` value, or `None` if it has another scheme.
pub fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of a fetch.
pub struct Credentials {
    /// The token, by which the request is authenticated.
    pub token: Option<String>,
    /// The cookie of the server's own page, if one of them has sent the request.
    pub cookie: Option<SessionCookie>,
    /// The account that the page shows, if the token is from a cookie and the page names one.
    account: Option<String>,
}

impl Credentials {
    /// Reads the bearer token of a request, or else its cookie if one of the server's own pages has
    /// sent it.
    pub fn of(own_pages: &OwnPages, method: &Method, headers: &HeaderMap) -> Self {
        let bearer = headers.get(header::AUTHORIZATION);
        let bearer = bearer.and_then(|value| bearer_token(value.to_str().ok()?));
        let is_own = own_pages.has_sent(method, headers);
        let in_cookie = own_pages.token(headers).filter(|_| is_own && bearer.is_none());
        let cookie = is_own.then(|| SessionCookie::new(in_cookie.is_some()));
        let account = headers.get(ACCOUNT_HEADER).filter(|_| in_cookie.is_some());
        let account = account.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self { token: bearer.or(in_cookie).map(str::to_owned), cookie, account }
    }

    /// Returns who sends the request. A token without a live session counts as no token, so that a
    /// client that still sends an old one can sign in again. So does the cookie of another account
    /// than the page shows.
    ///
    /// # Errors
    /// The database failed.
    pub async fn actor(
        &self,
        services: &Services,
        origin: &ClientOrigin,
    ) -> Result<Actor, ServiceError> {
        let Some(token) = &self.token else { return Ok(Actor::Anonymous) };
        let actor = authentication::actor(services, token, origin.site_or_network()).await?;
        let actor = actor.filter(|actor| is_account(actor, self.account.as_deref()));
        Ok(actor.unwrap_or(Actor::Anonymous))
    }
}

/// Whether an actor is the account that a page shows, or the page names none.
pub fn is_account(actor: &Actor, shown: Option<&str>) -> bool {
    shown.is_none_or(|shown| {
        actor.account_id().is_some_and(|id| GlobalId::account(&shown.into()) == Some(id))
    })
}

/// Returns where a request comes from. Each of the installation's own reverse proxies has
/// appended the address of its caller to `X-Forwarded-For`. Entries before those were sent by
/// the client and are ignored.
pub fn origin(parts: &Parts, trusted_proxies: usize) -> ClientOrigin {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let forwarded = || {
        let entries = parts.headers.get_all("x-forwarded-for").iter();
        let entries = entries.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        let entries = entries.collect::<Vec<_>>();
        let index = entries.len().checked_sub(trusted_proxies)?;
        address_of(entries.get(index)?.trim())
    };
    let address = (trusted_proxies > 0).then(forwarded).flatten().or(peer);
    let device = parts.headers.get(header::USER_AGENT).map(object_store::HeaderValue::as_bytes);
    let device = device.map(String::from_utf8_lossy);
    ClientOrigin::new(address.map(|address| address.to_canonical()), device.as_deref())
}

/// Parses an entry of `X-Forwarded-For`. Some proxies add the port, as in `192.0.2.1:4000` and
/// `[2001:db8::1]:4000`.
fn address_of(entry: &str) -> Option<IpAddr> {
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || entry.parse().ok().map(|socket: SocketAddr| socket.ip());
    entry.parse().ok().or_else(bracketed).or_else(with_port)
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
        for entry in ["::ffff:203.0.113.9", "203.0.113.9:4000", "[::ffff:203.0.113.9]:443"] {
            assert_eq!(address(&[entry], 1), ip("203.0.113.9"), "{entry}");
        }
        assert_eq!(address(&["[2001:db8::1]"], 1), ip("2001:db8::1"));
        for forwarded in [&[] as &[&str], &["nonsense"], &["203.0.113.9"]] {
            assert_eq!(address(forwarded, 2), ip("10.0.0.1"));
        }
    }
}
