//! The embedded database: a Postgres server that this process runs with the programs installed on
//! the machine.
//!
//! It stores its data in the data folder and listens on a Unix socket that other users cannot
//! reach. It runs as long as [`EmbeddedPostgres`] exists and no longer: a watchdog stops it when
//! this process ends, however that happens. The data folder contains:
//!
//! | name | content |
//! |---|---|
//! | `ticketwire.lock` | locked by the process that runs the server |
//! | `postgres/` | the database: a "cluster", in Postgres' words |
//! | `postgres.unfinished/` | a cluster that is being created |
//! | `postgres-15/` and so on | the cluster of an earlier version, after an upgrade |
//! | `postgres.upgrading/`, `postgres.upgraded/`, `postgres.rows/` | an upgrade under way |
//! | `postgres.log`, `postgres.log.1` | the server's log of this run and of the previous one |
//! | `run/` | the socket, unless its path would be too long |

mod binaries;
mod cluster;
mod error;
mod launch;
mod lock;
mod log;
mod npm;
mod os_user;
mod settings;
mod socket;
mod supervise;
#[cfg(test)]
mod tests;
mod upgrade;
mod watchdog;

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

pub use error::{EmbeddedError, is_disk_full};
pub use settings::EmbeddedSettings;
pub use upgrade::{ClusterUpgrade, UpgradeServer};

use binaries::Binaries;
use cluster::Cluster;
use error::at;
use launch::Launch;
use lock::DataLock;
use log::Log;
use os_user::OsUser;
use socket::{SocketFolder, url};
use watchdog::Watched;

/// A running server. Dropping it stops the server without waiting for it to end.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    // Dropped before the lock: the server is told to stop before another process may start one.
    server: Watched,
    pid: u32,
    socket: SocketFolder,
    /// The program `postgres`, and the user to run it as.
    program: PathBuf,
    user: OsUser,
    /// The canonical path of the data folder.
    data_dir: PathBuf,
    settings: EmbeddedSettings,
    lock: DataLock,
}

impl EmbeddedPostgres {
    /// Starts the server and returns once it accepts connections. Creates the cluster if there is
    /// none. Needs a Tokio runtime with I/O and time enabled.
    ///
    /// Waits at most 1 s for the lock, 30 s for a server of an earlier run to end, 60 s for this
    /// one to be ready, and 5 minutes for each step of fetching the programs. Dropping the future
    /// stops whatever it has started.
    ///
    /// # Errors
    /// Any [`EmbeddedError`] except `NotStopped`. No server is left running then.
    pub async fn start(settings: &EmbeddedSettings) -> Result<Self, EmbeddedError> {
        let configured = &settings.data_dir;
        let user = OsUser::for_cluster(&Cluster::of(configured).path)?;
        let data_dir = prepare_data_dir(configured, &user)?;
        let lock = DataLock::acquire(&data_dir, &user).await?;
        upgrade::complete_switch(&data_dir)?;
        upgrade::discard(&data_dir)?;
        let cluster = Cluster::of(&data_dir);
        let major = cluster.major()?;
        let binaries = Binaries::find(settings, &user, &cluster.path, major).await?;
        let socket = SocketFolder::prepare(&data_dir, &user)?;
        cluster.evict(&socket.claim()).await?;
        let log = Log::create(&data_dir, &user)?;
        if major.is_none() {
            cluster.create(&binaries, &user, &log, settings.durable).await?;
        }
        let launch = Launch { program: binaries.program("postgres"), user, cluster, log };
        let (server, pid) = launch.run(settings, &socket).await?;
        lock.publish(&socket.as_host())?;
        let Launch { program, user, .. } = launch;
        let settings = settings.clone();
        Ok(Self { server, pid, socket, program, user, data_dir, settings, lock })
    }

    /// Returns the URL of a database on this server. `postgres` always exists;
    /// [`start`](Self::start) creates no other.
    pub fn url(&self, database: &str) -> String {
        url(&self.socket.as_host(), database)
    }

    /// Returns the server's process id, which changes if it is restarted.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Stops the server, even if clients are connected, and waits at most 30 s until it has ended.
    ///
    /// # Errors
    /// `NotStopped` if it takes longer.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let Self { server, pid, socket, lock, .. } = self;
        let withdrawn = lock.withdraw();
        server.stop().await.map_err(|source| EmbeddedError::NotStopped { pid, source })?;
        socket.remove();
        withdrawn
    }
}

/// Returns whether the data folder has a database. It may be one of which the upgrade was
/// interrupted.
pub fn exists(settings: &EmbeddedSettings) -> bool {
    Cluster::of(&settings.data_dir).path.exists() || upgrade::is_interrupted(&settings.data_dir)
}

/// Returns the URL of a database on the server that another process runs on this data folder.
/// `None` if there is no such process or its server is not ready.
///
/// # Errors
/// `Io` if the lock file cannot be read, for example because it belongs to another user.
pub fn running_url(
    settings: &EmbeddedSettings,
    database: &str,
) -> Result<Option<String>, EmbeddedError> {
    let host = lock::running_host(&settings.data_dir)?;
    Ok(host.map(|host| url(&host, database)))
}

/// Creates a data folder and its parents if it does not exist, closed to all but this process and,
/// whatever the umask is, the user that runs Postgres in it.
pub fn create_data_dir(data_dir: &Path) -> io::Result<()> {
    if data_dir.exists() {
        return Ok(());
    }
    // As root, Postgres runs as another user.
    let mode = if os_user::is_root()? { 0o711 } else { 0o700 };
    let new = data_dir.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists());
    let new = new.collect::<Vec<_>>();
    fs::create_dir_all(data_dir)?;
    new.into_iter().try_for_each(|it| fs::set_permissions(it, fs::Permissions::from_mode(mode)))
}

/// Creates the data folder if it does not exist, accessible to as few users as possible, and
/// returns its canonical path.
fn prepare_data_dir(data_dir: &Path, user: &OsUser) -> Result<PathBuf, EmbeddedError> {
    create_data_dir(data_dir).map_err(at("create", data_dir))?;
    let canonical = fs::canonicalize(data_dir).map_err(at("look at", data_dir))?;
    if canonical.as_os_str().as_bytes().contains(&b'\n') {
        // It would garble the lines of postmaster.pid.
        let reason = io::Error::other("Postgres cannot work in a path with a line break");
        return Err(at("use", &canonical)(reason));
    }
    match user.obstacle(&canonical).map_err(at("look at the path of", &canonical))? {
        None => Ok(canonical),
        Some(closed) => Err(EmbeddedError::Unreachable {
            folder: canonical,
            closed,
            user: user.name().to_owned(),
        }),
    }
}
