//! Which web pages may call the server. A browser sends the origin of its page in `Origin`.
//! Other clients send none and may always call.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

use super::observe::REQUEST_ID;

/// How long a browser may cache the answer to a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(2);

/// The origins whose pages may call, other than the server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All origins.
    Any,
    /// These origins, as browsers write them.
    Listed(Vec<String>),
}

impl Origins {
    /// Parses a list like `https://portal.example.com, http://localhost:3000`, or `*`.
    ///
    /// # Errors
    /// An entry is not an origin. The message is the end of a sentence about the setting.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries = entries.collect::<Vec<_>>();
        if entries == ["*"] {
            return Ok(Self::Any);
        }
        let read = |entry: &&str| {
            origin(entry).ok_or_else(|| {
                format!(
                    "contains `{entry}`: list origins as scheme://host or scheme://host:port, \
                     without a path and separated by commas, or write `*` alone"
                )
            })
        };
        Ok(Self::Listed(entries.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether a request's page may open a websocket. Browsers send no preflight for it, so the
    /// server checks `Origin`.
    pub fn origin_allowed(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Self::Listed(listed) = self else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let own = authority.zip(host).is_some_and(|(own, host)| own.eq_ignore_ascii_case(host));
        own || listed.iter().any(|listed| listed == origin)
    }

    /// Returns the layer that lets these pages call and read the responses, or `None` if only
    /// the server's own pages may.
    pub fn cors(&self) -> Option<CorsLayer> {
        let origins = match self {
            Self::Any => AllowOrigin::any(),
            Self::Listed(listed) if listed.is_empty() => return None,
            Self::Listed(listed) => {
                let values = listed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
                AllowOrigin::list(values)
            }
        };
        let headers = [
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
        ];
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(headers)
            .expose_headers([HeaderName::from_static(REQUEST_ID)])
            .max_age(PREFLIGHT_MAX_AGE);
        Some(layer)
    }
}

/// Returns an origin as browsers write it, or `None` if the text is not an origin.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty() && !host.contains('*'))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let origin = format!("{}://{host}{port}", url.scheme());
    // A path, query, fragment or user makes the URL longer than its origin.
    let bare = url.as_str().trim_end_matches('/') == origin && !text.ends_with('/');
    bare.then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<String> {
        match Origins::parse(text) {
            Ok(Origins::Listed(listed)) => listed,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn origins_are_parsed_as_browsers_write_them() {
        assert_eq!(listed(""), [] as [&str; 0]);
        assert_eq!(Origins::parse(" * "), Ok(Origins::Any));
        assert_eq!(
            listed("https://Portal.example.com:443, http://localhost:3000,capacitor://localhost,"),
            ["https://portal.example.com", "http://localhost:3000", "capacitor://localhost"]
        );
        assert_eq!(listed("https://münchen.example"), ["https://xn--mnchen-3ya.example"]);
        assert_eq!(listed("http://[::1]:8080"), ["http://[::1]:8080"]);
        for wrong in [
            "portal.example.com",
            "localhost:3000",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://a.example?x",
            "https://a.example#x",
            "https://user@a.example",
            "https://a.example https://b.example",
            "https://*.example",
            "https://a.example, *",
            "null",
            "data:text/html,x",
        ] {
            let problem = Origins::parse(wrong).expect_err(wrong);
            assert!(problem.contains("scheme://host"), "{wrong}: {problem}");
        }
    }

    #[test]
    fn the_servers_own_pages_and_listed_ones_may_open_a_websocket() {
        let allowed = |origins: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("services.example:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            Origins::parse(origins).unwrap().origin_allowed(&headers)
        };
        let portal = "https://portal.example";
        for (origins, origin, expected) in [
            ("", None, true),
            ("", Some("http://services.example:8080"), true),
            ("", Some("https://Services.example:8080"), true),
            ("", Some("http://services.example"), false),
            ("", Some("http://services.example:80801"), false),
            ("", Some("http://evil.example/http://services.example:8080"), false),
            ("", Some(portal), false),
            ("", Some("null"), false),
            (portal, Some(portal), true),
            (portal, Some("https://portal.example.evil.example"), false),
            (portal, Some("http://portal.example"), false),
            (portal, Some("null"), false),
            ("*", Some("null"), true),
            ("*", Some("https://anybody.example"), true),
        ] {
            assert_eq!(allowed(origins, origin), expected, "{origins}: {origin:?}");
        }
    }
}
