//! The transports: routes, the GraphQL endpoint over HTTP, server-sent events and
//! websockets, who is asking, health.

pub mod admin;
mod attachment;
mod authentication;
mod connection;
mod execution;
mod graphql;
mod guard;
mod handoff;
mod health;
mod mailbox;
mod negotiation;
mod observe;
mod origins;
mod page;
mod playground;
mod reset_password;
mod response;
mod sse;
mod unsubscribe;
mod upload;
mod websocket;

use std::{ops::Deref, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRequestParts as _, Request, State, ws::WebSocketUpgrade},
    middleware,
    response::Response,
    routing::{any, get},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

pub use connection::prepare;
pub use execution::FanOutGroups;
pub use origins::Origins;
pub use playground::Playground;

use crate::{
    db::Database, domain::clock::Ambient, events::EventLog, graphql::Schema, metrics::Metrics,
    service::Services,
};

/// The largest body or websocket message, in bytes: the longest comment with every
/// character escaped in JSON fits.
pub const MAX_BODY: usize = 1024 * 1024;
/// A stopping server closes one socket or stream after the other, so far apart where there
/// is time for it: their clients all connect to somebody else.
const DRAIN_GAP: Duration = Duration::from_millis(5);

/// What the transports work with, shared by all that runs.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

impl Api {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts that the transports work with.
pub struct Parts {
    /// Executes documents.
    pub schema: Schema,
    /// The use cases, to tell who is asking.
    pub services: Services,
    /// The event log, for where it stands.
    pub log: EventLog,
    /// What subscribers share.
    pub fan_out: FanOutGroups,
    /// For readiness.
    pub database: Database,
    /// For ages.
    pub ambient: Ambient,
    /// What is counted.
    pub metrics: Metrics,
    /// What is served at `/`; `None` where that is switched off.
    pub playground: Option<Playground>,
    /// The folder that mails are written to, where a newcomer may look at them.
    pub mailbox: Option<PathBuf>,
    /// The pages that may call, besides our own.
    pub origins: Origins,
    /// So many reverse proxies of the installation's own stand in front of it.
    pub trusted_proxies: usize,
    /// Cancelled when the server begins to stop.
    pub draining: CancellationToken,
    /// When the server stops, websockets and event streams are closed one after the other
    /// within this time.
    pub drain_within: Duration,
    /// The open websockets and event streams, for whoever waits until they are closed.
    pub sockets: TaskTracker,
}

impl Api {
    /// How long one of the open websockets or event streams stays open when the server
    /// stops.
    fn drain_delay(&self) -> Duration {
        let open = u32::try_from(self.sockets.len()).unwrap_or(u32::MAX);
        let spread = DRAIN_GAP.saturating_mul(open).min(self.drain_within);
        spread.mul_f64(self.ambient.fraction())
    }
}

/// The server's routes.
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
        .route("/", get(playground::page))
        .route("/playground/{*name}", get(playground::file))
        .route("/graphql", graphql)
        .route("/attachments/{token}", get(attachment::fetch))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/reset-password", get(reset_password::page))
        .route("/handoff", get(handoff::page))
        .route("/unsubscribe", get(unsubscribe::form).post(unsubscribe::submit))
        .merge(mailbox)
        .with_state(api)
        .layer(CatchPanicLayer::custom(graphql::panicked))
        .layer(nosniff)
        .layer(observed)
}

/// GraphQL over HTTP, or over a websocket where the request asks for one.
async fn endpoint(State(api): State<Api>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => websocket::upgrade(api, upgrade, &parts),
        Err(_) => graphql::endpoint(State(api), Request::from_parts(parts, body)).await,
    }
}
