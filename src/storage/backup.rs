//! Backups as they are stored: a folder, or a prefix of an S3 bucket.
//!
//! | object | content |
//! |---|---|
//! | `manifest.json` | what the backup consists of; written last |
//! | `manifest.json.sha256` | its checksum, as `sha256sum` writes it |
//! | `database/TABLE.gz` | the rows of a table |
//! | `attachments.gz` | the list of the attachments |
//! | `attachments/ID` | the content of an attachment |
//!
//! A folder has another name until it is whole: `.unfinished` is appended. A bucket has no names that
//! change: there the object `unfinished` exists meanwhile, which names the run, and `manifest.json`
//! does not.

mod error;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fs::{self, File as LockFile, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use axum::body::Bytes;
use chrono::TimeDelta;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, local::LocalFileSystem,
    path::Path,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use error::ArchiveError;
pub use reader::{IndexReader, ObjectReader, PartReader};
pub use writer::{ObjectWriter, PartWriter};

use super::{BUCKET_PART, FOLDER_PART, S3Settings, UploadWriter, s3_store};
use crate::domain::{
    backup::{FORMAT, File, Manifest, Part},
    clock::Timestamp,
    hex::hex,
};

/// The name of the manifest.
const MANIFEST: &str = "manifest.json";
/// The name of the manifest's checksum.
const CHECKSUM: &str = "manifest.json.sha256";
/// The name of the object that marks an unfinished backup in a bucket, and of the lock in a folder.
const UNFINISHED: &str = "unfinished";

/// How long after its newest object an unfinished backup in a bucket counts as interrupted.
const ABANDONED_AFTER: TimeDelta = TimeDelta::hours(1);

/// The place of a backup.
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// For messages.
    place: String,
    part_size: usize,
}

impl Archive {
    /// The backup in a folder.
    ///
    /// # Errors
    /// The path cannot be used.
    pub fn in_folder(folder: &FilePath) -> Result<Self, ArchiveError> {
        let place = folder.display().to_string();
        let absolute =
            std::path::absolute(folder).map_err(|cause| ArchiveError::failed(&place, cause))?;
        let root = Path::from_absolute_path(absolute)
            .map_err(|cause| ArchiveError::failed(&place, cause))?;
        let store = Arc::new(LocalFileSystem::new().with_fsync(true));
        Ok(Self { store, root, place, part_size: FOLDER_PART })
    }

    /// The backup under a prefix of a bucket. Does not connect to the server.
    ///
    /// # Errors
    /// The settings are invalid.
    pub fn in_bucket(settings: S3Settings, prefix: &str) -> Result<Self, ArchiveError> {
        let place = format!("s3://{}/{prefix}", settings.bucket);
        let store = s3_store(settings).map_err(|cause| ArchiveError::failed(&place, cause))?;
        Ok(Self { store, root: Path::from(prefix), place, part_size: BUCKET_PART })
    }

    /// Returns the folder or the address in the bucket, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Starts to write a part.
    ///
    /// # Errors
    /// The target failed.
    pub async fn write_part(&self, name: &str) -> Result<PartWriter, ArchiveError> {
        Ok(PartWriter::new(name, self.write_object(name).await?))
    }

    /// Starts to write an object as it is.
    ///
    /// # Errors
    /// The target failed.
    pub async fn write_object(&self, name: &str) -> Result<ObjectWriter, ArchiveError> {
        let upload = self.store.put_multipart(&self.path(name)).await;
        let upload = upload.map_err(|cause| self.failed(cause))?;
        Ok(ObjectWriter::new(&self.place, UploadWriter::new(upload, self.part_size)))
    }

    /// Reads a part.
    ///
    /// # Errors
    /// The part is missing, or the source failed.
    pub async fn read_part(&self, part: &Part) -> Result<PartReader, ArchiveError> {
        let object = self.read_object(&part.name, part.bytes, &part.sha256).await?;
        Ok(PartReader::new(part, object))
    }

    /// Reads the index of the attachments.
    ///
    /// # Errors
    /// It is missing, or the source failed.
    pub async fn read_index(&self, index: &Part) -> Result<IndexReader, ArchiveError> {
        Ok(IndexReader::new(self.read_part(index).await?))
    }

    /// Reads the content of an attachment.
    ///
    /// # Errors
    /// It is missing, or the source failed.
    pub async fn read_file(&self, file: &File) -> Result<ObjectReader, ArchiveError> {
        self.read_object(&file.name(), file.size, &file.sha256).await
    }

    async fn read_object(
        &self,
        name: &str,
        bytes: u64,
        sha256: &str,
    ) -> Result<ObjectReader, ArchiveError> {
        let stream = match self.store.get(&self.path(name)).await {
            Ok(found) => found.into_stream(),
            Err(StoreError::NotFound { .. }) => return Err(self.missing(name)),
            Err(cause) => return Err(self.failed(cause)),
        };
        Ok(ObjectReader::new(&self.place, name, stream, (bytes, sha256.to_owned())))
    }

