//! The composition root: builds the parts of a server from the configuration, starts them, and
//! stops them in order.

mod backend;
mod backup;
mod certificate;
mod certificate_chain;
mod check;
mod database;
pub mod descriptors;
mod error;
mod keys;
mod limits;
mod links;
mod listener;
pub mod mail;
pub mod nodes;
mod restore;
mod services;
pub mod storage;
mod storage_watch;
mod tasks;
mod upgrade;

use std::{net::SocketAddr, panic, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use backup::{back_up, verify_backup};
pub use certificate::{
    BASE_URL_LACKS_TLS, base_url_lacks_tls, check_certificate, mail_certificates,
};
pub use certificate_chain::TrustedCertificate;
pub use check::check_config;
pub use database::{
    ServerDatabase, bring_up_to_date, lacks_installation, refuse_outdated, refuse_read_only,
    refuse_unfinished_restore,
};
pub use error::StartError;
pub use keys::{
    accept_sealing_keys, check_sealing_keys, compare_sealing_keys, place_of_sealing_keys,
};
pub use listener::Listeners;
pub use restore::{Ledger, Restored, open_epoch, restore};
pub use services::{ambient, erasure_ledger_folders, services, services_for_erasures};
pub use storage::accept_storage;
pub use storage_watch::StorageWatch;
pub use upgrade::{Upgraded, upgrade_database};

use self::{
    backend::Backend,
    certificate::ServerCertificate,
    limits::{limits, request_limits},
    listener::{Admin, Listener},
    nodes::Heartbeat,
    tasks::Tasks,
};
use crate::{
    config::Config,
    crypto::password::PasswordCost,
    db::Database,
    domain::clock::Ambient,
    graphql::{self, Schemas},
    http::{
        Api, Budgets, Documents, FanOutGroups, Origins, OwnPages, Parts, Playground, Readiness,
    },
};

/// How long a stopping server waits for requests under way, after the time in which it closes
/// websockets and event streams.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server.
pub struct App {
    address: SocketAddr,
    database: Database,
    background: Database,
    heartbeat: Arc<Heartbeat>,
    tasks: Tasks,
    certificate: Option<ServerCertificate>,
    leaving: CancellationToken,
    draining: CancellationToken,
    sockets: TaskTracker,
    mutations: TaskTracker,
    server: JoinHandle<()>,
    admin: Option<Admin>,
    drain_grace: Duration,
    drain_within: Duration,
    has_mailbox: bool,
}

/// Checks the settings that only the parts of the server understand, before the database is changed.
fn check_settings(config: &Config, ambient: &Ambient) -> Result<(), StartError> {
    services::settings(config)?;
    keys::existing_ids(config)?;
    mail::set_up_for_command(config, ambient)?;
    Ok(())
}

impl App {
    /// Brings the database up to date and starts a server on it, at the reserved addresses.
    ///
    /// # Errors
    /// The database cannot be reached or brought up to date, a setting cannot be used, or another
    /// program has taken an address meanwhile.
    pub async fn start(
        config: &Config,
        Listeners { api: listener, admin }: Listeners,
        database: Database,
        ambient: Ambient,
        cost: PasswordCost,
    ) -> Result<Self, StartError> {
        // Takes as long as the first look at the database, and needs nothing from it.
        let introspection = config.graphql.introspection;
        let schemas = tokio::task::spawn_blocking(move || graphql::build(introspection));
        let origins = check::origins(config)?;
        services::create_erasure_ledger(config)?;
        let certificate = ServerCertificate::load(config, &ambient).await?;
        check_settings(config, &ambient)?;
        for migration in database::prepare(&database, config).await? {
            tracing::info!(migration, "applied a migration");
        }
        // The future that starts the parts is large.
        let backend = Box::pin(Backend::start(config, database, ambient, cost, listener.address));
        let backend = backend.await?;
        let certificate = certificate.map(|it| it.with_metrics(&backend.metrics));
        let schemas =
            schemas.await.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()));
        Self::serve(config, listener, admin, certificate, backend, origins, schemas)
    }

    /// Opens the server to requests.
    fn serve(
        config: &Config,
        listener: Listener,
        admin: Option<Listener>,
        certificate: Option<ServerCertificate>,
        backend: Backend,
        origins: Origins,
        schemas: Schemas,
    ) -> Result<Self, StartError> {
        let (leaving, draining) = (CancellationToken::new(), CancellationToken::new());
        let (sockets, mutations) = (TaskTracker::new(), TaskTracker::new());
        let drain_grace = Duration::from_secs(config.drain_grace_seconds().into());
        let drain_within = Duration::from_secs(config.drain_seconds.into());
        let has_mailbox = backend.mailbox.is_some();
        let playground = || Playground::new(config.embeds_database(), has_mailbox);
        let api = Api::new(Parts {
            schemas,
            documents: Documents::default(),
            services: backend.services,
            log: Arc::new(backend.log),
            fan_out: FanOutGroups::new(
                config.limits.shared_response_bytes,
                backend.metrics.clone(),
            ),
            database: backend.database.clone(),
            background: backend.background.clone(),
            readiness: Readiness::default(),
            ambient: backend.ambient,
            budgets: Budgets::new(limits(config), backend.metrics.clone()),
            metrics: backend.metrics,
            portal: config.portal,
            desk: config.desk,
            playground: config.playground.then(playground).transpose()?,
            mailbox: backend.mailbox,
            origins,
            own_pages: OwnPages::new(
                config.links.base_url.as_deref(),
                config.trusted_proxies,
                config.speaks_tls(),
            ),
            trusted_proxies: config.trusted_proxies,
            limits: request_limits(config),
            leaving: leaving.clone(),
            draining: draining.clone(),
            drain_within,
            sockets: sockets.clone(),
            mutations: mutations.clone(),
        });
        if let Some(certificate) = &certificate {
            certificate.reload_regularly(&backend.tasks);
        }
        let tls = certificate.as_ref().map(|certificate| certificate.tls.clone());
        Ok(Self {
            address: listener.address,
            database: backend.database,
            background: backend.background,
            heartbeat: backend.heartbeat,
            tasks: backend.tasks,
            admin: admin.map(|admin| Admin::start(admin, api.clone())).transpose()?,
            server: listener.serve(api, tls, draining.clone())?,
            certificate,
            leaving,
            draining,
            sockets,
            mutations,
            drain_grace,
            drain_within,
            has_mailbox,
        })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address that serves metrics and health checks, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Whether mails are shown on a page instead of being sent.
    pub fn has_mailbox(&self) -> bool {
        self.has_mailbox
    }

    /// Reads the files of the certificate again and uses it from now on. A certificate that cannot be
    /// used is logged, and the former one stays in use. Does nothing if the server speaks plain HTTP.
    pub async fn reload_certificate(&self) {
        let Some(certificate) = &self.certificate else { return };
        if let Err(error) = certificate.reload().await {
            tracing::error!(%error, "the certificate was not reloaded: the former one stays in use");
        }
    }

    /// Stops the server: reports that it is not ready for `drain_grace_seconds`, accepts no more
    /// requests, closes websockets and event streams one after the other within `drain_seconds`,
    /// waits up to ten seconds more for requests under way, ends the background tasks, and closes
    /// the monitoring listener last.
    pub async fn stop(self) {
        self.leaving.cancel();
        time::sleep(self.drain_grace).await;
        self.draining.cancel();
        self.sockets.close();
        self.mutations.close();
        let drained = async {
            let _ = self.server.await;
            self.sockets.wait().await;
            self.mutations.wait().await;
        };
        if time::timeout(self.drain_within + STOP_TIMEOUT, drained).await.is_err() {
            tracing::warn!("some requests did not finish in time and were aborted");
        }
        self.tasks.stop().await;
        self.heartbeat.leave().await;
        self.database.close();
        self.background.close();
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
    }
}
