//! The folder of the data, a "cluster" in Postgres' words: creates it, and makes sure that no server
//! of an earlier run uses it.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{
    binaries::Binaries,
    error::{EmbeddedError, at},
    log::Log,
    os_user::OsUser,
    settings::SUPERUSER,
    watchdog::{SHELL, Stop, Watched},
};

const NAME: &str = "postgres";

/// The name of a new cluster until it is complete.
const UNFINISHED: &str = "postgres.unfinished";

/// Connections need no password: all are local, and only the server's own user and root can reach
/// the socket.
const INITDB_OPTIONS: [&str; 4] =
    ["--auth-local=trust", "--auth-host=reject", "--data-checksums", "--no-instructions"];

/// How often to look whether a server of an earlier run has ended.
const POLL: Duration = Duration::from_millis(10);

/// How to end a server of an earlier run: how long to wait, then which signal to send. Its watchdog
/// is already stopping it; the signals are for a server that has lost its watchdog.
const EVICTION: [(Duration, Option<&str>); 3] = [
    (Duration::from_secs(10), Some("INT")),
    (Duration::from_secs(10), Some("QUIT")),
    (Duration::from_secs(10), None),
];

/// The cluster of a data folder. It may not exist yet.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) path: PathBuf,
    data_dir: PathBuf,
}

impl Cluster {
    /// Returns the cluster of `data_dir`, a canonical path.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self::named(data_dir, NAME)
    }

    /// Returns the cluster with another name in `data_dir`.
    pub(super) fn named(data_dir: &Path, name: &str) -> Self {
        Self { path: data_dir.join(name), data_dir: data_dir.to_owned() }
    }

    /// Returns the major version that created it, or `None` if it does not exist yet.
    pub(super) fn major(&self) -> Result<Option<u32>, EmbeddedError> {
        let path = self.path.join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| {
                at("find the major version in", &path)(io::ErrorKind::InvalidData.into())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read", &path)(error)),
        }
    }

    /// Creates the cluster. It is renamed once it is complete, so a crash leaves only an unfinished
    /// folder, which is removed first.
    ///
    /// # Errors
    /// `Initdb` if the program fails, or `Io`.
    pub(super) async fn create(
        &self,
        binaries: &Binaries,
        user: &OsUser,
        log: &Log,
        durable: bool,
    ) -> Result<(), EmbeddedError> {
        let unfinished = self.data_dir.join(UNFINISHED);
        let program = binaries.program("initdb");
        // Not every system has C.UTF-8. Both sort text by code point.
        for locale in ["C.UTF-8", "C"] {
            make_empty(&unfinished, user)?;
            let options = initdb_options(&unfinished, locale, durable);
            let status = Watched::spawn(user.shell(), Stop::Kill, &log.file, &program, options)
                .map_err(at("start", &program))?
                .wait()
                .await
                .map_err(at("wait for", &program))?;
            if status.success() {
                fs::rename(&unfinished, &self.path)
                    .map_err(at("move the new database to", &self.path))?;
                return File::open(&self.data_dir)
                    .and_then(|folder| folder.sync_all())
                    .map_err(at("sync", &self.data_dir));
            }
        }
        Err(EmbeddedError::Initdb { log: log.path.clone(), tail: log.tail() })
    }

    /// Returns the server's process id once the server reports that it accepts connections.
    pub(super) fn ready_pid(&self) -> Option<u32> {
        let bytes = fs::read(self.pid_file()).ok()?;
        // Its paths may not be UTF-8. The first line is the process id, the last one the status.
        let text = String::from_utf8_lossy(&bytes);
        let is_ready = text.lines().last()?.trim() == "ready";
        if is_ready { text.lines().next()?.trim().parse().ok() } else { None }
    }

    /// Makes sure that no server uses the cluster, and removes the files with which an earlier one
    /// claimed it. Postgres itself respects such a file while any process has the id in it, even a
    /// zombie or an unrelated process. The caller has the lock on the data folder, so no claim is
    /// valid.
    ///
    /// # Errors
    /// `StillRunning` if a server ignores every signal, or `Io`.
    pub(super) async fn evict(&self, socket_claim: &Path) -> Result<(), EmbeddedError> {
        self.outlast_servers().await?;
        for stale in [self.pid_file().as_path(), socket_claim] {
            match fs::remove_file(stale) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at("remove", stale)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn outlast_servers(&self) -> Result<(), EmbeddedError> {
        for (patience, signal) in EVICTION {
            let deadline = Instant::now() + patience;
            while self.is_in_use()? {
                if Instant::now() < deadline {
                    sleep(POLL).await;
                    continue;
                }
                let pids = self.servers();
                let Some(signal) = signal else {
                    return Err(EmbeddedError::StillRunning { pids });
                };
                tracing::warn!(?pids, signal, "stopping the Postgres server of an earlier run");
                send(signal, &pids).await?;
                break;
            }
        }
        Ok(())
    }

    fn is_in_use(&self) -> Result<bool, EmbeddedError> {
        Ok(Log::has_writers(&self.data_dir)? || !self.servers().is_empty())
    }

    fn pid_file(&self) -> PathBuf {
        self.path.join("postmaster.pid")
    }

    /// Returns the running processes, zombies excluded, of a Postgres server on this cluster: its
    /// folder is their working directory, even if they have outlived their postmaster.
    #[cfg(target_os = "linux")]
    fn servers(&self) -> Vec<u32> {
        let is_server = |process: &Path| {
            // `pid (name) state …`. The files of a process that has just ended cannot be read.
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            stat.split_once("(postgres) ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
        };
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let process = entry.ok()?;
                let pid = process.file_name().to_str()?.parse().ok()?;
                let folder = fs::read_link(process.path().join("cwd")).ok()?;
                (folder == self.path && is_server(&process.path())).then_some(pid)
            })
            .collect()
    }

    /// Returns the running postmasters, zombies excluded, on this cluster: their command line names
    /// it.
    #[cfg(not(target_os = "linux"))]
    fn servers(&self) -> Vec<u32> {
        let listing = std::process::Command::new("ps")
            .args(["-axww", "-o", "pid=,stat=,command="])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let option = format!("/postgres -D {} ", self.path.display());
        listing
            .lines()
            .filter(|line| line.contains(&option))
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                let pid = fields.next()?.parse().ok()?;
                // Excludes the watchdog, whose command line starts with the shell's name.
                let is_alive = !fields.next()?.starts_with('Z');
                let is_server = fields.next()?.ends_with("/postgres");
                (is_alive && is_server).then_some(pid)
            })
            .collect()
    }
}