    /// Reads and checks the manifest.
    ///
    /// # Errors
    /// There is no whole backup, a newer version has written it, or the manifest is damaged.
    pub async fn manifest(&self) -> Result<Manifest, ArchiveError> {
        let not_a_backup = || ArchiveError::NotABackup(self.place.clone());
        let bytes = self.get(MANIFEST).await?.ok_or_else(not_a_backup)?;
        let checksum = self.get(CHECKSUM).await?.ok_or_else(|| self.missing(CHECKSUM))?;
        if checksum != checksum_of(&bytes) {
            return Err(self.damaged("its checksum does not match"));
        }
        let json = serde_json::from_slice::<serde_json::Value>(&bytes);
        let json = json.map_err(|error| self.damaged(error.to_string()))?;
        match json["format"].as_u64() {
            Some(format) if format > FORMAT.into() => {
                let program = json["program"].as_str().unwrap_or("?").to_owned();
                Err(ArchiveError::NewerFormat { place: self.place.clone(), program, format })
            }
            Some(_) => {
                serde_json::from_value(json).map_err(|error| self.damaged(error.to_string()))
            }
            None => Err(self.damaged("it names no format")),
        }
    }

    /// Writes the manifest, which makes the backup whole.
    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        let json = serde_json::to_vec_pretty(manifest);
        let json = json.map_err(|cause| ArchiveError::failed(&self.place, cause))?;
        self.put(CHECKSUM, checksum_of(&json)).await?;
        self.put(MANIFEST, json).await
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        let put = self.store.put(&self.path(name), bytes.into()).await;
        put.map(drop).map_err(|cause| self.failed(cause))
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, ArchiveError> {
        let found = match self.store.get(&self.path(name)).await {
            Ok(found) => found.bytes().await,
            Err(cause) => Err(cause),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(cause) => Err(self.failed(cause)),
        }
    }

    /// Returns when the newest object was written, or `None` if there is none.
    async fn newest(&self) -> Result<Option<Timestamp>, ArchiveError> {
        let written = self.store.list(Some(&self.root)).map_ok(|object| object.last_modified);
        let written = written.try_collect::<Vec<_>>().await;
        Ok(written.map_err(|cause| self.failed(cause))?.into_iter().max())
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.root.clone(), Path::join)
    }

    fn failed(&self, cause: StoreError) -> ArchiveError {
        ArchiveError::failed(&self.place, cause)
    }

    fn missing(&self, name: &str) -> ArchiveError {
        ArchiveError::Missing { place: self.place.clone(), name: name.to_owned() }
    }

    fn damaged(&self, reason: impl Into<String>) -> ArchiveError {
        ArchiveError::damaged(&self.place, MANIFEST, reason)
    }
}

/// Returns the line that `sha256sum` writes for the manifest.
fn checksum_of(manifest: &[u8]) -> Vec<u8> {
    format!("{}  {MANIFEST}\n", hex(&Sha256::digest(manifest))).into_bytes()
}

/// A run of the command that takes a backup.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its random id.
    pub id: Uuid,
    /// When it began.
    pub began_at: Timestamp,
}

impl Run {
    /// Returns the content of the object that marks the backup as unfinished.
    fn mark(&self) -> Vec<u8> {
        let began_at = self.began_at.to_rfc3339();
        format!("The backup {} is being written here since {began_at}.\n", self.id).into_bytes()
    }
}

/// A backup that is being written. It becomes visible when it finishes.
pub struct NewArchive {
    archive: Archive,
    /// The folder, its unfinished name, and the lock on it. `None` in a bucket.
    folder: Option<(PathBuf, PathBuf, LockFile)>,
    /// The content of the mark in a bucket. Empty in a folder.
    mark: Vec<u8>,
}

