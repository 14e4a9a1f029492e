//! Sessions in cookies, for the server's own pages: what a page cannot read, it cannot leak.
//!
//! Browsers send cookies with requests of every page, also one of another customer's site on a
//! sibling domain. So a cookie counts only for a request that no other page can send: a fetch with
//! the header [`HEADER`], which CORS allows to no page, and with the server's own `Origin`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use chrono::{DateTime, Utc};
use url::Url;

use crate::graphql::CookieChange;

/// The header that a page sends for its cookie to count, with any value.
pub const HEADER: HeaderName = HeaderName::from_static("ticketwire-client");

/// The header, and the field of `connection_init`, in which a page names the account that it shows.
/// A cookie of another account does not count, so nothing happens in the name of a person who has
/// signed in in another tab.
pub const ACCOUNT_HEADER: HeaderName = HeaderName::from_static("ticketwire-account");

const NAME: &str = "ticketwire_session";
/// Browsers accept this prefix only with `Secure`, without `Domain` and with `Path=/`, so pages of
/// sibling domains cannot set the cookie.
const SECURE_NAME: &str = "__Host-ticketwire_session";

/// Recognises requests of the server's own pages.
pub struct OwnPages {
    /// The origin that is configured.
    origin: Option<String>,
    /// Whether a reverse proxy says in `X-Forwarded-Proto` which scheme people use.
    is_proxied: bool,
    /// Whether the server speaks TLS.
    is_tls: bool,
}

impl OwnPages {
    /// `base_url` is the public URL of the server, if it is configured.
    pub fn new(base_url: Option<&str>, trusted_proxies: usize, is_tls: bool) -> Self {
        let url = base_url.and_then(|url| Url::parse(url).ok());
        let origin = url.map(|url| url.origin().ascii_serialization());
        Self { origin, is_proxied: trusted_proxies > 0, is_tls }
    }

    /// Whether a request names the origin of the server's own pages as its `Origin`.
    pub fn is_origin_of(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
        self.origin(headers).is_some_and(|own| own.as_bytes() == origin.as_bytes())
    }

    /// Whether a fetch can only come from one of the server's own pages.
    pub fn has_sent(&self, method: &Method, headers: &HeaderMap) -> bool {
        let site = headers.get("sec-fetch-site");
        // Browsers omit `Origin` if a page gets something from its own origin.
        let is_own = self.is_origin_of(headers)
            || *method == Method::GET && !headers.contains_key(header::ORIGIN);
        is_own && headers.contains_key(HEADER) && site.is_none_or(|site| site == "same-origin")
    }

