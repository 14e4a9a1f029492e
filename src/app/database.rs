//! The database that a server or a command works on.

use std::{
    fs::{self, File},
    future, io,
    path::{Path, PathBuf},
};

use super::{
    error::{StartError, invalid_setting, unusable_setting},
    keys::{create_missing_key, keyring},
    services::{ambient, settings},
    storage,
};
use crate::{
    config::Config,
    db::{
        Database, DbError, access, consumer,
        embedded::{self, EmbeddedPostgres, EmbeddedSettings},
        migrations, provision, restore, ticket,
    },
    service::demo,
};

/// The name of the embedded database.
pub(super) const DATABASE: &str = "ticketwire";
/// The name of the embedded database while it is being filled.
pub(super) const UNFINISHED: &str = "ticketwire_unfinished";
/// The file in the data folder that exists from the start of a restore until the database has its
/// name.
const RESTORING: &str = "restore.unfinished";
/// Connections that the embedded server accepts in addition to the pools'.
const SPARE_CONNECTIONS: u16 = 20;

/// The configured database, or the embedded one, which lives as long as this value.
pub struct ServerDatabase {
    url: String,
    embedded: Option<EmbeddedPostgres>,
    /// Whether the embedded database is new and has another name until it is filled.
    unfinished: bool,
}

/// Returns whether the database would be an embedded one that does not exist yet.
pub fn lacks_installation(config: &Config) -> bool {
    config.embeds_database() && !embedded::exists(&embedded_settings(config))
}

