//! The lock on the data folder, which lets one process use it and others find that process.
//!
//! The kernel holds the lock for an open file and releases it when the process ends, however that
//! happens, so it is never stale. The file's content is for people and for [`running_host`]: the
//! process id and, once the server is ready, where it listens.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    error::{EmbeddedError, at},
    os_user::OsUser,
};

const NAME: &str = "ticketwire.lock";

/// How long to wait for a process that only looks ([`running_host`]) or is about to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lock on a data folder, released when this value is dropped.
#[derive(Debug)]
pub(super) struct DataLock {
    file: File,
    path: PathBuf,
}

impl DataLock {
    /// Acquires the lock on `data_dir`, which must exist.
    ///
    /// # Errors
    /// `Locked` if another process has it, or `Io`.
    pub(super) async fn acquire(data_dir: &Path, user: &OsUser) -> Result<Self, EmbeddedError> {
        let path = data_dir.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(at("open", &path))?;
        user.take_ownership(&path)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(PATIENCE / 20).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = content(&file).ok().and_then(|text| parse(&text).0);
                    return Err(EmbeddedError::Locked { data_dir: data_dir.to_owned(), holder });
                }
                Err(TryLockError::Error(error)) => return Err(at("lock", &path)(error)),
            }
        }
        let lock = Self { file, path };
        lock.write(&format!("{}\n", std::process::id()))?;
        Ok(lock)
    }

    /// Publishes where the server listens, for other processes.
    pub(super) fn publish(&self, host: &str) -> Result<(), EmbeddedError> {
        self.write(&format!("{}\n{host}\n", std::process::id()))
    }

    /// Withdraws what [`publish`](Self::publish) wrote. The lock remains.
    pub(super) fn withdraw(&self) -> Result<(), EmbeddedError> {
        self.write(&format!("{}\n", std::process::id()))
    }

    fn write(&self, text: &str) -> Result<(), EmbeddedError> {
        let replace = || {
            self.file.set_len(0)?;
            self.file.write_all_at(text.as_bytes(), 0)
        };
        replace().map_err(at("write", &self.path))
    }
}

/// Returns where the server of the process with the lock on `data_dir` listens. `None` if no process
/// has the lock or its server is not ready.
pub(super) fn running_host(data_dir: &Path) -> Result<Option<String>, EmbeddedError> {
    let path = data_dir.join(NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("open", &path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let text = content(&file).map_err(at("read", &path))?;
            Ok(parse(&text).1.map(str::to_owned))
        }
        Err(TryLockError::Error(error)) => Err(at("lock", &path)(error)),
    }
}

fn content(mut file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Parses the id of the process with the lock and the host of its server.
fn parse(text: &str) -> (Option<u32>, Option<&str>) {
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    (pid, lines.next())
}
