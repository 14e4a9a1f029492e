//! The few pages of our own that people see: no scripts, nothing from elsewhere,
//! and whatever people wrote is escaped.

use axum::{
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Nothing may be loaded but the page's own style; it may show frames of ours.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
    frame-src 'self'; frame-ancestors 'self'; base-uri 'none'";

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;\
margin:2rem auto;padding:0 1rem}h1{font-size:1.4rem;line-height:1.3;overflow-wrap:anywhere}\
h2{font-size:1.1rem}button{font:inherit;padding:.5rem 1.2rem;border-radius:6px;border:0;background:#2f6fed;\
color:#fff;cursor:pointer}table{width:100%;border-collapse:collapse}td,th{text-align:left;\
padding:.4rem .6rem;border-bottom:1px solid #8884}td:first-child{overflow-wrap:anywhere}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:1rem;border:1px solid #8884;border-radius:6px}\
iframe{width:100%;height:40rem;border:1px solid #8884;border-radius:6px}";

/// A page; `body` is HTML, the rest is escaped here.
pub fn page(status: StatusCode, language: &str, title: &str, body: &str) -> Response {
    let title = escaped(title);
    let html = format!(
        "<!doctype html><html lang=\"{language}\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{body}</html>"
    );
    respond(status, "text/html; charset=utf-8", POLICY, html)
}

/// An answer that browsers neither keep nor tell others of.
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

/// Text as it stands in HTML, in attributes too.
pub fn escaped(text: &str) -> String {
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
