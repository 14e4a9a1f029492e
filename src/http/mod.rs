//! The transports: GraphQL over HTTP, server-sent events and websockets; attachments, health,
//! metrics and the built-in pages.
//!
//! [`endpoint`] sends a request for `/graphql` to `websocket.rs` or `graphql.rs`, which passes
//! it on to `sse.rs` if the caller accepts an event stream. `execution.rs` describes how an
//! operation of a websocket or an event stream runs, and what ends it.

pub mod admin;
mod api;
mod assets;
mod attachment;
mod authentication;
mod body;
mod budgets;
mod characters;
mod connection;
mod documents;
mod execution;
mod file_name;
mod graphql;
mod guard;
mod handoff;
mod health;
mod limits;
mod link;
mod mailbox;
mod negotiation;
mod observe;
mod origins;
mod page;
mod parser;
mod parts;
mod playground;
mod process;
mod readiness;
mod refusal;
mod reset_password;
mod response;
mod response_body;
mod sender;
mod session_cookie;
mod slots;
mod sse;
mod tls;
mod turns;
mod unsubscribe;
mod upload;
mod web_app;
mod websocket;

use std::time::Duration;

use axum::{
    Router,
    extract::{FromRequestParts as _, Request, State, ws::WebSocketUpgrade},
    middleware,
    response::Response,
    routing::{any, get, post},
};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

pub use api::{Api, Parts};
pub use budgets::Budgets;
pub use connection::Server;
pub use documents::Documents;
pub use execution::group::FanOutGroups;
pub use limits::{BodyLimits, ConnectionLimits, Limits, NetworkLimits, PerCaller};
pub use observe::Rejections;
pub use origins::Origins;
pub use playground::Playground;
pub use readiness::Readiness;
pub use session_cookie::OwnPages;
pub use tls::Tls;

/// The mean time between the closing of two sockets of a stopping server, if `drain_within`
/// allows it. Their clients reconnect to the remaining nodes, and not all at once.
const DRAIN_GAP: Duration = Duration::from_millis(5);

impl Api {
    /// Returns how long after the server began to stop a websocket or event stream is closed:
    /// a random time, drawn for each of them.
    fn drain_delay(&self) -> Duration {
        let open = u32::try_from(self.sockets.len()).unwrap_or(u32::MAX);
        let spread = DRAIN_GAP.saturating_mul(open).min(self.drain_within);
        spread.mul_f64(self.ambient.fraction())
    }
}

/// Returns the server's routes.
pub fn router(api: Api) -> Router {
    let nosniff = SetResponseHeaderLayer::overriding(
        axum::http::header::X_CONTENT_TYPE_OPTIONS,
        axum::http::HeaderValue::from_static("nosniff"),
    );
    let observed = middleware::from_fn_with_state(api.metrics.clone(), observe::observe);
    let graphql = match api.origins.cors() {
        Some(cors) => any(endpoint).layer(cors),
        None => any(endpoint),
    };
    let mailbox = api.mailbox.is_some().then(mailbox::routes).unwrap_or_default();
    Router::new()
        .route("/", get(web_app::portal))
        .route("/desk", get(web_app::desk))
        .route("/assets/{*name}", get(web_app::file))
        .route("/playground", get(playground::page))
        .route("/playground/{*name}", get(playground::file))
        .route("/graphql", graphql)
        .route("/attachments/{token}", get(attachment::fetch))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/reset-password", get(reset_password::page))
        .route("/handoff", get(handoff::page))
        .route("/unsubscribe", get(unsubscribe::form).post(unsubscribe::submit))
        .route("/subscribe", post(unsubscribe::subscribe))
        .merge(mailbox)
        .fallback(web_app::deep_link)
        .with_state(api)
        .layer(CatchPanicLayer::custom(refusal::panicked))
        .layer(nosniff)
        .layer(observed)
}

/// Handles `/graphql`: a websocket if the request asks for an upgrade, otherwise HTTP.
async fn endpoint(State(api): State<Api>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => websocket::upgrade(api, upgrade, &parts),
        Err(_) => graphql::endpoint(State(api), Request::from_parts(parts, body)).await,
    }
}
