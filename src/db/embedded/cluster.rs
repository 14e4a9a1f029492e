//! The folder with the data, a "cluster" in Postgres' words: making it, and making sure that no
//! server of an earlier run works on it.

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
    EmbeddedError, POLL, SUPERUSER,
    binaries::Binaries,
    error::at,
    guard::{Guarded, SHELL, Stop},
    log::Log,
    os_user::OsUser,
};

const NAME: &str = "postgres";

/// What a new cluster is called until it is whole.
const UNFINISHED: &str = "postgres.unfinished";

/// Connections need no password: all are local, and only the server's own user and root get to
/// the socket.
const INITDB_OPTIONS: [&str; 4] =
    ["--auth-local=trust", "--auth-host=reject", "--data-checksums", "--no-instructions"];

/// How to get rid of a server of an earlier run: how long to wait for it, then what to send. Its
/// guard is stopping it already; the signals are for one that has lost its guard.
const EVICTION: [(Duration, Option<&str>); 3] = [
    (Duration::from_secs(10), Some("INT")),
    (Duration::from_secs(10), Some("QUIT")),
    (Duration::from_secs(10), None),
];

/// The cluster of a data folder, made or not.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) path: PathBuf,
    data_dir: PathBuf,
}

impl Cluster {
    /// The cluster of `data_dir`, a canonical path.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join(NAME), data_dir: data_dir.to_owned() }
    }

    /// The major version that made it; none when it is yet to be made.
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

    /// Makes the cluster. It gets its name when it is whole, so a crash on the way leaves nothing
    /// but rubbish, which goes now.
    pub(super) async fn create(
        &self,
        binaries: &Binaries,
        user: &OsUser,
        log: &Log,
        durable: bool,
    ) -> Result<(), EmbeddedError> {
        let unfinished = self.data_dir.join(UNFINISHED);
        let program = binaries.program("initdb");
        // Not every system knows C.UTF-8. In both, text sorts by code point.
        for locale in ["C.UTF-8", "C"] {
            make_empty(&unfinished, user)?;
            let options = initdb_options(&unfinished, locale, durable);
            let status = Guarded::spawn(user.shell(), Stop::Kill, &log.file, &program, options)
                .map_err(at("start", &program))?
                .wait()
                .await
                .map_err(at("wait for", &program))?;
            if status.success() {
                fs::rename(&unfinished, &self.path)
                    .map_err(at("move the new database to", &self.path))?;
                return File::open(&self.data_dir)
                    .and_then(|folder| folder.sync_all())
                    .map_err(at("make lasting", &self.data_dir));
            }
        }
        Err(EmbeddedError::Initdb { log: log.path.clone(), tail: log.tail() })
    }

    /// The server's pid, when the server says that it takes connections.
    pub(super) fn ready_pid(&self) -> Option<u32> {
        let bytes = fs::read(self.pid_file()).ok()?;
        // Paths in it need not be UTF-8. The pid comes first, the status last.
        let text = String::from_utf8_lossy(&bytes);
        let is_ready = text.lines().last()?.trim() == "ready";
        if is_ready { text.lines().next()?.trim().parse().ok() } else { None }
    }

    /// Makes sure that no process of a server works on the cluster and that the files by which one
    /// claimed it are gone. Postgres itself takes a claim for valid when any process has the pid
    /// in it, a zombie or a stranger. The caller has the data folder's lock and knows better.
    ///
    /// # Errors
    /// `StillRunning` when a server ignores every signal.
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
                tracing::warn!(?pids, signal, "stopping PostgreSQL, left by an earlier run");
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

    /// The living processes (zombies are not) of a Postgres on this cluster: all of them work in
    /// its folder, those too that have outlived their postmaster.
    #[cfg(target_os = "linux")]
    fn servers(&self) -> Vec<u32> {
        let is_server = |process: &Path| {
            // `pid (name) state …`. The files of a process that ends meanwhile can't be read.
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

    /// The living postmasters (zombies are not) on this cluster: their command line names it.
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
                // Not the guard either: its command line starts with the shell's name.
                let is_alive = !fields.next()?.starts_with('Z');
                let is_server = fields.next()?.ends_with("/postgres");
                (is_alive && is_server).then_some(pid)
            })
            .collect()
    }
}

/// Makes `folder` anew, for the user alone.
fn make_empty(folder: &Path, user: &OsUser) -> Result<(), EmbeddedError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at("remove", folder)(error));
        }
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(folder).map_err(at("create", folder))?;
    user.own(folder)
}

/// How initdb is called to make a cluster in `folder`.
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

/// Sends a signal. Processes that are gone already are as good. The standard library can't do it,
/// but every shell can.
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
