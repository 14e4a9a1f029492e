//! The playground at `/playground`: `GraphiQL` with the operations of a guided tour as its tabs. All its
//! files are in the binary; nothing is loaded from other servers.

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::assets::{self, Assets, Caching, File, not_built};
use crate::service::demo::{self, DemoError};

include!(concat!(env!("OUT_DIR"), "/playground.rs"));

static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets::new(FILES));

/// An operation of the tour: a tab of the playground.
#[derive(Serialize)]
struct Operation {
    name: &'static str,
    query: &'static str,
    variables: &'static str,
}

const PAGE: &str = "index.html";
const SETUP: &str = "setup.json";

/// What the browser may load and do. `data:` is for `GraphiQL`'s fonts and for the underlines
/// of errors in its editor. The hash allows the one style that `GraphiQL` adds to the page,
/// which stops the page from scrolling behind an open dialog.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; \
         style-src 'self' 'sha256-Y/huXlwoYkVyQlxwSVcCi1RCDGDCSVBzDt0hYP9qlTc='; font-src 'self' data:; img-src 'self' data:; object-src 'none'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The playground of one server: what its page needs to know about it.
#[derive(Clone)]
pub struct Playground {
    setup: Bytes,
}

#[derive(Serialize)]
struct Setup {
    demo: Option<Demo>,
    /// The address of the page with the demo's mails.
    mailbox: Option<&'static str>,
    operations: &'static [Operation],
}

#[derive(Serialize)]
struct Demo {
    password: &'static str,
    accounts: Vec<DemoAccount>,
}

#[derive(Serialize)]
struct DemoAccount {
    email: String,
    name: String,
    role: String,
}

impl Playground {
    /// Prepares the playground. `with_demo` offers the demo accounts and reveals their
    /// password; `with_mailbox` links to the mailbox page.
    ///
    /// # Errors
    /// The demo data is invalid.
    pub fn new(with_demo: bool, with_mailbox: bool) -> Result<Self, DemoError> {
        let demo = with_demo.then(demo::accounts).transpose()?.map(|accounts| Demo {
            password: demo::PASSWORD,
            accounts: accounts.into_iter().map(DemoAccount::from).collect(),
        });
        let mailbox = with_mailbox.then_some("/mailbox");
        let setup = serde_json::to_vec(&Setup { demo, mailbox, operations: OPERATIONS })
            .map_err(|error| DemoError::Data(error.to_string()))?;
        Ok(Self { setup: setup.into() })
    }
}

impl From<demo::DemoAccount> for DemoAccount {
    fn from(account: demo::DemoAccount) -> Self {
        let role = format!("{:?}", account.role).to_lowercase();
        Self { email: account.email, name: account.name, role }
    }
}

fn secured(response: Response) -> Response {
    assets::secured(response, SECURITY_HEADERS)
}

/// `GET /playground`: the page, or a text that says why there is none.
pub async fn page(State(playground): State<Option<Playground>>, headers: HeaderMap) -> Response {
    if playground.is_none() {
        return (StatusCode::NOT_FOUND, disabled()).into_response();
    }
    match (MISSING, ASSETS.by_name(PAGE)) {
        (None, Some(page)) => secured(page.response(&headers, Caching::Revalidate)),
        (reason, _) => secured(not_built("playground", reason).into_response()),
    }
}

/// `GET /playground/…`: the files of the page, and its setup.
pub async fn file(
    State(playground): State<Option<Playground>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match (&playground, ASSETS.by_name(&name)) {
        (Some(playground), _) if name == SETUP => {
            let headers =
                [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            secured((headers, playground.setup.clone()).into_response())
        }
        (Some(_), Some(asset)) => secured(asset.response(&headers, Caching::Revalidate)),
        (Some(_), None) => (StatusCode::NOT_FOUND, "No such file.\n").into_response(),
        (None, _) => (StatusCode::NOT_FOUND, disabled()).into_response(),
    }
}

fn disabled() -> &'static str {
    "This is Ticketwire. The GraphQL API is at /graphql.\n\n\
     The playground is disabled. Set `playground` in the configuration file, or the variable \
     TICKETWIRE_PLAYGROUND, to true to enable it.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_without_the_playground_says_how_to_include_it() {
        let text = not_built("playground", Some("npm can't be run"));
        for part in ["/graphql", "npm can't be run", "apt-get install nodejs npm"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn only_a_demo_server_reveals_the_demo_password_and_the_mailbox() {
        let setup = |with_demo, with_mailbox| {
            let playground = Playground::new(with_demo, with_mailbox).unwrap();
            String::from_utf8(playground.setup.to_vec()).unwrap()
        };
        let demo = setup(true, true);
        assert!(demo.contains(r#""accounts":[{"email":"customer@demo.example""#));
        assert!(demo.contains(r#""mailbox":"/mailbox""#));
        assert!(setup(true, false).contains(r#""mailbox":null"#));
        assert!(setup(false, false).contains(r#""demo":null,"mailbox":null"#));
    }
}
