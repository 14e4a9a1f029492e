//! The mailbox page: shows the mails of a trial installation, which writes them to a folder
//! and sends none.
//!
//! It is served only if mails are written to a folder, as by the embedded default, and the
//! server listens on loopback. Requests must name a loopback host: otherwise a web page could
//! read the mails through a host name of its own that resolves to 127.0.0.1 (DNS rebinding).

use std::path::Path;

use axum::{
    Router,
    extract::{Path as UrlPath, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::get,
};
use mail_parser::{Message, MessageParser};
use tokio::fs;

use super::{
    api::Api,
    page::{escape_html, page, respond},
};

/// The list shows at most this many mails, the newest.
const MAX_LISTED: usize = 200;
/// What the frame with a mail's HTML may do: open links in new tabs, and nothing else. A page
/// that is opened in the frame itself could not submit its forms.
const SANDBOX: &str = "allow-popups allow-popups-to-escape-sandbox";
const LINKS_IN_NEW_TABS: &str = "<head><base target=\"_blank\">";

/// The mailbox's routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/mailbox", get(list))
        .route("/mailbox/{name}", get(mail))
        .route("/mailbox/{name}/html", get(mail_html))
}

async fn list(State(api): State<Api>, headers: HeaderMap) -> Response {
    let Some(folder) = api.mailbox.as_deref().filter(|_| host_is_loopback(&headers)) else {
        return not_found();
    };
    let mut rows = String::new();
    for name in names(folder).await.into_iter().take(MAX_LISTED) {
        let Some(bytes) = read(folder, &name).await else { continue };
        let Some(message) = MessageParser::default().parse_headers(&bytes) else { continue };
        let date = message.date().map(ToString::to_string).unwrap_or_default();
        rows += &format!(
            "<tr><td><a href=\"/mailbox/{}\">{}</a><td>{}<td>{}",
            escape_html(&name),
            escape_html(message.subject().unwrap_or("—")),
            escape_html(&recipient(&message)),
            escape_html(&date.replace('T', " ").replace('Z', " UTC"))
        );
    }
    let body = if rows.is_empty() {
        "<p>No mail yet. Open a ticket as a customer, or answer one as an agent: mail appears here \
         within half a minute.</p>"
            .to_owned()
    } else {
        format!("<table><tr><th>Subject<th>To<th>Date{rows}</table>")
    };
    page(StatusCode::OK, "en", "Mailbox", &body)
}

async fn mail(
    State(api): State<Api>,
    headers: HeaderMap,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let Some(bytes) = find(&api, &headers, &name).await else { return not_found() };
    let Some(message) = MessageParser::default().parse(&bytes) else { return not_found() };
    let head = String::from_utf8_lossy(&bytes);
    let head = head.split("\r\n\r\n").next().unwrap_or_default();
    let body = format!(
        "<p><a href=\"/mailbox\">All mails</a></p><p>To: {}</p><iframe sandbox=\"{SANDBOX}\" \
         src=\"/mailbox/{}/html\" title=\"HTML\"></iframe><h2>Text</h2><pre>{}</pre><h2>Headers</h2><pre>{}</pre>",
        escape_html(&recipient(&message)),
        escape_html(&name),
        escape_html(&message.body_text(0).unwrap_or_default()),
        escape_html(head)
    );
    page(StatusCode::OK, "en", message.subject().unwrap_or("—"), &body)
}

async fn mail_html(
    State(api): State<Api>,
    headers: HeaderMap,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let Some(bytes) = find(&api, &headers, &name).await else { return not_found() };
    let Some(message) = MessageParser::default().parse(&bytes) else { return not_found() };
    let html = message.body_html(0).unwrap_or_default().replacen("<head>", LINKS_IN_NEW_TABS, 1);
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; sandbox {SANDBOX}; frame-ancestors 'self'; base-uri 'none'"
    );
    respond(StatusCode::OK, "text/html; charset=utf-8", &policy, html)
}

fn not_found() -> Response {
    page(StatusCode::NOT_FOUND, "en", "Not found", "<p>There is no such mail.</p>")
}

fn recipient(message: &Message<'_>) -> String {
    let to = message.to().and_then(|to| to.first());
    to.and_then(|to| to.address()).unwrap_or_default().to_owned()
}

async fn find(api: &Api, headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let folder = api.mailbox.as_deref().filter(|_| host_is_loopback(headers))?;
    // Only names from the listing: a path could lead out of the folder.
    let known = names(folder).await.iter().any(|known| known == name);
    if known { read(folder, name).await } else { None }
}

async fn read(folder: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(folder.join(name)).await.ok()
}

/// The file names of the mails, newest first.
async fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut entries) = fs::read_dir(folder).await else { return names };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if let Ok(name) = entry.file_name().into_string()
            && name.ends_with(".eml")
        {
            names.push(name);
        }
    }
    names.sort();
    names.reverse();
    names
}

fn host_is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
    });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        || name.starts_with("127.") && name.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}
