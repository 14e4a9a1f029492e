//! The nodes of an installation: each makes itself known to the others and compares itself with them.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::{sync::Mutex, time};

use super::{descriptors, error::StartError, keys::keyring, storage_watch::StorageWatch};
use crate::{
    config::Config,
    crypto::seal::Keyring,
    db::{Database, DbError, installation, node},
    domain::{
        attachment::OwnStorage,
        clock::Ambient,
        hex::hex,
        node::{Difference, Node, NodeReport},
    },
    metrics::Metrics,
};

/// How often a node makes itself known. The others miss it after 30 seconds.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// How long a node that stops may take to say so.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The difference of clocks, in seconds, that is logged. Codes of authenticators change every 30.
pub const MAX_CLOCK_OFFSET: f64 = 10.0;
/// How many bytes of a setting's hash are compared.
const HASH_BYTES: usize = 8;

/// Lists settings with their values.
macro_rules! settings {
    ($config:ident: $($($part:ident).+,)+) => {
        [$((
            concat!($(".", stringify!($part)),+).trim_start_matches('.').to_owned(),
            format!("{:?}", $config.$($part).+),
        )),+]
    };
}

/// Returns this process as a node, without its use of connections.
///
/// # Errors
/// Keys that cannot be used.
pub fn this_node(
    config: &Config,
    ambient: &Ambient,
    storage: &StorageWatch,
) -> Result<Node, StartError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let report = NodeReport {
        configuration: fingerprints(config, &keyring(config)?),
        storage: storage.id(),
        storage_unreadable: storage.is_unreadable(),
        descriptors: Some(descriptors::of_this_process(config)),
        ..NodeReport::default()
    };
    Ok(Node { id: ambient.uuid(), version: env!("CARGO_PKG_VERSION").to_owned(), host, report })
}

/// Returns a hash of each setting that all nodes must share, by its key. Keys are hashed like the ids
/// of sealing keys, which reveal nothing.
fn fingerprints(config: &Config, keys: &Keyring) -> BTreeMap<String, String> {
    let mut values = shared_settings(config).to_vec();
    values.push(("security.sealing_keys".into(), format!("{:?}", keys.ids())));
    let signing_key = config.mail.signing_key.as_ref();
    if let Some(Ok(key)) = signing_key.map(|key| Keyring::parse(key.expose())) {
        values.push(("mail.signing_key".into(), format!("{:?}", key.ids())));
    }
    if let Some(from) = &config.mail.from {
        values.push(("mail.from".into(), from.clone()));
    }
    values.into_iter().map(|(key, value)| (key, hash(&value))).collect()
}

fn hash(value: &str) -> String {
    hex(&Sha256::digest(value)[..HASH_BYTES])
}

/// The settings, without secrets, that must be the same on all nodes that serve requests.
fn shared_settings(config: &Config) -> [(String, String); 42] {
    settings!(config:
        allowed_origins,
        portal,
        desk,
        tickets.prefix,
        tickets.close_resolved_after_days,
        sessions.lifetime_hours,
        sessions.idle_hours,
        retention.ended_session_days,
        retention.origin_days,
        retention.delivery_days,
        second_factor.customers,
        second_factor.staff,
        second_factor.issuer,
        links.base_url,
        links.ticket,
        links.reset_password,
        links.unsubscribe,
        links.handoff,
        branding.name,
        branding.logo,
        branding.color,
        branding.imprint,
        branding.privacy,
        attachments.max_file_bytes,
        attachments.max_files,
        attachments.max_total_bytes,
        limits.response_bytes,
        limits.statements,
        limits.request_seconds,
        limits.aliases,
        limits.unused_files_per_account,
        limits.customer_upload_bytes_per_day,
        limits.tickets_per_minute,
        limits.customer_comments_per_minute,
        limits.staff_comments_per_minute,
        limits.customer_changes_per_minute,
        limits.service_token_calls_per_minute,
        limits.guesses_per_hour,
        storage.s3.bucket,
        storage.s3.region,
        storage.s3.endpoint,
        graphql.introspection,
    )
}

/// Makes this node known to the others.
pub(super) struct Heartbeat {
    node: Node,
    storage: StorageWatch,
    database: Database,
    background: Database,
    ambient: Ambient,
    metrics: Metrics,
    /// What was logged and still holds.
    logged: Mutex<HashSet<String>>,
}

