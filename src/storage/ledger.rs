//! The ledger of erasures: a folder outside the database, so that a restored backup does not bring
//! erased people and redacted texts back. It holds ids and times only.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
};
use uuid::Uuid;

use super::owner;
use crate::domain::{erasure::Erasure, ids::AccountId, redaction::Redaction};

/// The ledger cannot be read or written. The text is meant for the log.
#[derive(Debug, thiserror::Error)]
#[error("the ledger of erasures (storage.erasure_ledger) cannot be used: {path}: {cause}")]
pub struct LedgerError {
    path: String,
    cause: io::Error,
}

/// The ledger: a folder with one file for each erased account, and a folder in it with one file for
/// each redaction of a single text or file.
#[derive(Clone, Debug)]
pub struct ErasureLedger {
    erasures: PathBuf,
    redactions: PathBuf,
}

impl ErasureLedger {
    /// The ledger in a folder, which is created when it is first written.
    pub fn new(folder: &Path) -> Self {
        Self { erasures: folder.to_owned(), redactions: folder.join("redactions") }
    }

    /// Returns its folders, the outer one first.
    pub fn folders(&self) -> [&Path; 2] {
        [&self.erasures, &self.redactions]
    }

    /// Records an erasure. It is durable when this returns.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub async fn record(&self, erasure: &Erasure) -> Result<(), LedgerError> {
        write(&self.erasures, &erasure.account_id.0.to_string(), erasure).await
    }

    /// Records a redaction. It is durable when this returns.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub async fn record_redaction(&self, redaction: &Redaction) -> Result<(), LedgerError> {
        write(&self.redactions, &redaction.name(), redaction).await
    }

    /// Removes an erasure that did not happen.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub async fn forget(&self, id: AccountId) -> Result<(), LedgerError> {
        remove(&self.erasures, &id.0.to_string()).await
    }

    /// Removes a redaction that did not happen.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub async fn forget_redaction(&self, redaction: &Redaction) -> Result<(), LedgerError> {
        remove(&self.redactions, &redaction.name()).await
    }

    /// Whether the folder of the ledger exists.
    pub fn exists(&self) -> bool {
        self.erasures.is_dir()
    }

    /// Returns the ids of the erased accounts, as text, in no particular order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn erased_accounts(&self) -> Result<Vec<String>, LedgerError> {
        names(&self.erasures).await
    }

    /// Returns the erasure of an account of [`erased_accounts`](Self::erased_accounts), or `None` if it
    /// was removed meanwhile.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn erasure(&self, account: &str) -> Result<Option<Erasure>, LedgerError> {
        read_if_exists(&self.erasures, account).await
    }

    /// Returns the names of all redactions, in no particular order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn redactions(&self) -> Result<Vec<String>, LedgerError> {
        names(&self.redactions).await
    }

    /// Returns the redaction with a name of [`redactions`](Self::redactions), or `None` if it was
    /// removed meanwhile.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn redaction(&self, name: &str) -> Result<Option<Redaction>, LedgerError> {
        read_if_exists(&self.redactions, name).await
    }
}

fn entry(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

async fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<(), LedgerError> {
    // Of its own, because several nodes can share the folder and write the same entry.
    let part = folder.join(format!("{name}.{}.part", random_name()));
    let written = async {
        owner::create_folders(folder)?;
        // Renamed when it is complete, so that a crash leaves no half of an entry.
        let mut file = File::create_new(&part).await?;
        file.write_all(&serde_json::to_vec(value)?).await?;
        file.sync_all().await?;
        owner::inherit(&part)?;
        fs::rename(&part, entry(folder, name)).await?;
        File::open(folder).await?.sync_all().await
    };
    let written = written.await;
    if written.is_err() {
        // After a rename there is none.
        drop(fs::remove_file(&part).await);
    }
    written.map_err(|cause| failed(folder, cause))
}

#[expect(
    clippy::disallowed_methods,
    reason = "names of temporary files are not part of the domain"
)]
fn random_name() -> uuid::fmt::Simple {
    Uuid::new_v4().simple()
}

async fn remove(folder: &Path, name: &str) -> Result<(), LedgerError> {
    let path = entry(folder, name);
    match fs::remove_file(&path).await {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(failed(&path, cause)),
        _ => Ok(()),
    }
}

/// Returns the names of the entries of a folder.
async fn names(folder: &Path) -> Result<Vec<String>, LedgerError> {
    let failed = |cause| failed(folder, cause);
    let mut entries = match fs::read_dir(folder).await {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(vec![]),
        opened => opened.map_err(failed)?,
    };
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let name = entry.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
    }
    Ok(names)
}

async fn read_if_exists<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
) -> Result<Option<T>, LedgerError> {
    let path = entry(folder, name);
    let parsed = match fs::read(&path).await {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.and_then(|json| Ok(serde_json::from_slice(&json)?)),
    };
    parsed.map(Some).map_err(|cause| failed(&path, cause))
}

fn failed(path: &Path, cause: io::Error) -> LedgerError {
    LedgerError { path: path.display().to_string(), cause }
}
