//! Why a server or a command cannot start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    backup::BackupError,
    crypto::password::PasswordError,
    db::{DbError, embedded::EmbeddedError},
    mail::templates::TemplateError,
    service::{ServiceError, demo::DemoError},
    storage::ledger::LedgerError,
};

/// Why a server or a command cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Migrations are pending. The configuration does not allow to apply them, or a command only reads.
    #[error(
        "the database is not up to date: run `ticketwire migrate`. Pending migrations: {}",
        .0.join(", ")
    )]
    PendingMigrations(Vec<String>),
    /// The embedded database failed, and its disk is full.
    #[error("{cause}. The disk of {} is full: make room, then start again", .folder.display())]
    Full {
        /// The data folder.
        folder: PathBuf,
        /// The failure.
        #[source]
        cause: DbError,
    },
    /// The database refuses changes.
    #[error(
        "the database is read-only: it is a standby, or was made read-only, as some hosts do when its \
         disk is full. Name the primary in `database.url` (DATABASE_URL), or have it accept changes"
    )]
    ReadOnly,
    /// The role may not use tables or sequences.
    #[error(
        "the role of `database.url` lacks rights on {}: it needs SELECT, INSERT, UPDATE and DELETE on all \
         tables and USAGE, SELECT and UPDATE on all sequences, see docs/OPERATIONS.md, \"Database\"",
        .0.join(", ")
    )]
    Rights(Vec<String>),
    /// A restore of the database was interrupted.
    #[error(
        "the restore of a backup into this database was interrupted or is under way: if it is not \
         running, run `ticketwire restore` with the same backup again"
    )]
    UnfinishedRestore,
    /// A restore failed after it had begun to write.
    #[error(
        "{0}. The restore is not finished, and until it is, no server starts on this database: mend the \
         cause, and run the same command again"
    )]
    FailedRestore(#[source] Box<Self>),
    /// A restore into the data folder was interrupted or failed.
    #[error(
        "the restore of a backup into this data folder was interrupted, failed or is under way: if \
         it is not running, run `ticketwire restore` again. To begin with demo data instead, remove \
         {}", .0.display()
    )]
    UnfinishedFolder(PathBuf),
    /// A command needs an installation, and there is no embedded one.
    #[error(
        "there is no installation in {}: set database.url (DATABASE_URL) to its database, or \
         data_dir (--data-dir) to its folder", .0.display()
    )]
    NoInstallation(PathBuf),
    /// A backup cannot be taken, checked or restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The name of a backup is that of a compressed file.
    #[error(
        "{0} cannot be the target: a backup is a folder, or one file whose name ends in .tar. Its content \
         is compressed already"
    )]
    Compressed(String),
    /// The place of a backup is a URL of another kind than that of a bucket.
    #[error(
        "{0} cannot be the place of a backup: name a folder, a file whose name ends in .tar, or \
         s3://BUCKET/PREFIX on the server of `storage.s3`. To use a folder or file of that name, write ./{0}"
    )]
    UnsupportedPlace(String),
    /// The embedded database failed.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// Passwords cannot be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The demo data cannot be written.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// A value of the configuration is refused: only a person can mend that.
    #[error("`{key}` {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// The problem, as the rest of a sentence that starts with the key.
        problem: String,
    },
    /// What a key of the configuration names, such as a file, cannot be used at the moment.
    #[error("`{key}` {problem}")]
    Unusable {
        /// The key.
        key: &'static str,
        /// The problem, as the rest of a sentence that starts with the key.
        problem: String,
    },
    /// Accounts that a backup has brought back cannot be erased again.
    #[error("accounts that were erased cannot be erased again: {0}")]
    Erasure(ServiceError),
    /// The ledger of erasures cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger of erasures is not that of the backup's installation.
    #[error(
        "the ledger of erasures in {} has {entries} entries and lacks {missing} erasures and \
         redactions that the backup has: it is lost, or another one. What was erased since the \
         backup would come back. Set storage.erasure_ledger to the folder of the right one, or \
         restore without it (--without-ledger)", .folder.display()
    )]
    LedgerLacksEntries {
        /// The folder.
        folder: PathBuf,
        /// The number of its entries.
        entries: usize,
        /// The number of the backup's erasures and redactions that it lacks.
        missing: usize,
    },
    /// A mail template cannot be used.
    #[error("`mail.templates_dir` cannot be used: {0}")]
    Template(#[from] TemplateError),
    /// The address is in use or not this machine's.
    #[error("cannot listen on {address}: {cause}{}", listen_advice(cause))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        cause: io::Error,
    },
}

/// Returns what to do if an address cannot be listened on, as the end of a sentence.
pub(super) fn listen_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            ". Another program uses the port: stop it, or set another port (`ss -ltnp` lists them)"
        }
        io::ErrorKind::AddrNotAvailable => {
            ". This machine does not have the address: set one of its own, or 0.0.0.0 for all"
        }
        io::ErrorKind::PermissionDenied => {
            ". Ports below 1024 need a privilege: set a higher port, or start the server as the \
             unit of the package does, with CAP_NET_BIND_SERVICE"
        }
        _ => "",
    }
}

impl StartError {
    /// Returns whether the configuration is refused, so that trying again does not help.
    pub fn is_refused_config(&self) -> bool {
        match self {
            Self::Config { .. } => true,
            Self::Template(error) => !matches!(error, TemplateError::File { .. }),
            _ => false,
        }
    }
}

/// Returns the error for a file, folder or server that cannot be used. `problem` is the rest of a
/// sentence that starts with its key.
pub(super) fn unusable_setting(key: &'static str, problem: impl Into<String>) -> StartError {
    StartError::Unusable { key, problem: problem.into() }
}

/// Returns the error for a value that is refused. `problem` is the rest of a sentence that starts
/// with the key.
pub(super) fn invalid_setting(key: &'static str, problem: impl Into<String>) -> StartError {
    StartError::Config { key, problem: problem.into() }
}

/// Returns the error for a key that is needed to send mail and is not set. `example` completes
/// "set it to".
pub(super) fn missing_setting(key: &'static str, example: &str) -> StartError {
    let problem = format!("is required to send mail and has no default: set it to {example}");
    StartError::Config { key, problem }
}
