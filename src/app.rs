//! The composition root: builds the parts, starts them, and stops them in order.

mod keys;
pub mod mail;
pub mod storage;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::ListenerExt as _;
use chrono::TimeDelta;
use tokio::{net::TcpListener, task::JoinHandle, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, RequirementName},
    crypto::{
        password::{PasswordCost, PasswordError, Passwords},
        random::SystemRandomness,
    },
    db::{
        Database, DbError, consumer,
        embedded::{self, EmbeddedError, EmbeddedPostgres, EmbeddedSettings},
        migrations, provision,
    },
    domain::{
        actor::Actor,
        attachment::Limits,
        clock::{Ambient, SystemClock},
        second_factor::{Requirement, Requirements},
        ticket::NumberPrefix,
    },
    events::EventLog,
    graphql,
    http::{self, Api, FanOutGroups, Origins, Parts, Playground},
    mail::{self as mailing, templates::TemplateError},
    metrics::Metrics,
    service::{
        self, Services, Settings, closing,
        demo::{self, DemoError},
        session,
    },
};

/// How long requests that are under way may take when the server stops, beyond the time
/// in which websockets and event streams are closed.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
const CLEAN_EVERY: Duration = Duration::from_secs(900);
const CLOSE_EVERY: Duration = Duration::from_secs(600);
/// The embedded database's name, and the one that it has until it is filled.
const DATABASE: &str = "ticketwire";
const UNFINISHED: &str = "ticketwire_unfinished";

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The embedded database failed.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// Passwords can't be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The demo data can't be written.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// A value of the configuration can't be used.
    #[error("`{key}` {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A mail template can't be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {cause}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
}

/// The system's clock and randomness.
pub fn ambient() -> Ambient {
    Ambient::new(Arc::new(SystemClock), Arc::new(SystemRandomness))
}

/// The database to work with: one that the configuration names, or an embedded one.
pub struct Store {
    url: String,
    embedded: Option<EmbeddedPostgres>,
}

impl Store {
    /// Finds the database, starting an embedded one where none is named; a new
    /// embedded one is filled with demo data.
    ///
    /// # Errors
    /// No Postgres to run, another server on the data folder, an address to listen
    /// on that isn't safe with demo accounts.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        if let Some(url) = &config.database.url {
            return Ok(Self { url: url.expose().to_owned(), embedded: None });
        }
        if !config.listen.ip().is_loopback() {
            return Err(StartError::Config {
                key: "listen",
                problem: format!(
                    "is {}, and the embedded database has demo accounts with a known password: listen \
                     on 127.0.0.1, or set DATABASE_URL to a database of your own",
                    config.listen.ip()
                ),
            });
        }
        let postgres = EmbeddedPostgres::start(&embedded_settings(config)).await?;
        let store = Self { url: postgres.url(DATABASE), embedded: Some(postgres) };
        match store.fill(config).await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Finds the database for a command that runs beside a server or without one.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_for_command(config: &Config) -> Result<Self, StartError> {
        if config.database.url.is_none()
            && let Some(url) = embedded::running_url(&embedded_settings(config), DATABASE)?
        {
            return Ok(Self { url, embedded: None });
        }
        Self::open(config).await
    }

    /// Whether the database is the embedded one, with its demo data.
    pub fn is_demo(&self) -> bool {
        self.embedded.is_some()
    }

    /// Connects.
    ///
    /// # Errors
    /// A URL that can't be read.
    pub fn connect(&self, config: &Config) -> Result<Database, DbError> {
        Database::new(&self.url, config.database.pool_size)
    }

    /// Stops the embedded database, if there is one.
    pub async fn close(self) {
        if let Some(postgres) = self.embedded
            && let Err(error) = postgres.stop().await
        {
            tracing::error!(%error, "the embedded database did not stop cleanly");
        }
    }

    /// Makes and fills the embedded database at its first start. It gets its name
    /// when it is whole: a start that was cut short begins anew.
    async fn fill(&self, config: &Config) -> Result<(), StartError> {
        let Some(postgres) = &self.embedded else { return Ok(()) };
        let server = Database::new(&postgres.url("postgres"), 2)?;
        if provision::exists(&server, DATABASE).await? {
            return Ok(());
        }
        tracing::info!("first start: the embedded database is filled with demo data");
        provision::recreate(&server, UNFINISHED).await?;
        // Durable again with the checkpoint that the rename waits for.
        let url = format!("{}?options=-c%20synchronous_commit%3Doff", postgres.url(UNFINISHED));
        let database = Database::new(&url, 4)?;
        migrations::run(&database).await?;
        start_numbers(&database, config).await?;
        let keys = keys::keyring(config, &ambient())?;
        let storage = storage::set_up(config)?;
        demo::seed(&database, &ambient(), keys, settings(config)?, storage).await?;
        // The played past is nobody's news.
        consumer::pass_over_all(&mut *database.read().await?, consumer::NOTIFICATIONS).await?;
        database.close();
        provision::rename(&server, UNFINISHED, DATABASE).await?;
        Ok(())
    }
}