impl ServerDatabase {
    /// Finds the configured database, or starts the embedded one and, the first time, fills it with
    /// demo data.
    ///
    /// # Errors
    /// No Postgres server can be run, another process uses the data folder, or the address to
    /// listen on would expose the demo accounts.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        if let Some(url) = &config.database.url {
            return Ok(Self { url: url.expose().to_owned(), embedded: None, unfinished: false });
        }
        refuse_exposed_demo(config)?;
        let postgres = EmbeddedPostgres::start(&embedded_settings(config)).await?;
        let (url, embedded) = (postgres.url(DATABASE), Some(postgres));
        let database = Self { url, embedded, unfinished: false };
        // The future that fills a database is large.
        match Box::pin(database.fill(config)).await {
            Ok(()) => Ok(database),
            Err(error) => {
                let error = of_disk(config, error);
                database.close().await;
                Err(error)
            }
        }
    }

    /// Finds the database for a command: the configured one, or the embedded one of a running
    /// server or of an earlier run. Creates nothing.
    ///
    /// # Errors
    /// There is no embedded database, no Postgres server can be run, or another process uses the
    /// data folder.
    pub async fn open_for_command(config: &Config) -> Result<Self, StartError> {
        if !config.embeds_database() {
            return Self::open(config).await;
        }
        let settings = embedded_settings(config);
        if let Some(url) = embedded::running_url(&settings, DATABASE)? {
            refuse_restoring(config)?;
            return Ok(Self { url, embedded: None, unfinished: false });
        }
        let none = || StartError::NoInstallation(config.data_dir.clone());
        if !embedded::exists(&settings) {
            return Err(none());
        }
        let postgres = EmbeddedPostgres::start(&settings).await?;
        let url = postgres.url(DATABASE);
        let found = has_database(&postgres).await;
        let database = Self { url, embedded: Some(postgres), unfinished: false };
        match found {
            Ok(true) => Ok(database),
            Ok(false) => {
                database.close().await;
                refuse_restoring(config)?;
                Err(none())
            }
            Err(error) => {
                let error = of_disk(config, error.into());
                database.close().await;
                Err(error)
            }
        }
    }

    /// Finds the configured database, or starts the embedded one, to restore a backup into it. The
    /// embedded one gets no demo data; if there is none, it is created under another name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_for_restore(config: &Config) -> Result<Self, StartError> {
        if !config.embeds_database() {
            return Self::open(config).await;
        }
        let postgres = EmbeddedPostgres::start(&embedded_settings(config)).await?;
        match create_unless_exists(&postgres, &mark(config)).await {
            Ok(unfinished) => {
                let url = postgres.url(if unfinished { UNFINISHED } else { DATABASE });
                Ok(Self { url, embedded: Some(postgres), unfinished })
            }
            Err(error) => {
                let error = of_disk(config, error);
                Self { url: String::new(), embedded: Some(postgres), unfinished: false }
                    .close()
                    .await;
                Err(error)
            }
        }
    }

    /// Gives a restored embedded database its name.
    ///
    /// # Errors
    /// The server failed, or a connection to the database remains.
    pub async fn adopt(&self, config: &Config) -> Result<(), StartError> {
        let Some(postgres) = self.embedded.as_ref().filter(|_| self.unfinished) else {
            return Ok(());
        };
        let server = Database::new(&postgres.url("postgres"), 2)?;
        provision::rename(&server, UNFINISHED, DATABASE).await?;
        remove(&mark(config))
    }

    /// Whether this value runs the embedded database, which has demo data.
    pub fn is_demo(&self) -> bool {
        self.embedded.is_some()
    }

    /// Returns a pool of connections to the database. None is opened yet.
    ///
    /// # Errors
    /// A URL that cannot be parsed.
    pub fn connect(&self, config: &Config) -> Result<Database, DbError> {
        Database::new(&self.url, config.database.pool_size)
    }

    /// Keeps the embedded database running. Returns why that is no longer possible; never, if this
    /// value does not run it.
    pub async fn supervise(&mut self) -> StartError {
        match &mut self.embedded {
            Some(postgres) => postgres.supervise().await.into(),
            None => future::pending().await,
        }
    }

    /// Stops the embedded database, if this value runs it.
    pub async fn close(self) {
        if let Some(postgres) = self.embedded
            && let Err(error) = postgres.stop().await
        {
            tracing::error!(%error, "stopping the embedded database failed");
        }
    }

    /// Creates and fills the embedded database at its first start. It is renamed once it is
    /// complete, so a start that was interrupted is simply repeated.
    async fn fill(&self, config: &Config) -> Result<(), StartError> {
        let Some(postgres) = &self.embedded else { return Ok(()) };
        let server = Database::new(&postgres.url("postgres"), 2)?;
        if provision::exists(&server, DATABASE).await? {
            // It remains if a restore was interrupted after its last step but this one.
            remove(&mark(config))
        } else {
            refuse_restoring(config)?;
            Self::fill_new(postgres, &server, config).await
        }
    }

    async fn fill_new(
        postgres: &EmbeddedPostgres,
        server: &Database,
        config: &Config,
    ) -> Result<(), StartError> {
        tracing::info!("first start: filling the embedded database with demo data");
        provision::recreate(server, UNFINISHED).await?;
        // The checkpoint that precedes the rename makes all of it durable.
        let url = format!("{}?options=-c%20synchronous_commit%3Doff", postgres.url(UNFINISHED));
        let database = Database::new(&url, 4)?;
        migrations::run(&database).await?;
        number_tickets(&database, config).await?;
        create_missing_key(config, &ambient())?;
        let keys = keyring(config)?;
        let storage = storage::set_up(config)?;
        demo::seed(&database, &ambient(), keys, settings(config)?, storage).await?;
        // The demo's events are in the past: nobody is notified of them.
        consumer::skip_to_end(&mut *database.read().await?, consumer::NOTIFICATIONS).await?;
        database.close();
        Ok(provision::rename(server, UNFINISHED, DATABASE).await?)
    }
}

/// Adds to an error of the embedded database that its disk is full, if it is.
fn of_disk(config: &Config, error: StartError) -> StartError {
    match error {
        StartError::Database(cause) if embedded::is_disk_full(&config.data_dir) => {
            StartError::Full { folder: config.data_dir.clone(), cause }
        }
        error => error,
    }
}

/// Returns whether the embedded server has the database of an installation.
async fn has_database(postgres: &EmbeddedPostgres) -> Result<bool, DbError> {
    provision::exists(&Database::new(&postgres.url("postgres"), 2)?, DATABASE).await
}

/// Creates the embedded database under its unfinished name, unless it exists. Returns whether it
/// did. It stays marked until it is adopted, so that no server replaces it with demo data.
async fn create_unless_exists(
    postgres: &EmbeddedPostgres,
    mark: &Path,
) -> Result<bool, StartError> {
    let server = Database::new(&postgres.url("postgres"), 2)?;
    if provision::exists(&server, DATABASE).await? {
        return Ok(false);
    }
    create(mark)?;
    provision::recreate(&server, UNFINISHED).await?;
    Ok(true)
}

