//! The mark of an unfinished backup in a bucket.
//!
//! The run that writes the backup also writes the mark, again and again, so that another run
//! recognises an interrupted one by a mark that stays the same. Clocks are not compared.

use std::{future::ready, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, UpdateVersion, path::Path,
};
use tokio::{task::JoinHandle, time};
use uuid::Uuid;

use super::{
    error::ArchiveError,
    layout::{MANIFEST, UNFINISHED, below, is_of_backup},
    ownership::Ownership,
};
use crate::{domain::clock::Timestamp, storage::error::is_absent};

/// How often the mark is written again.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long the mark of an interrupted backup stays the same.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A run of the command that takes a backup.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its random id.
    pub id: Uuid,
    /// When it began.
    pub began_at: Timestamp,
}

impl Run {
    /// Returns the start of the mark.
    fn mark(&self) -> String {
        let began_at = self.began_at.to_rfc3339();
        format!("The backup {} is being written here since {began_at}.\n", self.id)
    }
}

/// A prefix of a bucket, for one run.
#[derive(Clone)]
pub(super) struct Prefix {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    /// For messages.
    pub(super) place: String,
    pub(super) run: Run,
}

impl Prefix {
    /// Marks a prefix that has no objects, or only those of an interrupted backup, which are removed:
    /// its mark stays the same for this long.
    ///
    /// # Errors
    /// The prefix is in use, or the bucket failed.
    pub(super) async fn take(self, patience: Duration) -> Result<Lease, ArchiveError> {
        let first = self.objects().try_next().await;
        if first.map_err(|cause| self.failed(cause))?.is_some() {
            self.require_interrupted(patience).await?;
            self.remove_objects().await?;
        }
        self.put_mark().await?;
        let ownership = Ownership::default();
        let task = tokio::spawn(self.clone().keep_renewing(ownership.clone()));
        Ok(Lease { prefix: self, ownership, task })
    }

    async fn require_interrupted(&self, patience: Duration) -> Result<(), ArchiveError> {
        let mark = self.mark().await?.map(|(mark, _)| mark);
        match self.store.head(&below(&self.root, MANIFEST)).await {
            Err(cause) if !is_absent(&cause) => return Err(self.failed(cause)),
            Err(_) if mark.is_some() => {}
            _ => return Err(ArchiveError::Occupied(self.place.clone())),
        }
        let others = self.objects().try_filter(|path| ready(!is_of_backup(&self.root, path)));
        if pin!(others).try_next().await.map_err(|cause| self.failed(cause))?.is_some() {
            return Err(ArchiveError::Occupied(self.place.clone()));
        }
        let seconds = patience.as_secs();
        tracing::info!(seconds, "watching whether the unfinished backup is still being written");
        time::sleep(patience).await;
        if self.mark().await?.map(|(mark, _)| mark) == mark {
            return Ok(());
        }
        Err(ArchiveError::Busy(self.place.clone()))
    }