fn embedded_settings(config: &Config) -> EmbeddedSettings {
    let pool = u16::try_from(config.database.pool_size).unwrap_or(u16::MAX);
    EmbeddedSettings {
        data_dir: config.data_dir.clone(),
        bin_dir: config.embedded.bin_dir.clone(),
        cache_dir: None,
        durable: true,
        max_connections: pool.saturating_add(20),
    }
}

fn settings(config: &Config) -> Result<Settings, StartError> {
    let number_prefix = NumberPrefix::parse(&config.tickets.prefix)
        .map_err(|problem| StartError::Config { key: "tickets.prefix", problem: problem.into() })?;
    let requirement = |name| match name {
        RequirementName::Offered => Requirement::Offered,
        RequirementName::Required => Requirement::Required,
    };
    Ok(Settings {
        number_prefix,
        session_lifetime: TimeDelta::hours(config.sessions.lifetime_hours.into()),
        session_idle: TimeDelta::hours(config.sessions.idle_hours.into()),
        second_factors: Requirements {
            customers: requirement(config.second_factor.customers),
            staff: requirement(config.second_factor.staff),
        },
        issuer: config.second_factor.issuer.clone(),
        sends_mail: mail::goes_out(config),
        attachments: Limits {
            max_file_bytes: config.attachments.max_file_bytes,
            max_files: config.attachments.max_files,
            max_total_bytes: config.attachments.max_total_bytes,
        },
        base_url: config.links.base_url.clone(),
        close_resolved_after: Some(config.tickets.close_resolved_after_days)
            .filter(|&days| days > 0)
            .map(|days| TimeDelta::days(days.into())),
    })
}

async fn start_numbers(database: &Database, config: &Config) -> Result<(), DbError> {
    crate::db::ticket::start_numbers_at(&mut *database.read().await?, config.tickets.first_number)
        .await
}

/// The use cases over a database, for a command.
///
/// # Errors
/// A configuration that can't be used.
pub fn services(
    config: &Config,
    database: Database,
    ambient: Ambient,
    cost: PasswordCost,
) -> Result<Services, StartError> {
    let passwords = Passwords::new(cost, ambient.clone())?;
    let keys = keys::keyring(config, &ambient)?;
    let services = Services::new(database, ambient, passwords, keys, settings(config)?);
    Ok(match storage::set_up(config)? {
        Some(storage) => services.with_storage(storage),
        None => services,
    })
}

/// A running server.
pub struct App {
    address: SocketAddr,
    admin: Option<Admin>,
    database: Database,
    draining: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
    sockets: TaskTracker,
    server: JoinHandle<std::io::Result<()>>,
    drain_within: Duration,
    has_mailbox: bool,
}

/// The listener for operators' machines.
struct Admin {
    address: SocketAddr,
    server: JoinHandle<std::io::Result<()>>,
}

impl Admin {
    fn start(listener: TcpListener, address: SocketAddr, api: Api) -> Self {
        let serve = axum::serve(listener, http::admin::router(api));
        Self { address, server: tokio::spawn(serve.into_future()) }
    }

    /// Ends it at once: a scraper that keeps its connection holds up nothing.
    async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

impl App {
    /// Migrates the database and starts a server on it.
    ///
    /// # Errors
    /// The database can't be reached or migrated; an address that can't be listened on.
    pub async fn start(
        config: &Config,
        database: Database,
        ambient: Ambient,
        cost: PasswordCost,
    ) -> Result<Self, StartError> {
        for migration in migrations::run(&database).await? {
            tracing::info!(migration, "the database was migrated");
        }
        start_numbers(&database, config).await?;
        let origins = Origins::parse(&config.allowed_origins)
            .map_err(|problem| StartError::Config { key: "allowed_origins", problem })?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|cause| StartError::Listen { address: config.listen, cause })?;
        let address = listener
            .local_addr()
            .map_err(|cause| StartError::Listen { address: config.listen, cause })?;
        let admin = listen_for_admin(config).await?;
        let metrics = Metrics::default();