fn mark(config: &Config) -> PathBuf {
    config.data_dir.join(RESTORING)
}

/// Refuses a data folder into which a restore is under way or was interrupted.
fn refuse_restoring(config: &Config) -> Result<(), StartError> {
    let mark = mark(config);
    if mark.exists() { Err(StartError::UnfinishedFolder(mark)) } else { Ok(()) }
}

/// Creates a file durably.
fn create(path: &Path) -> Result<(), StartError> {
    let created = File::create(path).and_then(|file| {
        file.sync_all()?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    });
    created.map_err(|error| unusable(path, &error))
}

fn remove(path: &Path) -> Result<(), StartError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(path, &error)),
        _ => Ok(()),
    }
}

fn unusable(path: &Path, error: &io::Error) -> StartError {
    unusable_setting("data_dir", format!("cannot be used: {}: {error}", path.display()))
}

/// Refuses a database into which a restore is under way or was interrupted.
///
/// # Errors
/// There is such a restore, or the database cannot be reached.
pub async fn refuse_unfinished_restore(database: &Database) -> Result<(), StartError> {
    if restore::is_unfinished(database).await? {
        return Err(StartError::UnfinishedRestore);
    }
    Ok(())
}

/// Brings the database up to date, and applies the configured first ticket number. Returns the names
/// of the migrations that ran.
pub(super) async fn prepare(
    database: &Database,
    config: &Config,
) -> Result<Vec<String>, StartError> {
    let applied = bring_up_to_date(config, database).await?;
    number_tickets(database, config).await?;
    Ok(applied)
}

/// Refuses a database that accepts no changes.
///
/// # Errors
/// It is such a database, or cannot be reached.
pub async fn refuse_read_only(database: &Database) -> Result<(), StartError> {
    if access::is_read_only(database).await? { Err(StartError::ReadOnly) } else { Ok(()) }
}

/// Applies the pending migrations and returns their names. With `database.migrate = false`, checks
/// that none is pending.
///
/// # Errors
/// The database cannot be reached, is read-only or lacks rights, a migration fails, one is pending and
/// must not be applied, or a restore was interrupted.
pub async fn bring_up_to_date(
    config: &Config,
    database: &Database,
) -> Result<Vec<String>, StartError> {
    refuse_read_only(database).await?;
    refuse_unfinished_restore(database).await?;
    let applied = if config.database.migrate {
        migrations::run(database).await?
    } else {
        refuse_outdated(database).await?;
        vec![]
    };
    let lacking = access::without_rights(&mut *database.read().await?).await?;
    if lacking.is_empty() { Ok(applied) } else { Err(StartError::Rights(lacking)) }
}

/// Refuses a database for which migrations are pending.
///
/// # Errors
/// It is such a database, or cannot be reached.
pub async fn refuse_outdated(database: &Database) -> Result<(), StartError> {
    let pending = migrations::pending(database).await?;
    if pending.is_empty() { Ok(()) } else { Err(StartError::PendingMigrations(pending)) }
}

async fn number_tickets(database: &Database, config: &Config) -> Result<(), DbError> {
    let mut connection = database.read().await?;
    ticket::start_numbers_at(&mut connection, config.tickets.first_number).await
}

/// Refuses to serve the demo accounts, whose password is known, to other machines.
fn refuse_exposed_demo(config: &Config) -> Result<(), StartError> {
    let ip = config.listen.ip();
    if ip.is_loopback() {
        return Ok(());
    }
    let problem = format!(
        "is {ip}, which other machines can reach, and the demo accounts of the embedded database \
         have a well-known password: listen on 127.0.0.1, or set DATABASE_URL to your own database"
    );
    Err(invalid_setting("listen", problem))
}

/// Returns how to run the embedded database.
pub(super) fn embedded_settings(config: &Config) -> EmbeddedSettings {
    let connections = config.database.pool_size + config.database.background_connections;
    let pool = u16::try_from(connections).unwrap_or(u16::MAX);
    EmbeddedSettings {
        data_dir: config.data_dir.clone(),
        bin_dir: config.embedded.bin_dir.clone(),
        cache_dir: None,
        durable: true,
        max_connections: pool.saturating_add(SPARE_CONNECTIONS),
    }
}
