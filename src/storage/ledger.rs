//! The ledger of erasures: a folder outside the database, so that a restored backup does not bring
//! erased people back. It holds ids and times only.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
};

use crate::domain::{erasure::Erasure, ids::AccountId};

/// The ledger cannot be read or written. The text is meant for the log.
#[derive(Debug, thiserror::Error)]
#[error("the ledger of erasures (storage.erasure_ledger) cannot be used: {path}: {cause}")]
pub struct LedgerError {
    path: String,
    cause: io::Error,
}

/// The ledger: a folder with one file for each erased account.
#[derive(Clone, Debug)]
pub struct ErasureLedger(PathBuf);

impl ErasureLedger {
    /// The ledger in a folder, which is created when it is first written.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Records an erasure. It is durable when this returns.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub async fn record(&self, erasure: &Erasure) -> Result<(), LedgerError> {
        self.write(erasure).await.map_err(|cause| failed(&self.0, cause))
    }

    async fn write(&self, erasure: &Erasure) -> io::Result<()> {
        fs::create_dir_all(&self.0).await?;
        // Renamed when it is complete, so that a crash leaves no half of an entry.
        let part = self.0.join(format!("{}.part", erasure.account_id.0));
        let mut file = File::create(&part).await?;
        file.write_all(&serde_json::to_vec(erasure)?).await?;
        file.sync_all().await?;
        fs::rename(&part, self.path(erasure.account_id)).await?;
        File::open(&self.0).await?.sync_all().await
    }

    /// Removes an erasure that did not happen.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub async fn forget(&self, id: AccountId) -> Result<(), LedgerError> {
        match fs::remove_file(self.path(id)).await {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(failed(&self.0, cause)),
            _ => Ok(()),
        }
    }

    /// Returns all erasures, in no particular order.
    ///
    /// # Errors
    /// The folder or a file in it cannot be read.
    pub async fn erasures(&self) -> Result<Vec<Erasure>, LedgerError> {
        let failed = |cause| failed(&self.0, cause);
        let mut entries = match fs::read_dir(&self.0).await {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(vec![]),
            opened => opened.map_err(failed)?,
        };
        let mut erasures = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                erasures.push(read(&path).await.map_err(|cause| self::failed(&path, cause))?);
            }
        }
        Ok(erasures)
    }

    fn path(&self, id: AccountId) -> PathBuf {
        self.0.join(format!("{}.json", id.0))
    }
}

async fn read(path: &Path) -> io::Result<Erasure> {
    Ok(serde_json::from_slice(&fs::read(path).await?)?)
}

fn failed(path: &Path, cause: io::Error) -> LedgerError {
    LedgerError { path: path.display().to_string(), cause }
}