    /// Returns the token in the cookie of a request.
    pub fn token<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let name = self.cookie_name(headers);
        let values = headers.get_all(header::COOKIE).iter();
        let pairs = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(';'));
        let mut tokens = pairs.filter_map(|pair| {
            let (key, token) = pair.trim().split_once('=')?;
            (key == name).then_some(token)
        });
        // Of several, one may be from a sibling domain.
        let (token, None) = (tokens.next()?, tokens.next()) else { return None };
        Some(token).filter(|token| !token.is_empty())
    }

    /// Returns the value of `Set-Cookie` for a change.
    pub fn set_cookie(
        &self,
        headers: &HeaderMap,
        change: &CookieChange,
        now: DateTime<Utc>,
    ) -> Option<HeaderValue> {
        let (token, lifetime) = match change {
            CookieChange::Set { token, expires_at } => {
                (token.expose(), (*expires_at - now).to_std().unwrap_or_default())
            }
            CookieChange::Remove => ("", Duration::ZERO),
        };
        let (name, seconds) = (self.cookie_name(headers), lifetime.as_secs());
        let secure = if self.is_secure(headers) { "; Secure" } else { "" };
        let cookie =
            format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        let mut value = HeaderValue::try_from(cookie).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn cookie_name(&self, headers: &HeaderMap) -> &'static str {
        if self.is_secure(headers) { SECURE_NAME } else { NAME }
    }

    fn is_secure(&self, headers: &HeaderMap) -> bool {
        match &self.origin {
            Some(origin) => origin.starts_with("https://"),
            None => self.scheme(headers) == "https",
        }
    }

    /// Returns the origin of the server's own pages: the configured one, or else the one that a
    /// request was sent to.
    fn origin(&self, headers: &HeaderMap) -> Option<String> {
        if let Some(origin) = &self.origin {
            return Some(origin.clone());
        }
        let host = headers.get(header::HOST)?.to_str().ok()?;
        let url = Url::parse(&format!("{}://{host}", self.scheme(headers))).ok()?;
        Some(url.origin().ascii_serialization())
    }

    fn scheme(&self, headers: &HeaderMap) -> &'static str {
        let forwarded = headers.get("x-forwarded-proto").filter(|_| self.is_proxied);
        let is_https = forwarded.map_or(self.is_tls, |scheme| scheme.as_bytes() == b"https");
        if is_https { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(*name).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    const CLIENT: (&str, &str) = ("ticketwire-client", "1");

    #[test]
    fn only_a_fetch_of_an_own_page_counts() {
        let (local, public) = (
            OwnPages::new(None, 0, false),
            OwnPages::new(Some("https://help.example/desk/"), 0, false),
        );
        let sent = |pages: &OwnPages, method: Method, pairs: &[(&str, &str)]| {
            let mut all = vec![("host", "127.0.0.1:8080")];
            all.extend_from_slice(pairs);
            pages.has_sent(&method, &headers(&all))
        };
        let own = ("origin", "http://127.0.0.1:8080");
        assert!(sent(&local, Method::POST, &[CLIENT, own]));
        assert!(sent(&local, Method::POST, &[CLIENT, own, ("sec-fetch-site", "same-origin")]));
        assert!(sent(&local, Method::GET, &[CLIENT]));
        assert!(sent(&public, Method::POST, &[CLIENT, ("origin", "https://help.example")]));
        for refused in [
            &[own] as &[_],
            &[CLIENT],
            &[CLIENT, ("origin", "https://127.0.0.1:8080")],
            &[CLIENT, ("origin", "http://127.0.0.1")],
            &[CLIENT, ("origin", "http://localhost:8080")],
            &[CLIENT, ("origin", "null")],
            &[CLIENT, own, ("sec-fetch-site", "same-site")],
            &[CLIENT, own, ("sec-fetch-site", "cross-site")],
            &[CLIENT, own, ("origin", "http://evil.example")],
        ] {
            assert!(!sent(&local, Method::POST, refused), "{refused:?}");
        }
        assert!(!sent(&local, Method::GET, &[CLIENT, ("origin", "http://evil.example")]));
        assert!(!sent(&local, Method::GET, &[CLIENT, ("sec-fetch-site", "same-site")]));
        assert!(!sent(&public, Method::POST, &[CLIENT, own]));
        assert!(!sent(&public, Method::POST, &[CLIENT, ("origin", "https://www.help.example")]));
    }

    #[test]
    fn the_scheme_of_a_request_is_that_of_a_trusted_proxy_or_of_the_listener() {
        let request = headers(&[
            ("host", "help.example"),
            ("origin", "https://help.example"),
            ("x-forwarded-proto", "https"),
        ]);
        assert!(OwnPages::new(None, 1, false).is_origin_of(&request));
        assert!(!OwnPages::new(None, 0, false).is_origin_of(&request));
        assert!(OwnPages::new(None, 0, true).is_origin_of(&request));
    }

    #[test]
    fn the_cookie_is_read_if_it_is_the_only_one_of_its_name() {
        let (plain, secure) =
            (OwnPages::new(None, 0, false), OwnPages::new(Some("https://a.example"), 0, false));
        let token = |pages: &OwnPages, cookie: &str| {
            pages.token(&headers(&[("cookie", cookie)])).map(str::to_owned)
        };
        let found = Some("tw_a".to_owned());
        assert_eq!(token(&plain, "a=b; ticketwire_session=tw_a; c"), found);
        assert_eq!(token(&secure, "__Host-ticketwire_session=tw_a"), found);
        assert_eq!(token(&secure, "ticketwire_session=tw_a"), None);
        assert_eq!(token(&plain, "ticketwire_session=tw_a; ticketwire_session=tw_b"), None);
        assert_eq!(token(&plain, "ticketwire_session="), None);
    }
}
