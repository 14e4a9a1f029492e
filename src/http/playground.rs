//! The playground at `/`: GraphiQL, self-hosted, with the operations of a story as
//! its tabs. All of it is in the binary; nothing is loaded from elsewhere.

mod assets;

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use self::assets::{Asset, MISSING, OPERATIONS, Operation};
use crate::service::demo::{self, DemoError};

const PAGE: &str = "index.html";
const SETUP: &str = "setup.json";

/// What the browser may load and do. `data:` is for GraphiQL's fonts and for the
/// marks that its editor puts under errors; they can't reach anything. The hash is
/// of the one style that GraphiQL writes into the page: it keeps what is behind an
/// open dialog from scrolling.
const SECURITY: [(HeaderName, &str); 5] = [
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

/// What the page has to know of this server.
#[derive(Clone)]
pub struct Playground {
    setup: Bytes,
}

#[derive(Serialize)]
struct Setup {
    demo: Option<Demo>,
    /// Where the mails are that the demo would have sent.
    mailbox: Option<&'static str>,
    operations: &'static [Operation],
}

#[derive(Serialize)]
struct Demo {
    password: &'static str,
    accounts: Vec<Person>,
}

#[derive(Serialize)]
struct Person {
    email: String,
    name: String,
    role: String,
}

impl Playground {
    /// Prepares the playground of a server with demo accounts, or of one without, and
    /// with a mailbox page or without.
    ///
    /// # Errors
    /// The demo data is wrong.
    pub fn new(with_demo: bool, with_mailbox: bool) -> Result<Self, DemoError> {
        let demo = with_demo.then(demo::accounts).transpose()?.map(|accounts| Demo {
            password: demo::PASSWORD,
            accounts: accounts.into_iter().map(Person::from).collect(),
        });
        let mailbox = with_mailbox.then_some("/mailbox");
        let setup = serde_json::to_vec(&Setup { demo, mailbox, operations: OPERATIONS })
            .map_err(|error| DemoError::Data(error.to_string()))?;
        Ok(Self { setup: setup.into() })
    }
}

impl From<demo::DemoAccount> for Person {
    fn from(account: demo::DemoAccount) -> Self {
        let role = format!("{:?}", account.role).to_lowercase();
        Self { email: account.email, name: account.name, role }
    }
}

/// `/`: the page, or word on why there is none.
pub async fn page(State(playground): State<Option<Playground>>, headers: HeaderMap) -> Response {
    if playground.is_none() {
        return (StatusCode::NOT_FOUND, off()).into_response();
    }
    match (MISSING, Asset::named(PAGE)) {
        (None, Some(page)) => guarded(page.answer(&headers)),
        (reason, _) => guarded(unbuilt(reason.unwrap_or("its page is missing")).into_response()),
    }
}

/// `/playground/…`: what the page is made of.
pub async fn file(
    State(playground): State<Option<Playground>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match (&playground, Asset::named(&name)) {
        (Some(playground), _) if name == SETUP => {
            let headers =
                [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            guarded((headers, playground.setup.clone()).into_response())
        }
        (Some(_), Some(asset)) => guarded(asset.answer(&headers)),
        (Some(_), None) => (StatusCode::NOT_FOUND, "There is no such file.\n").into_response(),
        (None, _) => (StatusCode::NOT_FOUND, off()).into_response(),
    }
}

fn guarded(mut response: Response) -> Response {
    for (name, value) in SECURITY {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn off() -> &'static str {
    "Ticketwire answers GraphQL at /graphql. The playground is switched off here; the key \
     `playground` of the configuration (TICKETWIRE_PLAYGROUND) switches it on.\n"
}

/// The API needs none of npm's files, so a server without them still serves it.
fn unbuilt(reason: &str) -> String {
    format!(
        "Ticketwire answers GraphQL at /graphql.\n\n\
         The playground is not in this binary, which was built without npm's files: {reason}.\n\
         To have it, install Node.js and npm (Debian: apt-get install nodejs npm), see that npm \
         reaches its registry, and build again.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_without_npms_files_says_how_to_get_them() {
        let text = unbuilt("npm can't be run");
        for part in ["/graphql", "npm can't be run", "apt-get install nodejs npm"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn only_a_demo_server_tells_the_demo_password_and_where_its_mailbox_is() {
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
