//! The web app (`web/`): a portal for customers and a desk for staff, clients of the public API. All
//! its files are in the binary; nothing is loaded from other servers but the installation's logo.

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

include!(concat!(env!("OUT_DIR"), "/web_app.rs"));

static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets::new(FILES));

/// A page of the app. It shows what belongs to the address.
#[derive(Clone, Copy)]
enum Page {
    Portal,
    Desk,
}

impl Page {
    fn file(self) -> &'static str {
        match self {
            Self::Portal => "index.html",
            Self::Desk => "desk.html",
        }
    }

    fn is_enabled(self, api: &Api) -> bool {
        match self {
            Self::Portal => api.portal,
            Self::Desk => api.desk,
        }
    }

    /// Returns the text in place of the page if it is disabled.
    fn disabled(self) -> String {
        let (name, setting, variable) = match self {
            Self::Portal => ("portal", "portal", "TICKETWIRE_PORTAL"),
            Self::Desk => ("desk", "desk", "TICKETWIRE_DESK"),
        };
        format!(
            "This is Ticketwire. The GraphQL API is at /graphql.\n\n\
             The {name} is disabled. Set `{setting}` in the configuration file, or the variable \
             {variable}, to true to enable it.\n"
        )
    }
}

/// Paths of the server's own, below which the app has no pages.
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

/// `GET /`: the portal, or a text that says why there is none.
pub async fn portal(State(api): State<Api>, headers: HeaderMap) -> Response {
    serve(Page::Portal, &api, &headers)
}

/// `GET /desk`: the desk, or a text that says why there is none.
pub async fn desk(State(api): State<Api>, headers: HeaderMap) -> Response {
    serve(Page::Desk, &api, &headers)
}

fn serve(page: Page, api: &Api, headers: &HeaderMap) -> Response {
    if !page.is_enabled(api) {
        return (StatusCode::NOT_FOUND, page.disabled()).into_response();
    }
    match (MISSING, ASSETS.by_name(page.file())) {
        (None, Some(file)) => secured(file.response(headers, Caching::Revalidate)),
        (reason, _) => secured(not_built("web app", reason).into_response()),
    }
}

/// `GET /assets/…`: a file of the app.
pub async fn file(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match ASSETS.by_name(&format!("assets/{name}")) {
        Some(asset) if api.portal || api.desk => {
            secured(asset.response(&headers, Caching::Forever))
        }
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
    let page = if first == "desk" { Page::Desk } else { Page::Portal };
    if is_get && opens_page && page.is_enabled(&api) && !RESERVED.contains(&first) {
        return serve(page, &api, &headers);
    }
    not_found()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "Nothing is here. The GraphQL API is at /graphql.\n").into_response()
}