impl Heartbeat {
    /// Creates the heartbeat of a node that starts.
    pub(super) fn new(
        config: &Config,
        (database, background): (&Database, &Database),
        ambient: &Ambient,
        metrics: &Metrics,
        storage: &StorageWatch,
    ) -> Result<Self, StartError> {
        let node = this_node(config, ambient, storage)?;
        tracing::info!(node = %node.id, host = node.host, version = node.version, "this node starts");
        Ok(Self {
            node,
            storage: storage.clone(),
            database: database.clone(),
            background: background.clone(),
            ambient: ambient.clone(),
            metrics: metrics.clone(),
            logged: Mutex::default(),
        })
    }

    /// Stores that this node runs and which storage it uses, and compares it with the others.
    pub(super) async fn beat(&self) -> Result<(), DbError> {
        self.refresh_storage().await?;
        let mut node = self.node.clone();
        node.report.storage = self.storage.id();
        node.report.storage_unreadable = self.storage.is_unreadable();
        node.report.pool = self.database.pool_use();
        let (nodes, offset) = {
            let mut connection = self.background.read().await?;
            node::beat(&mut connection, &node).await?;
            let nodes = node::live(&mut connection).await?;
            let database_time = node::clock(&mut connection).await?;
            (nodes, (self.ambient.now() - database_time).as_seconds_f64())
        };
        let others = nodes.iter().filter(|other| other.id != node.id);
        let differences = others.flat_map(|other| {
            node.differences_from(other).into_iter().map(move |difference| (other, difference))
        });
        let differences = differences.collect::<Vec<_>>();
        self.measure(nodes.len(), offset, &differences);
        self.log(&node, offset, &differences).await;
        Ok(())
    }

    /// Reads the state of the storage of attachments, which becomes that of the installation if there
    /// is none yet.
    async fn refresh_storage(&self) -> Result<(), DbError> {
        let expected = installation::own_storage(&mut *self.background.read().await?).await?;
        let is_unknown = matches!(expected, OwnStorage::Holding(_));
        let before = self.storage.id();
        self.storage.refresh(expected).await;
        // Not in the beat that gave it: two nodes may have given a bucket one each.
        if let Some(id) = self.storage.id().filter(|&id| is_unknown && before == Some(id)) {
            installation::adopt_storage(&mut *self.background.read().await?, id).await?;
        }
        Ok(())
    }

    fn measure(&self, nodes: usize, offset: f64, differences: &[(&Node, Difference)]) {
        self.metrics.set_nodes(nodes);
        self.metrics.set_clock_offset(offset);
        for kind in Difference::KINDS {
            let count = differences.iter().filter(|(_, difference)| difference.kind() == kind);
            self.metrics.set_node_differences(kind, count.count());
        }
    }

    /// Logs each problem once, until it ends.
    async fn log(&self, node: &Node, offset: f64, differences: &[(&Node, Difference)]) {
        let mut logged = self.logged.lock().await;
        let mut current = HashSet::new();
        let mut is_new = |problem: String| {
            let is_new = !logged.contains(&problem);
            current.insert(problem);
            is_new
        };
        for (other, difference) in differences {
            if is_new(format!("{} {difference:?}", other.id)) {
                log_difference(other, difference);
            }
        }
        if offset.abs() > MAX_CLOCK_OFFSET && is_new("clock".into()) {
            tracing::warn!(offset_seconds = offset, "the clock differs from that of the database");
        }
        if node.report.pool.is_exhausted() && is_new("pool".into()) {
            let pool = node.report.pool;
            tracing::warn!(
                in_use = pool.in_use,
                waiting = pool.waiting,
                "all database connections for requests are in use, and requests wait: see \
                 `database.pool_size`"
            );
        }
        *logged = current;
    }

    /// Deletes the row of this node, which stops.
    pub(super) async fn leave(&self) {
        let leaving =
            async { node::remove(&mut *self.background.read().await?, self.node.id).await };
        if let Ok(Err(error)) = time::timeout(LEAVE_TIMEOUT, leaving).await {
            tracing::warn!(%error, "removing this node from the list of nodes failed");
        }
    }
}

fn log_difference(other: &Node, difference: &Difference) {
    let (node, host) = (other.id, &other.host);
    match difference {
        Difference::Version => {
            let version = &other.version;
            tracing::warn!(%node, host, version, "a node of another version runs");
        }
        Difference::Configuration(keys) => {
            let settings = keys.join(", ");
            tracing::warn!(%node, host, settings, "a node with another configuration runs");
        }
        Difference::Storage => {
            tracing::warn!(%node, host, "a node with another attachment storage runs");
        }
    }
}
