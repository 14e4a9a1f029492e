//! The portal for customers: a web app (`web/`) that is a client of the public API. All its files
//! are in the binary; nothing is loaded from other servers but the installation's logo.

use std::sync::LazyLock;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

use super::{
    api::Api,
    assets::{self, Assets, Caching, File, not_built},
};

include!(concat!(env!("OUT_DIR"), "/portal.rs"));

static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets::new(FILES));

const PAGE: &str = "index.html";
/// Paths of the server's own, below which the portal has no pages.
const RESERVED: [&str; 4] = ["graphql", "attachments", "assets", "playground"];

/// What the browser may load and do. Scripts set no HTML that Svelte has not made.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; \
         connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

fn secured(response: Response) -> Response {
    assets::secured(response, SECURITY_HEADERS)
}

/// `GET /`: the app, or a text that says why there is none.
pub async fn page(State(api): State<Api>, headers: HeaderMap) -> Response {
    if !api.portal {
        return (StatusCode::NOT_FOUND, DISABLED).into_response();
    }
    match (MISSING, ASSETS.by_name(PAGE)) {
        (None, Some(page)) => secured(page.response(&headers, Caching::Revalidate)),
        (reason, _) => secured(not_built("portal", reason).into_response()),
    }
}

/// `GET /assets/…`: a file of the app.
pub async fn file(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match ASSETS.by_name(&format!("assets/{name}")) {
        Some(asset) if api.portal => secured(asset.response(&headers, Caching::Forever)),
        _ => not_found(),
    }
}

/// `GET` of a path that the server does not know: the app, if a browser opens the address of one of
/// its pages.
pub async fn deep_link(
    State(api): State<Api>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let first = uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let opens_page = accepted.is_some_and(|accepted| accepted.contains("text/html"));
    let is_get = matches!(method, Method::GET | Method::HEAD);
    if is_get && opens_page && api.portal && !RESERVED.contains(&first) {
        return page(State(api), headers).await;
    }
    not_found()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "Nothing is here. The GraphQL API is at /graphql.\n").into_response()
}

const DISABLED: &str = "This is Ticketwire. The GraphQL API is at /graphql.\n\n\
    The portal is disabled. Set `portal` in the configuration file, or the variable \
    TICKETWIRE_PORTAL, to true to enable it.\n";
