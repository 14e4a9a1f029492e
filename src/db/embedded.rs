//! The embedded database: a Postgres server of our own, from the programs that the machine has.
//!
//! It keeps its data in the data folder, listens on a Unix socket that nobody else can reach, runs
//! for as long as [`EmbeddedPostgres`] lives, and never longer: a guard stops it when we die, by
//! whatever means. What is in the data folder:
//!
//! | name | what |
//! |---|---|
//! | `ticketwire.lock` | held by the process that runs the server |
//! | `postgres/` | the database, called a cluster |
//! | `postgres.unfinished/` | a cluster in the making |
//! | `postgres.log`, `postgres.log.1` | what the server says in this run and said in the last one |
//! | `run/` | the socket, where its path is short enough |

mod binaries;
mod cluster;
mod error;
mod guard;
mod lock;
mod log;
mod npm;
mod os_user;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};

pub use error::EmbeddedError;

use binaries::Binaries;
use cluster::Cluster;
use error::at;
use guard::{Guarded, Stop};
use lock::DataLock;
use log::Log;
use os_user::OsUser;
use socket::{PORT, SocketFolder, percent_encode};

/// The one role of the server.
const SUPERUSER: &str = "ticketwire";

/// How long the server may take to accept connections. Recovery after a crash takes part of it.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often to look whether something has changed.
const POLL: Duration = Duration::from_millis(10);

/// What is the same for every server.
const SERVER_SETTINGS: [&str; 11] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "shared_buffers=128MB",
    // Compiling a query costs more memory and time than it saves in queries like ours.
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_destination=stderr",
    "logging_collector=off",
    // What goes wrong in a query is for the one who sent it to log: the server's log stays short
    // and free of what people have written.
    "log_min_messages=log",
    "log_checkpoints=off",
    "log_error_verbosity=terse",
];

/// Turns off all that guards against a crash of the machine.
const NOT_DURABLE: [&str; 3] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// How to run the embedded database.
#[derive(Debug, Clone)]
pub struct EmbeddedSettings {
    /// Where everything is kept; made when missing. For root, a place that the user `postgres`
    /// can reach.
    pub data_dir: PathBuf,
    /// The folder of the programs `initdb` and `postgres`; without it, they are searched for.
    pub bin_dir: Option<PathBuf>,
    /// Where fetched programs are kept. Without it: for root `/var/cache/ticketwire`, for others
    /// `ticketwire` in `$XDG_CACHE_HOME` or `~/.cache`.
    pub cache_dir: Option<PathBuf>,
    /// Whether what is committed survives a crash of the machine. Only tests can do without.
    pub durable: bool,
    /// How many connections the server takes at once, at least 4.
    pub max_connections: u16,
}

/// A running server. Dropping it stops the server too, but does not wait for it.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    // The lock comes last: the server is told to stop before another process may start one.
    server: Guarded,
    pid: u32,
    socket: SocketFolder,
    lock: DataLock,
}

impl EmbeddedPostgres {
    /// Starts the server, making the cluster first where there is none, and returns when it takes
    /// connections. Needs a Tokio runtime with I/O and time.
    ///
    /// Bounds: 1 s for a lock that is held, 30 s for a server that an earlier run left, 60 s for
    /// this one to get ready, 5 minutes for each step of fetching the programs. Dropping the
    /// future stops what it has started.
    ///
    /// # Errors
    /// Any [`EmbeddedError`] but `NotStopped`; nothing is left running then.
    pub async fn start(settings: &EmbeddedSettings) -> Result<Self, EmbeddedError> {
        let configured = &settings.data_dir;
        let user = OsUser::for_cluster(&Cluster::of(configured).path)?;
        let data_dir = prepare_data_dir(configured, &user)?;
        let lock = DataLock::acquire(&data_dir, &user).await?;
        let cluster = Cluster::of(&data_dir);
        let major = cluster.major()?;
        let binaries = Binaries::find(settings, &user, &cluster.path, major).await?;
        let socket = SocketFolder::prepare(&data_dir, &user)?;
        cluster.evict(&socket.claim()).await?;
        let log = Log::create(&data_dir, &user)?;
        if major.is_none() {
            cluster.create(&binaries, &user, &log, settings.durable).await?;
        }
        let launch = Launch {
            program: binaries.program("postgres"),
            options: server_options(settings, &cluster, &socket),
            user,
            cluster,
            log,
        };
        let (server, pid) = launch.run(&socket).await?;
        lock.publish(&socket.as_host())?;
        Ok(Self { server, pid, socket, lock })
    }

