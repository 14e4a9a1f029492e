//! The server's own HTML pages. They load nothing from other origins and run no scripts
//! but their own; everything that people wrote is escaped.

use axum::{
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::domain::account::Locale;

/// Allows the page's own style, and frames from this server. Nothing else is loaded.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
    frame-src 'self'; frame-ancestors 'self'; base-uri 'none'";

const HTML: &str = "text/html; charset=utf-8";

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;\
margin:2rem auto;padding:0 1rem}h1{font-size:1.4rem;line-height:1.3;overflow-wrap:anywhere}\
h2{font-size:1.1rem}button{font:inherit;padding:.5rem 1.2rem;border-radius:6px;border:0;background:#2f6fed;\
color:#fff;cursor:pointer}table{width:100%;border-collapse:collapse}td,th{text-align:left;\
padding:.4rem .6rem;border-bottom:1px solid #8884}td:first-child{overflow-wrap:anywhere}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:1rem;border:1px solid #8884;border-radius:6px}\
iframe{width:100%;height:40rem;border:1px solid #8884;border-radius:6px}label{display:block;\
margin:1rem 0}input,select{font:inherit;display:block;width:100%;max-width:24rem;box-sizing:border-box;\
padding:.5rem;border-radius:6px;border:1px solid #888}button:disabled{opacity:.5}[role=alert]{color:#d22}";

/// Returns a page without scripts. `body` is inserted as HTML, `title` is escaped.
pub fn page(status: StatusCode, language: &str, title: &str, body: &str) -> Response {
    respond(status, HTML, POLICY, html(language, title, body))
}

/// Returns a page with a script, which can send requests to this server only.
///
/// `body` is inserted as HTML and `script` unchanged, so the script must be trusted. The
/// script has no texts of its own: all messages are in the body, in the reader's language,
/// and it removes their `hidden` attribute.
pub fn script_page(locale: Locale, title: &str, body: &str, script: &'static str) -> Response {
    // Hashes instead of 'unsafe-inline': a script that was injected into the page does not
    // run. Nothing is sent to other servers, and no other page can frame this one.
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
        csp_hash(script),
        csp_hash(STYLE)
    );
    let body = format!("<main>{body}</main><script>{script}</script>");
    respond(StatusCode::OK, HTML, &policy, html(language_tag(locale), title, &body))
}

fn html(language: &str, title: &str, body: &str) -> String {
    let title = escape_html(title);
    format!(
        "<!doctype html><html lang=\"{language}\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{body}</html>"
    )
}

/// The hash by which a Content-Security-Policy allows an inline script or style.
fn csp_hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

/// The BCP 47 tag of a language.
pub fn language_tag(locale: Locale) -> &'static str {
    match locale {
        Locale::En => "en",
        Locale::Ru => "ru",
    }
}

/// The supported language that the browser prefers, by its `Accept-Language` header
/// (RFC 9110). English if it accepts none.
pub fn preferred_locale(headers: &HeaderMap) -> Locale {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let mut best = (0.0, Locale::En);
    for entry in accepted.unwrap_or_default().split(',') {
        let (tag, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
        let weight = weight.unwrap_or_default();
        let primary = tag.trim().split('-').next().unwrap_or_default();
        let locale = match primary.to_ascii_lowercase().as_str() {
            "en" => Locale::En,
            "ru" => Locale::Ru,
            _ => continue,
        };
        // Of equal weights, the first wins.
        if weight > best.0 {
            best = (weight, locale);
        }
    }
    best.1
}

/// Returns a response that browsers do not store, and whose address they do not send to
/// other sites as a referrer.
pub fn respond(
    status: StatusCode,
    media_type: &str,
    policy: &str,
    body: impl IntoResponse,
) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let headers = headers.map(|(name, value)| (name, value.to_owned()));
    (status, headers, body).into_response()
}

/// Escapes text for HTML content and quoted attributes.
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_in_the_language_that_the_browser_prefers() {
        for (accepted, expected) in [
            ("", Locale::En),
            ("de, fr;q=0.9", Locale::En),
            ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", Locale::Ru),
            ("en;q=0.3, RU;q=0.4", Locale::Ru),
            ("en-GB, ru", Locale::En),
            ("ru;q=0, en;q=0.1", Locale::En),
            ("ru;q=nonsense,;;,q=1", Locale::En),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, accepted.parse().unwrap());
            assert_eq!(preferred_locale(&headers), expected, "{accepted}");
        }
    }

    #[test]
    fn the_policy_allows_only_the_script_of_the_page() {
        let page = script_page(Locale::Ru, "A & B", "<p>text</p>", "alert(1)");
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let hash = "bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=";
        assert!(policy.contains(&format!("script-src 'sha256-{hash}'")), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