    /// Returns the mark and its version.
    async fn mark(&self) -> Result<Option<(String, UpdateVersion)>, ArchiveError> {
        let found = match self.store.get(&below(&self.root, UNFINISHED)).await {
            Err(cause) if is_absent(&cause) => return Ok(None),
            found => found.map_err(|cause| self.failed(cause))?,
        };
        let meta = &found.meta;
        let version = UpdateVersion { e_tag: meta.e_tag.clone(), version: meta.version.clone() };
        let bytes = found.bytes().await.map_err(|cause| self.failed(cause))?;
        Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), version)))
    }

    /// Marks the prefix, unless another backup was first.
    async fn put_mark(&self) -> Result<(), ArchiveError> {
        let put = self.put(self.run.mark(), PutMode::Create).await;
        if put? { Ok(()) } else { Err(ArchiveError::Busy(self.place.clone())) }
    }

    /// Writes the mark. Returns whether the condition of the mode was met.
    async fn put(&self, mark: String, mode: PutMode) -> Result<bool, ArchiveError> {
        let path = below(&self.root, UNFINISHED);
        let put = match self.store.put_opts(&path, mark.clone().into(), mode.into()).await {
            // Servers without conditional requests.
            Err(StoreError::NotImplemented { .. }) => self.store.put(&path, mark.into()).await,
            put => put,
        };
        match put {
            Ok(_) => Ok(true),
            Err(
                StoreError::AlreadyExists { .. }
                | StoreError::Precondition { .. }
                | StoreError::NotFound { .. },
            ) => Ok(false),
            Err(cause) => Err(self.failed(cause)),
        }
    }

    async fn keep_renewing(self, ownership: Ownership) {
        for count in 1.. {
            time::sleep(RENEWAL).await;
            match self.renew(count).await {
                Ok(true) => {}
                Ok(false) => return ownership.lose(),
                Err(error) => tracing::warn!(%error, "renewing the mark of a backup failed"),
            }
        }
    }

    /// Writes the mark again, with a number. Returns false if another run has taken the prefix.
    async fn renew(&self, count: u64) -> Result<bool, ArchiveError> {
        let (own, found) = (self.run.mark(), self.mark().await?);
        let Some((_, version)) = found.filter(|(mark, _)| mark.starts_with(&own)) else {
            return Ok(false);
        };
        self.put(format!("{own}Renewed {count} times.\n"), PutMode::Update(version)).await
    }

    /// Whether the mark is still that of this run.
    async fn is_ours(&self) -> Result<bool, ArchiveError> {
        let own = self.run.mark();
        Ok(self.mark().await?.is_some_and(|(mark, _)| mark.starts_with(&own)))
    }

    /// Lists the objects, also those that are of no backup.
    fn objects(&self) -> BoxStream<'static, Result<Path, StoreError>> {
        self.store.list(Some(&self.root)).map_ok(|object| object.location).boxed()
    }

    /// Removes the objects of a backup, and no others.
    async fn remove_objects(&self) -> Result<(), ArchiveError> {
        let root = self.root.clone();
        let paths = self.objects().try_filter(move |path| ready(is_of_backup(&root, path))).boxed();
        let deleted = self.store.delete_stream(paths).try_for_each(async |_| Ok(())).await;
        deleted.map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: StoreError) -> ArchiveError {
        ArchiveError::failed(&self.place, cause)
    }
}

/// A prefix that belongs to a run, as long as it renews the mark.
pub(super) struct Lease {
    prefix: Prefix,
    ownership: Ownership,
    task: JoinHandle<()>,
}

impl Lease {
    /// Returns whether the prefix still belongs to this run, for those who write there.
    pub(super) fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    /// # Errors
    /// Another run has taken the prefix, or the bucket failed.
    pub(super) async fn require(&self) -> Result<(), ArchiveError> {
        if self.prefix.is_ours().await? {
            return Ok(());
        }
        Err(ArchiveError::Replaced(self.prefix.place.clone()))
    }

    /// Removes the mark: the backup is whole.
    ///
    /// # Errors
    /// The bucket failed.
    pub(super) async fn end(&self) -> Result<(), ArchiveError> {
        self.task.abort();
        let deleted = self.prefix.store.delete(&below(&self.prefix.root, UNFINISHED)).await;
        deleted.map_err(|cause| self.prefix.failed(cause))
    }

    /// Removes what was written. Leaves the objects of another run that has taken the prefix.
    ///
    /// # Errors
    /// The bucket failed.
    pub(super) async fn abandon(&self) -> Result<(), ArchiveError> {
        self.task.abort();
        if self.prefix.is_ours().await? { self.prefix.remove_objects().await } else { Ok(()) }
    }

    /// Renews the mark at once.
    #[cfg(test)]
    pub(super) async fn renew(&self) -> Result<bool, ArchiveError> {
        self.prefix.renew(1).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}
