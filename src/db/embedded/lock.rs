//! One process a data folder, and how another one finds it.
//!
//! The lock is the kernel's, on an open file: it goes with the process, however that ends, so a
//! stale one does not exist. The file's content is for people and for [`running_host`]: the pid
//! of the holder, and, once the server is ready, where it listens.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{EmbeddedError, error::at, os_user::OsUser};

const NAME: &str = "ticketwire.lock";

/// How long to wait for a holder that just looks ([`running_host`]) or is about to go.
const PATIENCE: Duration = Duration::from_secs(1);

/// A data folder that is ours until this value is dropped.
#[derive(Debug)]
pub(super) struct DataLock {
    file: File,
    path: PathBuf,
}

impl DataLock {
    /// Takes the lock on `data_dir`, which must exist.
    ///
    /// # Errors
    /// `Locked` when another process has it.
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
        user.own(&path)?;
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

    /// Tells other processes where the server listens.
    pub(super) fn publish(&self, host: &str) -> Result<(), EmbeddedError> {
        self.write(&format!("{}\n{host}\n", std::process::id()))
    }

    /// Takes that back; the lock stays.
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

/// Where the server of the process that holds the lock on `data_dir` listens; none when nobody
/// holds it, or when the server is not ready.
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

/// The holder's pid and its server's host.
fn parse(text: &str) -> (Option<u32>, Option<&str>) {
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    (pid, lines.next())
}
