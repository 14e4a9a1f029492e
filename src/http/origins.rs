//! Which web pages may call: a browser says with `Origin` from where its page is. What
//! is no browser says nothing of the kind, and may always call.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

use super::observe::REQUEST_ID;

/// How long a browser may remember that its page may call.
const REMEMBERED_FOR: Duration = Duration::from_secs(7_200);

/// The origins whose pages may call, besides the server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All there are.
    Any,
    /// These, as browsers write them.
    Listed(Vec<String>),
}

impl Origins {
    /// Reads a list like `https://portal.example.com, http://localhost:3000`, or `*`.
    ///
    /// # Errors
    /// What is no origin, as a sentence's end.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries = entries.collect::<Vec<_>>();
        if entries == ["*"] {
            return Ok(Self::Any);
        }
        let read = |entry: &&str| {
            origin(entry).ok_or_else(|| {
                format!(
                    "has `{entry}`: write scheme://host or scheme://host:port, without a path, \
                     separated by commas, or `*` alone"
                )
            })
        };
        Ok(Self::Listed(entries.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether a page at the origin that a request names may open a websocket: browsers
    /// don't ask before they do.
    pub fn origin_allowed(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Self::Listed(listed) = self else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let own = authority.zip(host).is_some_and(|(own, host)| own.eq_ignore_ascii_case(host));
        own || listed.iter().any(|listed| listed == origin)
    }

    /// Lets the pages read answers; `None` where there are no pages but the server's own.
    pub fn cors(&self) -> Option<CorsLayer> {
        let origins = match self {
            Self::Any => AllowOrigin::any(),
            Self::Listed(listed) if listed.is_empty() => return None,
            Self::Listed(listed) => {
                let values = listed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
                AllowOrigin::list(values)
            }
        };
        let asked = [
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
        ];
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(asked)
            .expose_headers([HeaderName::from_static(REQUEST_ID)])
            .max_age(REMEMBERED_FOR);
        Some(layer)
    }
}

/// An origin as browsers write it; `None` where it is something else.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty() && !host.contains('*'))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let origin = format!("{}://{host}{port}", url.scheme());
    // Whatever else the URL has makes it longer.
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
    fn origins_are_read_as_browsers_write_them() {
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
    fn pages_of_the_servers_own_and_of_the_list_may_open_a_websocket() {
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