        let (stop, draining) = (CancellationToken::new(), CancellationToken::new());
        let (tasks, sockets) = (TaskTracker::new(), TaskTracker::new());
        mail::check_staff_addresses(config, &database).await?;
        let mail = mail::set_up(config, address, &ambient)?;
        let mut services = services(config, database.clone(), ambient.clone(), cost)?;
        services = services
            .with_handoff_link(&handoff_link(config, address))
            .with_metrics(metrics.clone());
        if let Some(mail) = &mail {
            services = services.with_signing_key(mail.parts.composer.key.clone());
        } else {
            tracing::info!("no mail goes out: set mail.smtp_url to a mail server");
        }
        // The demo's mails are for whoever sits at this machine.
        let mailbox = mail.as_ref().and_then(|mail| mail.folder.clone());
        let mailbox = mailbox.filter(|_| address.ip().is_loopback());
        let has_mailbox = mailbox.is_some();
        let services_for_events = services.clone();
        let on_event = move |event: &_| services_for_events.on_event(event);
        let log = EventLog::open(
            database.clone(),
            ambient.clone(),
            &tasks,
            &stop,
            on_event,
            metrics.clone(),
        )
        .await?;
        mailing::start(
            &database,
            &ambient,
            &log,
            mail.map(|mail| mail.parts),
            &tasks,
            &stop,
            &metrics,
        );
        let pruner = prune(services.clone());
        let stopped = stop.clone();
        tasks.spawn(async move { stopped.run_until_cancelled(pruner).await });

        let (cleaner, stopped) = (clean(services.clone()), stop.clone());
        tasks.spawn(async move { stopped.run_until_cancelled(cleaner).await });
        let closer = close_resolved(services.clone());
        let stopped = stop.clone();
        tasks.spawn(async move { stopped.run_until_cancelled(closer).await });

        let (user, stopped) = (services.clone(), stop.clone());
        tasks.spawn(async move {
            stopped.run_until_cancelled(session::save_last_used(&user)).await;
        });

        let drain_within = Duration::from_secs(config.drain_seconds.into());
        let api = Api::new(Parts {
            schema: graphql::build(services.clone(), log.clone(), config.graphql.introspection),
            services,
            log,
            fan_out: FanOutGroups::default(),
            database: database.clone(),
            ambient: ambient.clone(),
            metrics,
            playground: config
                .playground
                .then(|| Playground::new(config.database.url.is_none(), has_mailbox))
                .transpose()?,
            mailbox,
            origins,
            trusted_proxies: config.trusted_proxies,
            draining: draining.clone(),
            drain_within,
            sockets: sockets.clone(),
        });
        let admin = admin.map(|(listener, address)| Admin::start(listener, address, api.clone()));
        let router = http::router(api);
        let drain = draining.clone();
        let serve = axum::serve(
            listener.tap_io(http::prepare),
            router.into_make_service_with_connect_info::<SocketAddr>(),
        )
        .with_graceful_shutdown(async move { drain.cancelled().await });
        let server = tokio::spawn(serve.into_future());
        Ok(Self {
            address,
            admin,
            database,
            draining,
            stop,
            tasks,
            sockets,
            server,
            drain_within,
            has_mailbox,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served, if they are.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Whether mails are shown on a page instead of being sent.
    pub fn has_mailbox(&self) -> bool {
        self.has_mailbox
    }

    /// Takes no more requests, closes websockets and event streams one after the other, lets
    /// what is under way finish within ten seconds, and stops the background tasks; the
    /// admin listener last.
    pub async fn stop(self) {
        self.draining.cancel();
        self.sockets.close();
        let drained = async {
            let _ = self.server.await;
            self.sockets.wait().await;
        };
        if time::timeout(self.drain_within + DRAIN_WITHIN, drained).await.is_err() {
            tracing::warn!("some requests were cut off: they took longer than the server waits");
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.database.close();
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
    }
}

async fn listen_for_admin(
    config: &Config,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    bound.await.map(Some).map_err(|cause| StartError::Config {
        key: "admin.listen",
        problem: format!("is {address}, which can't be listened on: {cause}"),
    })
}

/// Where customers come over from the control panel.
fn handoff_link(config: &Config, address: SocketAddr) -> String {
    let links = &config.links;
    let page = || {
        let here = || format!("http://{address}");
        let base = links.base_url.clone().unwrap_or_else(here);
        format!("{}/handoff#token={{token}}", base.trim_end_matches('/'))
    };
    links.handoff.clone().unwrap_or_else(page)
}

async fn prune(services: Services) {
    loop {
        if let Err(error) = service::prune(&services).await {
            tracing::warn!(%error, "what is out of date could not be deleted");
        }
        time::sleep(PRUNE_EVERY).await;
    }
}

async fn clean(services: Services) {
    loop {
        if let Err(error) = service::upload::delete_unattached(&services).await {
            tracing::warn!(%error, "uploads that nobody used could not be deleted");
        }
        time::sleep(CLEAN_EVERY).await;
    }
}

async fn close_resolved(services: Services) {
    loop {
        match closing::close_resolved(&Actor::System, &services).await {
            Ok(0) => {}
            Ok(closed) => tracing::info!(closed, "resolved tickets were closed"),
            Err(error) => tracing::warn!(%error, "resolved tickets could not be closed"),
        }
        time::sleep(CLOSE_EVERY).await;
    }
}
