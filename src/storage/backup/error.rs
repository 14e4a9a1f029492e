//! Why a backup cannot be written or read.

use std::{error::Error, io};

use crate::{
    domain::{causes::with_causes, shell::quoted},
    storage::{
        StorageError,
        error::{names_no_bucket, reason},
    },
};

/// Why a backup cannot be written or read, in words for the person at the terminal. `place` is the
/// folder or the address in a bucket.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The target is in use.
    #[error("{0} already exists and is not empty: choose another target, or remove it first")]
    Occupied(String),
    /// The target is a file that exists.
    #[error("{0} already exists: choose another target, or remove it first")]
    Exists(String),
    /// The path is empty.
    #[error(
        "the path of the backup is empty: name a folder, a file whose name ends in .tar, or \
         s3://BUCKET/PREFIX"
    )]
    Unnamed,
    /// The folder that the target would be in does not exist.
    #[error("the folder {0} does not exist: mount its disk, or create it")]
    NoFolder(String),
    /// A folder of the path cannot be created.
    #[error(
        "{0} cannot be created: a part of its path is a file, or a link to what does not exist. Correct \
         the path, or create the folder that the link names"
    )]
    Obstructed(String),
    /// The target has no name that a folder can be given.
    #[error("{0} cannot be the target of a backup: name a folder that does not exist yet")]
    NoName(String),
    /// The target exists and cannot be replaced.
    #[error(
        "{0} is a mount point or a link, which the finished backup cannot replace: choose a folder in \
         it that does not exist yet"
    )]
    Irreplaceable(String),
    /// Another process writes a backup to the target.
    #[error("another backup is being written to {0}: wait until it ends, or choose another target")]
    Busy(String),
    /// Another backup has taken the place of this one.
    #[error(
        "another backup is being written to {0} now: this one ends without having completed anything. \
         Give each backup a target of its own"
    )]
    Replaced(String),
    /// The source is not a backup.
    #[error(
        "{0} is not a whole backup: there is no manifest.json in it. Check the path. A backup that \
         was interrupted cannot be used: take another one"
    )]
    NotABackup(String),
    /// The source is a file of something else.
    #[error("{0} is not a backup: it is neither a folder nor a tar archive. Check the path")]
    NotATar(String),
    /// The source is a compressed file.
    #[error(
        "{place} is compressed: decompress it (`{program} -dc {} > NAME.tar`) and name the new file",
        quoted(.place)
    )]
    Compressed {
        /// The file.
        place: String,
        /// The program that decompresses it.
        program: &'static str,
    },
    /// The source is an archive of several backups.
    #[error(
        "there are several backups in {0}: unpack it (`tar -xf {quoted}`) and name the folder of one \
         of them",
        quoted = quoted(.0)
    )]
    Several(String),
    /// A newer version wrote the backup.
    #[error(
        "{place} was written by Ticketwire {program} in a newer format ({format}): use that version \
         or a newer one"
    )]
    NewerFormat {
        /// The backup.
        place: String,
        /// The version that wrote it.
        program: String,
        /// The format.
        format: u64,
    },
    /// A part is missing.
    #[error("{name} is missing in {place}: the backup is damaged. Use another backup")]
    Missing {
        /// The backup.
        place: String,
        /// The part.
        name: String,
    },
    /// A part is not what was written.
    #[error("{name} in {place} is damaged: {reason}. Use another backup")]
    Damaged {
        /// The backup.
        place: String,
        /// The part.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file ends too early.
    #[error(
        "{0} is damaged: the file ends in the middle of the archive. It was cut, or not copied to \
         its end. Copy it again, or use another backup"
    )]
    Cut(String),
    /// The disk is full.
    #[error(
        "the disk is full while a backup is written to {0}. Free space there or choose another \
         target, and run the command again. What was written was removed"
    )]
    Full(String),
    /// The bucket does not exist.
    #[error(
        "the bucket of {0} does not exist: create it, or correct the address, `storage.s3.region` or \
         `storage.s3.endpoint`"
    )]
    NoBucket(String),
    /// The folder or the bucket failed.
    #[error("{place} cannot be used: {reason}")]
    Failed {
        /// The folder or the address in a bucket.
        place: String,
        /// The reason.
        reason: String,
    },
}

impl ArchiveError {
    /// The error for a failure of the folder or the bucket.
    pub(super) fn failed(place: &str, cause: impl Error + 'static) -> Self {
        let (place, cause) = (place.to_owned(), &cause as &(dyn Error + 'static));
        if is_full(cause) {
            return Self::Full(place);
        }
        match cause.downcast_ref::<object_store::Error>() {
            Some(cause) if names_no_bucket(cause) => Self::NoBucket(place),
            Some(cause) => Self::Failed { place, reason: reason(cause) },
            None => Self::Failed { place, reason: with_causes(cause) },
        }
    }

    /// The error for a folder that cannot be created.
    pub(super) fn not_created(place: &str, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                Self::Obstructed(place.to_owned())
            }
            _ => Self::failed(place, cause),
        }
    }

    /// The error for an object that cannot be written.
    pub(super) fn not_written(place: &str, cause: StorageError) -> Self {
        match cause {
            StorageError::Store(cause) => Self::failed(place, cause),
            other => Self::failed(place, other),
        }
    }

    /// The error for a file that cannot be read as an archive.
    pub(super) fn of_file(place: &str, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut(place.to_owned()),
            io::ErrorKind::InvalidData => Self::damaged(place, "a header", cause.to_string()),
            _ => Self::failed(place, cause),
        }
    }

    /// The error for a part that is not what was written.
    pub(super) fn damaged(place: &str, name: &str, reason: impl Into<String>) -> Self {
        Self::Damaged { place: place.to_owned(), name: name.to_owned(), reason: reason.into() }
    }
}

/// Whether an error or one of its causes is a full disk or an exhausted quota.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        next = error.source();
    }
    false
}
