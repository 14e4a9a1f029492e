//! The log of initdb and the server, which also shows whether any of their processes is running.
//!
//! A run locks its log, and all its processes write to the same open file. So the kernel holds the
//! lock until the last of them has ended, orphans included.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{
    error::{EmbeddedError, at},
    os_user::OsUser,
};

const NAME: &str = "postgres.log";
const PREVIOUS: &str = "postgres.log.1";

/// How much of the end of a log an error shows at most.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 15;

/// The log file of one run.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Log {
    /// Whether a process of an earlier run is still running: it has the log open.
    pub(super) fn has_writers(data_dir: &Path) -> Result<bool, EmbeddedError> {
        let path = path_in(data_dir);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(at("open", &path)(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(at("lock", &path)(error)),
        }
    }

    /// Starts a new log in the data folder. The log of the previous run, which may show why it
    /// ended, is renamed and replaces the one before, so at most two exist.
    pub(super) fn create(data_dir: &Path, user: &OsUser) -> Result<Self, EmbeddedError> {
        let path = path_in(data_dir);
        match fs::rename(&path, data_dir.join(PREVIOUS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("rename", &path)(error));
            }
            _ => {}
        }
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(at("create", &path))?;
        user.take_ownership(&path)?;
        file.lock().map_err(at("lock", &path))?;
        Ok(Self { path, file })
    }

    /// Returns its last lines.
    pub(super) fn tail(&self) -> String {
        tail(&self.path)
    }
}

/// Returns the path of the log of the current run.
pub(super) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Returns the last lines of a file, for an error about something else: if the file cannot be read,
/// the reason is returned in their place.
pub(super) fn tail(path: &Path) -> String {
    let end = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match end() {
        Err(error) => format!("(cannot be read: {error})"),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.trim_end().lines().collect();
            lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
        }
    }
}
