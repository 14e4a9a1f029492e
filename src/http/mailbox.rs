//! Where a newcomer reads the mails that the demo would have sent. Served only where
//! mails are written to a folder, which the embedded default does, on loopback; and
//! only to who asks for this machine by its own name, so that no page of the web can
//! reach it through a name of its own.

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
    page::{escaped, page, respond},
};

/// So many mails are listed: the last.
const LISTED: usize = 200;
/// A mail's HTML stands in a frame of its own that may do nothing but open its links
/// elsewhere: a form of a page that is opened in the frame would not work.
const SANDBOX: &str = "allow-popups allow-popups-to-escape-sandbox";
const LINKS_ELSEWHERE: &str = "<head><base target=\"_blank\">";

/// The mailbox's routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/mailbox", get(list))
        .route("/mailbox/{name}", get(show))
        .route("/mailbox/{name}/html", get(html))
}

async fn list(State(api): State<Api>, headers: HeaderMap) -> Response {
    let Some(folder) = api.mailbox.as_deref().filter(|_| asks_for_this_machine(&headers)) else {
        return nothing();
    };
    let mut rows = String::new();
    for name in names(folder).await.into_iter().take(LISTED) {
        let Some(bytes) = read(folder, &name).await else { continue };
        let Some(mail) = MessageParser::default().parse_headers(&bytes) else { continue };
        let date = mail.date().map(ToString::to_string).unwrap_or_default();
        rows += &format!(
            "<tr><td><a href=\"/mailbox/{}\">{}</a><td>{}<td>{}",
            escaped(&name),
            escaped(mail.subject().unwrap_or("—")),
            escaped(&recipient(&mail)),
            escaped(&date.replace('T', " ").replace('Z', " UTC"))
        );
    }
    let body = if rows.is_empty() {
        "<p>No mail yet. Open a ticket as a customer, or answer one as an agent: mails come within \
         half a minute.</p>"
            .to_owned()
    } else {
        format!("<table><tr><th>Subject<th>To<th>Date{rows}</table>")
    };
    page(StatusCode::OK, "en", "Mailbox", &body)
}

async fn show(
    State(api): State<Api>,
    headers: HeaderMap,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let Some(bytes) = find(&api, &headers, &name).await else { return nothing() };
    let Some(mail) = MessageParser::default().parse(&bytes) else { return nothing() };
    let head = String::from_utf8_lossy(&bytes);
    let head = head.split("\r\n\r\n").next().unwrap_or_default();
    let body = format!(
        "<p><a href=\"/mailbox\">All mails</a></p><p>To: {}</p><iframe sandbox=\"{SANDBOX}\" \
         src=\"/mailbox/{}/html\" title=\"HTML\"></iframe><h2>Text</h2><pre>{}</pre><h2>Headers</h2><pre>{}</pre>",
        escaped(&recipient(&mail)),
        escaped(&name),
        escaped(&mail.body_text(0).unwrap_or_default()),
        escaped(head)
    );
    page(StatusCode::OK, "en", mail.subject().unwrap_or("—"), &body)
}

async fn html(
    State(api): State<Api>,
    headers: HeaderMap,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let Some(bytes) = find(&api, &headers, &name).await else { return nothing() };
    let Some(mail) = MessageParser::default().parse(&bytes) else { return nothing() };
    let html = mail.body_html(0).unwrap_or_default().replacen("<head>", LINKS_ELSEWHERE, 1);
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; sandbox {SANDBOX}; frame-ancestors 'self'; base-uri 'none'"
    );
    respond(StatusCode::OK, "text/html; charset=utf-8", &policy, html)
}

fn nothing() -> Response {
    page(StatusCode::NOT_FOUND, "en", "Not found", "<p>There is no such mail.</p>")
}

fn recipient(mail: &Message<'_>) -> String {
    let to = mail.to().and_then(|to| to.first());
    to.and_then(|to| to.address()).unwrap_or_default().to_owned()
}

async fn find(api: &Api, headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let folder = api.mailbox.as_deref().filter(|_| asks_for_this_machine(headers))?;
    // Only names that the folder lists, so that none leads out of it.
    let known = names(folder).await.iter().any(|known| known == name);
    if known { read(folder, name).await } else { None }
}

async fn read(folder: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(folder.join(name)).await.ok()
}

/// The names of the mails' files, newest first.
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

fn asks_for_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
    });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        || name.starts_with("127.") && name.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}
