//! The state that all handlers share.

use std::{ops::Deref, path::PathBuf, sync::Arc, time::Duration};

use axum::extract::FromRef;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    budgets::Budgets, documents::Documents, execution::group::FanOutGroups, origins::Origins,
    playground::Playground, readiness::Readiness, session_cookie::OwnPages,
};
use crate::{
    db::Database,
    domain::{budget::RequestLimits, clock::Ambient},
    events::EventLog,
    graphql::Schemas,
    metrics::Metrics,
    service::Services,
};

/// The shared state of one server. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

impl Api {
    /// Wraps the parts.
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

/// The parts of an [`Api`].
pub struct Parts {
    /// The executable schema.
    pub schemas: Schemas,
    /// The documents that this node knows.
    pub documents: Documents,
    /// The use cases: authenticate callers, serve attachments, unsubscribe.
    pub services: Services,
    /// The event log: watches sessions, and knows the node's position in the feed.
    pub log: Arc<EventLog>,
    /// The responses that this node's subscribers share.
    pub fan_out: FanOutGroups,
    /// The database, for readiness and metrics.
    pub database: Database,
    /// The database with connections that requests don't use, for metrics.
    pub background: Database,
    /// Whether the database answers.
    pub readiness: Readiness,
    /// The clock and the source of ids.
    pub ambient: Ambient,
    /// What callers use of this node.
    pub budgets: Budgets,
    /// The counters of this server.
    pub metrics: Metrics,
    /// Whether the portal is served at `/`.
    pub portal: bool,
    /// Whether the desk is served at `/desk`.
    pub desk: bool,
    /// The page at `/playground`, or `None` if it is disabled.
    pub playground: Option<Playground>,
    /// The folder of the mails that `/mailbox` shows, or `None` if there is no such page.
    pub mailbox: Option<PathBuf>,
    /// The origins whose pages may call, other than the server's own.
    pub origins: Origins,
    /// Recognises requests of the server's own pages.
    pub own_pages: OwnPages,
    /// How many reverse proxies of the installation stand in front of the server.
    pub trusted_proxies: usize,
    /// The limits of one request.
    pub limits: RequestLimits,
    /// Cancelled when clients should go to other nodes, before the server stops.
    pub leaving: CancellationToken,
    /// Cancelled when the server accepts no more requests.
    pub draining: CancellationToken,
    /// A stopping server closes its websockets and event streams within this time.
    pub drain_within: Duration,
    /// The open websockets and event streams: a stopping server waits for them.
    pub sockets: TaskTracker,
    /// The mutations under way: a stopping server waits for them.
    pub mutations: TaskTracker,
}

// The playground's handlers extract only their own part, so that `playground.rs` does not import
// this file, which imports it.
impl FromRef<Api> for Option<Playground> {
    fn from_ref(api: &Api) -> Self {
        api.playground.clone()
    }
}