impl NewArchive {
    /// Starts a backup in a folder that does not exist or is empty. Removes what an interrupted one
    /// with the same target has left.
    ///
    /// # Errors
    /// The folder is in use, or cannot be created.
    pub fn in_folder(folder: &FilePath) -> Result<Self, ArchiveError> {
        let place = folder.display().to_string();
        let failed = |cause: io::Error| ArchiveError::failed(&place, cause);
        // Without a slash at its end, which would become part of another name.
        let target = std::path::absolute(folder).map_err(failed)?;
        let target = target.components().collect::<PathBuf>();
        if target.file_name().is_none() {
            return Err(ArchiveError::NoName(place));
        }
        if fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some())
            || target.exists() && !target.is_dir()
        {
            return Err(ArchiveError::Occupied(place));
        }
        require_replaceable(&target, &place)?;
        let mut unfinished = target.clone().into_os_string();
        unfinished.push(format!(".{UNFINISHED}"));
        let unfinished = PathBuf::from(unfinished);
        // Only its owner may read what people wrote and the hashes of their passwords.
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&unfinished);
        created.map_err(failed)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let lock = LockFile::create(unfinished.join(UNFINISHED)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ArchiveError::Busy(place)),
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        clear(&unfinished).map_err(failed)?;
        let archive = Archive::in_folder(&unfinished)?;
        let folder = Some((target, unfinished, lock));
        Ok(Self { archive: Archive { place, ..archive }, folder, mark: vec![] })
    }

    /// Starts a backup under a prefix of a bucket that has no objects, or those of a backup that was
    /// interrupted an hour ago or earlier, which it removes.
    ///
    /// # Errors
    /// The prefix is in use, or the bucket failed.
    pub async fn in_bucket(
        settings: S3Settings,
        prefix: &str,
        run: Run,
    ) -> Result<Self, ArchiveError> {
        Self::under_prefix(Archive::in_bucket(settings, prefix)?, run).await
    }

    async fn under_prefix(archive: Archive, run: Run) -> Result<Self, ArchiveError> {
        let newest = archive.newest().await?;
        let new = Self { archive, folder: None, mark: run.mark() };
        if let Some(at) = newest {
            let is_whole = new.archive.get(MANIFEST).await?.is_some();
            if is_whole || new.archive.get(UNFINISHED).await?.is_none() {
                return Err(ArchiveError::Occupied(new.archive.place));
            }
            if run.began_at - at < ABANDONED_AFTER {
                return Err(ArchiveError::Recent { place: new.archive.place, at });
            }
            new.remove_objects().await?;
        }
        new.put_mark(run.began_at).await?;
        Ok(new)
    }

    /// Marks the prefix, unless another backup was first.
    async fn put_mark(&self, now: Timestamp) -> Result<(), ArchiveError> {
        let Archive { store, place, .. } = &self.archive;
        let path = self.archive.path(UNFINISHED);
        match store.put_opts(&path, self.mark.clone().into(), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                Err(ArchiveError::Recent { place: place.clone(), at: now })
            }
            Err(StoreError::NotImplemented { .. }) => {
                self.archive.put(UNFINISHED, self.mark.clone()).await
            }
            Err(cause) => Err(self.archive.failed(cause)),
        }
    }

    /// Whether the mark in the bucket is still that of this run.
    async fn is_ours(&self) -> Result<bool, ArchiveError> {
        Ok(self.archive.get(UNFINISHED).await?.is_some_and(|mark| mark == self.mark))
    }

    /// Returns the place to write to.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Completes the backup.
    ///
    /// # Errors
    /// Another backup has taken the place of this one in the bucket, or the target failed.
    pub async fn finish(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        if self.folder.is_none() && !self.is_ours().await? {
            return Err(ArchiveError::Replaced(self.archive.place.clone()));
        }
        self.archive.put_manifest(manifest).await?;
        match &self.folder {
            None => {
                let mark = self.archive.path(UNFINISHED);
                let deleted = self.archive.store.delete(&mark).await;
                deleted.map_err(|cause| self.archive.failed(cause))
            }
            Some((target, unfinished, _)) => rename(target, unfinished)
                .map_err(|cause| ArchiveError::failed(&self.archive.place, cause)),
        }
    }

    /// Removes what was written. Leaves the objects of another backup that has taken its place.
    ///
    /// # Errors
    /// The target failed.
    pub async fn abandon(self) -> Result<(), ArchiveError> {
        match &self.folder {
            None if self.is_ours().await? => self.remove_objects().await,
            None => Ok(()),
            Some((_, unfinished, _)) => fs::remove_dir_all(unfinished)
                .map_err(|cause| ArchiveError::failed(&self.archive.place, cause)),
        }
    }

    async fn remove_objects(&self) -> Result<(), ArchiveError> {
        let store = &self.archive.store;
        let paths = store.list(Some(&self.archive.root)).map_ok(|object| object.location).boxed();
        let deleted = store.delete_stream(paths).try_for_each(async |_| Ok(())).await;
        deleted.map_err(|cause| self.archive.failed(cause))
    }
}

/// Removes everything from an unfinished folder but the lock.
fn clear(unfinished: &FilePath) -> io::Result<()> {
    for entry in fs::read_dir(unfinished)? {
        let entry = entry?;
        if entry.file_name() == UNFINISHED {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Checks that an empty target, if it exists, can be replaced by the finished backup.
fn require_replaceable(target: &FilePath, place: &str) -> Result<(), ArchiveError> {
    match fs::remove_dir(target) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause)
            if matches!(
                cause.kind(),
                io::ErrorKind::ResourceBusy
                    | io::ErrorKind::CrossesDevices
                    | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(ArchiveError::Irreplaceable(place.to_owned()))
        }
        removed => {
            // Created again: its owner expects it if the backup fails.
            let tried = removed.and_then(|()| fs::create_dir(target));
            tried.map_err(|cause| ArchiveError::failed(place, cause))
        }
    }
}

/// Gives a whole backup its name.
fn rename(target: &FilePath, unfinished: &FilePath) -> io::Result<()> {
    fs::remove_file(unfinished.join(UNFINISHED))?;
    // Replaces an empty folder.
    fs::rename(unfinished, target)?;
    match target.parent() {
        Some(parent) => LockFile::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
