//! Starts the server and waits until it accepts connections.

use std::{ffi::OsString, io, path::PathBuf, time::Duration};

use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};

use super::{
    cluster::Cluster,
    error::{EmbeddedError, at},
    log::Log,
    os_user::OsUser,
    settings::EmbeddedSettings,
    socket::{PORT, SocketFolder},
    watchdog::{Stop, Watched},
};

/// How long the server may take to accept connections, including recovery after a crash.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// How often to look whether the server is ready.
const POLL: Duration = Duration::from_millis(10);

/// The settings that are the same for every server.
const SERVER_SETTINGS: [&str; 12] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "shared_buffers=128MB",
    // After a checkpoint the first change of a page writes the whole page to the write-ahead log: not as
    // often as by default.
    "checkpoint_timeout=15min",
    // Compiling a query costs more memory and time than it saves in queries like ours.
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_destination=stderr",
    "logging_collector=off",
    // The client logs the errors of its queries: this log stays short and free of people's texts.
    "log_min_messages=log",
    "log_checkpoints=off",
    "log_error_verbosity=terse",
];

/// Turns off everything that protects against a crash of the machine.
const NOT_DURABLE: [&str; 3] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// A server about to be started.
pub(super) struct Launch {
    /// The program `postgres`.
    pub(super) program: PathBuf,
    /// The user to run it as.
    pub(super) user: OsUser,
    pub(super) cluster: Cluster,
    pub(super) log: Log,
}

impl Launch {
    /// Starts the server and returns it with its process id once it accepts connections.
    ///
    /// # Errors
    /// `Exited` if it ends first, `NotReady` if it takes longer than 60 s, or `Io`.
    pub(super) async fn run(
        &self,
        settings: &EmbeddedSettings,
        socket: &SocketFolder,
    ) -> Result<(Watched, u32), EmbeddedError> {
        let options = server_options(settings, &self.cluster, socket);
        let shell = self.user.shell();
        let mut server = Watched::spawn(shell, Stop::Fast, &self.log.file, &self.program, &options)
            .map_err(at("start", &self.program))?;
        let pid = self.wait_ready(&mut server, socket).await?;
        Ok((server, pid))
    }

    async fn wait_ready(
        &self,
        server: &mut Watched,
        socket: &SocketFolder,
    ) -> Result<u32, EmbeddedError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(pid) = self.cluster.ready_pid() {
                let path = socket.socket();
                match UnixStream::connect(&path).await {
                    Ok(_) => return Ok(pid),
                    // It has just ended.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) => return Err(at("connect to", &path)(error)),
                }
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

/// Returns the arguments of `postgres`. They override the cluster's own configuration files.
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