    /// The URL of a database of this server, which [`EmbeddedPostgres::start`] does not create;
    /// `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        url(&self.socket.as_host(), database)
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Stops the server, connections or not, and waits until it is gone, at most 30 s.
    ///
    /// # Errors
    /// `NotStopped` when it takes longer.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let Self { server, pid, socket, lock } = self;
        let withdrawn = lock.withdraw();
        server.stop().await.map_err(|source| EmbeddedError::NotStopped { pid, source })?;
        socket.remove();
        withdrawn
    }
}

/// The URL of a database of the server that another process runs on this data folder now; none
/// when there is no such process, or its server is not ready.
///
/// # Errors
/// `Io` when the lock file can't be read, for example because it belongs to another user.
pub fn running_url(
    settings: &EmbeddedSettings,
    database: &str,
) -> Result<Option<String>, EmbeddedError> {
    let host = lock::running_host(&settings.data_dir)?;
    Ok(host.map(|host| url(&host, database)))
}

fn url(host: &str, database: &str) -> String {
    let database = percent_encode(OsStr::new(database));
    format!("postgresql://{SUPERUSER}@{host}:{PORT}/{database}")
}

/// Makes the data folder where it is missing, closed as far as the server's user allows, and
/// returns its canonical path.
fn prepare_data_dir(data_dir: &Path, user: &OsUser) -> Result<PathBuf, EmbeddedError> {
    if !data_dir.exists() {
        let mode = if user.is_other() { 0o711 } else { 0o700 };
        fs::create_dir_all(data_dir)
            .and_then(|()| fs::set_permissions(data_dir, fs::Permissions::from_mode(mode)))
            .map_err(at("create", data_dir))?;
    }
    let canonical = fs::canonicalize(data_dir).map_err(at("look at", data_dir))?;
    if canonical.as_os_str().as_bytes().contains(&b'\n') {
        // It would write a postmaster.pid that nobody can read.
        let reason = io::Error::other("PostgreSQL can't work in a path with a line break");
        return Err(at("use", &canonical)(reason));
    }
    match user.obstacle(&canonical).map_err(at("look at the way to", &canonical))? {
        None => Ok(canonical),
        Some(closed) => Err(EmbeddedError::Unreachable {
            folder: canonical,
            closed,
            user: user.name().to_owned(),
        }),
    }
}

/// The server's command line. What is here wins over the cluster's own configuration files.
fn server_options(
    settings: &EmbeddedSettings,
    cluster: &Cluster,
    socket: &SocketFolder,
) -> Vec<OsString> {
    let mut directories = OsString::from("unix_socket_directories=");
    directories.push(socket.as_setting());
    let max_connections = format!("max_connections={}", settings.max_connections);
    let port = format!("port={PORT}");
    let mut values = vec![directories, max_connections.into(), port.into()];
    values.extend(SERVER_SETTINGS.map(OsString::from));
    if !settings.durable {
        values.extend(NOT_DURABLE.map(OsString::from));
    }
    let mut options = vec!["-D".into(), cluster.path.clone().into()];
    options.extend(values.into_iter().flat_map(|value| ["-c".into(), value]));
    options
}

/// A server about to be started.
struct Launch {
    program: PathBuf,
    options: Vec<OsString>,
    user: OsUser,
    cluster: Cluster,
    log: Log,
}

impl Launch {
    /// Starts the server and waits until it is ready; returns it with its pid.
    async fn run(&self, socket: &SocketFolder) -> Result<(Guarded, u32), EmbeddedError> {
        let shell = self.user.shell();
        let mut server =
            Guarded::spawn(shell, Stop::Fast, &self.log.file, &self.program, &self.options)
                .map_err(at("start", &self.program))?;
        let pid = self.wait_ready(&mut server, socket).await?;
        Ok((server, pid))
    }

    async fn wait_ready(
        &self,
        server: &mut Guarded,
        socket: &SocketFolder,
    ) -> Result<u32, EmbeddedError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(pid) = self.cluster.ready_pid() {
                let path = socket.socket();
                return match UnixStream::connect(&path).await {
                    Ok(_) => Ok(pid),
                    Err(error) => Err(at("connect to", &path)(error)),
                };
            }
            let ended = server.try_wait().map_err(at("wait for", &self.program))?;
            if ended.is_some() || Instant::now() >= deadline {
                let (log, tail) = (self.log.path.clone(), self.log.tail());
                let seconds = READY_TIMEOUT.as_secs();
                return Err(match ended {
                    Some(_) => EmbeddedError::Exited { log, tail },
                    None => EmbeddedError::NotReady { seconds, log, tail },
                });
            }
            sleep(POLL).await;
        }
    }
}