/// Creates `folder` for the user alone, after removing what is there.
fn make_empty(folder: &Path, user: &OsUser) -> Result<(), EmbeddedError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at("remove", folder)(error));
        }
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(folder).map_err(at("create", folder))?;
    user.take_ownership(folder)
}

/// Returns the arguments of initdb for a cluster in `folder`.
fn initdb_options<'a>(folder: &'a Path, locale: &'a str, durable: bool) -> Vec<&'a OsStr> {
    let mut options = vec![OsStr::new("--pgdata"), folder.as_os_str()];
    options
        .extend(["--username", SUPERUSER, "--encoding=UTF8", "--locale", locale].map(OsStr::new));
    options.extend(INITDB_OPTIONS.map(OsStr::new));
    if !durable {
        options.push(OsStr::new("--no-sync"));
    }
    options
}

/// Sends a signal to processes; those that have already ended are ignored. The standard library
/// cannot send signals, but every shell can.
async fn send(signal: &str, pids: &[u32]) -> Result<(), EmbeddedError> {
    Command::new(SHELL)
        .args(["-c", r#"for pid; do kill -"$0" "$pid"; done"#, signal])
        .args(pids.iter().map(ToString::to_string))
        .stderr(Stdio::null())
        .status()
        .await
        .map(drop)
        .map_err(at("run", Path::new(SHELL)))
}
