//! Storage for the content of attachments, in a folder or an S3 bucket. It stores bytes under an
//! id. The database stores everything else about attachments.

pub mod backup;
mod error;
pub mod ledger;
mod owner;

use std::{
    fmt, io,
    ops::Range,
    path::{Component, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::body::Bytes;
use futures_util::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{
    ClientOptions, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutMode,
    PutPayload, RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem, path::Path,
};
use rustix::{fs::Access, io::Errno};
use tokio::{fs, time};
use uuid::Uuid;

pub use self::error::StorageError;
use self::error::is_absent;
use crate::domain::{attachment::OwnStorage, ids::AttachmentId};

/// The size of the parts of an upload to a bucket: the minimum that S3 accepts. An upload keeps one
/// part in memory.
const BUCKET_PART: usize = 5 * 1024 * 1024;
/// The size of the parts of an upload to a folder.
const FOLDER_PART: usize = 256 * 1024;
/// How many bytes uploads leave free on the disk of a folder, which Postgres may share.
const RESERVE: u64 = 1 << 30;
/// The part of a small disk that they leave free instead, if that is less: 5 %.
const RESERVED_PART: u64 = 20;
/// How long a connection to a bucket may be silent, also because nobody reads what it sends.
const READ_TIMEOUT: Duration = Duration::from_mins(5);
/// The name of the file with the bytes that are stored under an id.
const CONTENT: &str = "content";
/// The name of the folder or object with the id of the storage.
const IDENTITY: &str = "storage-id";

/// The settings of a bucket on S3 or a compatible server.
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's region.
    pub region: String,
    /// The server's URL, or `None` for Amazon S3.
    pub endpoint: Option<String>,
    /// The access key id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
}

/// Returns the absolute path of a folder or file that need not exist. Without `..`, which the store
/// of files refuses.
fn absolute(path: &std::path::Path) -> io::Result<PathBuf> {
    let mut absolute = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        if part == Component::ParentDir {
            // The parent of what a link points to, as for the system.
            absolute = std::fs::canonicalize(&absolute).unwrap_or(absolute);
            absolute.pop();
        } else {
            absolute.push(part);
        }
    }
    Ok(absolute)
}

/// The number of the bytes that are stored under an id, and a stream of them.
pub type StoredBytes = (u64, BoxStream<'static, object_store::Result<Bytes>>);

/// The storage for the content of attachments.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// The folder, or `None` for a bucket.
    folder: Option<PathBuf>,
    patience: Patience,
}

impl Storage {
    /// Creates a storage in a folder. The folder is created when a file is first stored.
    ///
    /// # Errors
    /// The path is relative and the working directory cannot be determined.
    pub fn in_folder(folder: &std::path::Path) -> Result<Self, StorageError> {
        let store = LocalFileSystem::new().with_fsync(true);
        let folder = absolute(folder).map_err(failed_at(folder))?;
        Ok(Self { store: Arc::new(store), folder: Some(folder), patience: Patience::Unlimited })
    }

    /// Creates a storage in a bucket. Does not connect to the server.
    ///
    /// # Errors
    /// The settings are invalid.
    pub fn in_s3(settings: S3Settings, patience: Patience) -> Result<Self, StorageError> {
        Ok(Self { store: s3_store(settings, patience)?, folder: None, patience })
    }

    /// Waits for an answer of the store.
    async fn answered<T>(
        &self,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        in_time(self.patience.for_answer(), call).await
    }

    /// Checks that a folder has room for an upload. A bucket always has, and so has a disk of which the
    /// system says nothing.
    ///
    /// # Errors
    /// Returns [`StorageError::Full`] if less than 1 GiB is free on the disk, or less than 5 % if that is
    /// less.
    pub async fn require_room(&self) -> Result<(), StorageError> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let disk = tokio::task::spawn_blocking(move || Disk::of(&folder)).await;
        disk.ok().flatten().map_or(Ok(()), Disk::require_room)
    }

    /// Starts to store bytes under an id. They become visible when the writer finishes.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn begin(&self, id: AttachmentId) -> Result<UploadWriter, StorageError> {
        let path = self.path(id)?;
        let upload = self.answered(self.store.put_multipart(&path)).await?;
        let part_size = if self.folder.is_some() { FOLDER_PART } else { BUCKET_PART };
        Ok(UploadWriter::new(upload, part_size, self.patience))
    }

    /// Prepares a folder for files that a command stores, which root may run.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn create_folder(&self) -> Result<(), StorageError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        owner::create_folders(folder).map_err(failed_at(folder))
    }

    /// Gives what a command has stored under an id to the owner of the folder, if root has run it.
    ///
    /// # Errors
    /// The owner cannot be changed.
    pub fn give_to_owner(&self, id: AttachmentId) -> Result<(), StorageError> {
        let Some(folder) = self.folder.as_ref().map(|folder| folder.join(id.0.to_string())) else {
            return Ok(());
        };
        inherit(&folder)?;
        inherit(&folder.join(CONTENT))
    }

    /// Reads a range of the bytes stored under an id.
    ///
    /// # Errors
    /// The storage failed, or nothing is stored under the id.
    pub async fn read(
        &self,
        id: AttachmentId,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, object_store::Result<Bytes>>, StorageError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let path = self.path(id)?;
        let found = self.answered(self.store.get_opts(&path, options)).await?;
        Ok(limited(self.patience.for_answer(), found.into_stream()))
    }

    /// Opens the bytes stored under an id: their number and a stream of them. `None` if nothing is
    /// stored.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn open(&self, id: AttachmentId) -> Result<Option<StoredBytes>, StorageError> {
        match self.answered(self.store.get(&self.path(id)?)).await {
            Ok(found) => {
                let size = found.meta.size;
                Ok(Some((size, limited(self.patience.for_answer(), found.into_stream()))))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns how many bytes are stored under an id, or `None` if nothing is.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn size(&self, id: AttachmentId) -> Result<Option<u64>, StorageError> {
        match self.answered(self.store.head(&self.path(id)?)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the bytes stored under an id, if any.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn delete(&self, id: AttachmentId) -> Result<(), StorageError> {
        let deleted = match &self.folder {
            // This includes the partial file of a crash during an upload.
            Some(folder) => {
                let folder = folder.join(id.0.to_string());
                match fs::remove_dir_all(&folder).await {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed_at(&folder)(error));
                    }
                    _ => Ok(()),
                }
            }
            None => self.answered(self.store.delete(&self.path(id)?)).await,
        };
        match deleted {
            Err(error) if !is_absent(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Checks that bytes can be written, read and deleted, under an id that is not in use. Leaves
    /// nothing, not even a folder that did not exist.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn check(&self, id: AttachmentId) -> Result<(), StorageError> {
        let absent = self.folder.iter().flat_map(|folder| folder.ancestors());
        let absent = absent.take_while(|folder| !folder.exists()).collect::<Vec<_>>();
        let checked = self.probe(id).await;
        for folder in absent {
            // It is not empty if a server has begun to use it.
            let _ = fs::remove_dir(folder).await;
        }
        checked
    }

    async fn probe(&self, id: AttachmentId) -> Result<(), StorageError> {
        const PROBE: &[u8] = b"ticketwire";
        let mut writer = self.begin(id).await?;
        writer.write(Bytes::from_static(PROBE)).await?;
        writer.finish().await?;
        let path = self.path(id)?;
        let read = self.answered(async { self.store.get(&path).await?.bytes().await }).await?;
        self.delete(id).await?;
        if read == PROBE {
            Ok(())
        } else {
            Err(StorageError::Content("what is read is not what was written"))
        }
    }

    /// Returns the id of the storage, by which nodes recognise that they share it. If it has none
    /// yet, it gets `new`.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn identity(&self, new: Uuid) -> Result<Uuid, StorageError> {
        match &self.folder {
            Some(folder) => folder_identity(&folder.join(IDENTITY), new).await,
            None => self.bucket_identity(new).await,
        }
    }

    /// Returns the id of the storage, or `None` if it has none, because no server has used it yet.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn known_identity(&self) -> Result<Option<Uuid>, StorageError> {
        Ok(self.identities().await?.into_iter().min())
    }

    async fn identities(&self) -> Result<Vec<Uuid>, StorageError> {
        if let Some(folder) = &self.folder {
            return ids(&folder.join(IDENTITY)).await;
        }
        match self.stored_identity().await {
            Err(error) if is_absent(&error) => Ok(vec![]),
            found => parse_identity(&found?).map(|id| vec![id]),
        }
    }

    /// Checks that the storage is that of the installation. Another one may be the folder of a disk that
    /// is not mounted.
    ///
    /// # Errors
    /// The storage failed, or is not that of the installation.
    pub async fn require(&self, expected: &OwnStorage) -> Result<(), StorageError> {
        match expected {
            OwnStorage::Id(id) => self.require_identity(*id).await,
            OwnStorage::Holding(files) => {
                for file in files {
                    if self.size(*file).await?.is_some() {
                        return Ok(());
                    }
                }
                if files.is_empty() { Ok(()) } else { Err(StorageError::Empty(files.len())) }
            }
        }
    }

    /// Gives the id that a command has given the storage to the owner of the folder, if root has run it.
    ///
    /// # Errors
    /// The owner cannot be changed.
    pub fn give_identity_to_owner(&self, id: Uuid) -> Result<(), StorageError> {
        let Some(folder) = self.folder.as_ref().map(|folder| folder.join(IDENTITY)) else {
            return Ok(());
        };
        inherit(&folder)?;
        inherit(&folder.join(id.to_string()))
    }

    /// Checks that the storage has this id: the folder of a disk that is not mounted has none.
    ///
    /// # Errors
    /// The storage failed, or has another id or none.
    pub async fn require_identity(&self, expected: Uuid) -> Result<(), StorageError> {
        let found = self.identities().await?;
        if found.contains(&expected) {
            return Ok(());
        }
        Err(StorageError::Foreign { expected, found: found.into_iter().min() })
    }

    async fn stored_identity(&self) -> object_store::Result<Bytes> {
        let path = Path::from(IDENTITY);
        self.answered(async { self.store.get(&path).await?.bytes().await }).await
    }

    async fn bucket_identity(&self, new: Uuid) -> Result<Uuid, StorageError> {
        let path = Path::from(IDENTITY);
        match self.stored_identity().await {
            Err(error) if is_absent(&error) => {}
            found => return parse_identity(&found?),
        }
        let payload = || PutPayload::from(new.to_string());
        let create = self.store.put_opts(&path, payload(), PutMode::Create.into());
        match self.answered(create).await {
            Ok(_) => Ok(new),
            // Another node was first.
            Err(object_store::Error::AlreadyExists { .. }) => {
                parse_identity(&self.stored_identity().await?)
            }
            Err(object_store::Error::NotImplemented { .. }) => {
                self.answered(self.store.put(&path, payload())).await?;
                Ok(new)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the folder, or `None` for a bucket.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    /// Returns the path for an id. In a folder, each id has a subfolder, which also holds the
    /// partial file of an unfinished upload.
    fn path(&self, id: AttachmentId) -> Result<Path, StorageError> {
        Ok(match &self.folder {
            Some(folder) => Path::from_absolute_path(folder.join(id.0.to_string()).join(CONTENT))?,
            None => Path::from(format!("attachments/{}", id.0)),
        })
    }
}

/// Returns how many bytes are free on the disk of a folder or of its nearest parent that exists, or
/// `None` if the system does not say, as of a folder whose server does not answer.
pub fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    Disk::of(folder).map(|disk| disk.free)
}

/// The disk of a folder.
#[derive(Clone, Copy)]
struct Disk {
    /// Its free bytes.
    free: u64,
    /// Its size in bytes.
    size: u64,
}

impl Disk {
    /// Returns the disk of a folder or of its nearest parent that exists, if the system says.
    fn of(folder: &std::path::Path) -> Option<Self> {
        // A relative path that does not exist has no parent that does.
        let folder = std::path::absolute(folder).ok()?;
        let mut asked = folder.ancestors().map(rustix::fs::statvfs);
        let missing = |error: &Errno| matches!(*error, Errno::NOENT | Errno::NOTDIR);
        let is_found = |disk: &Result<_, Errno>| disk.as_ref().err().is_none_or(|e| !missing(e));
        let disk = asked.find(is_found)?.ok()?;
        Some(Self {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            size: disk.f_blocks.saturating_mul(disk.f_frsize),
        })
    }

    fn require_room(self) -> Result<(), StorageError> {
        let Self { free, size } = self;
        let reserve = RESERVE.min(size / RESERVED_PART);
        if free < reserve { Err(StorageError::Full { free, reserve }) } else { Ok(()) }
    }
}

/// Checks that this process may write to a folder, or create it.
///
/// # Errors
/// The folder, or the nearest one above it that exists, with the reason.
pub fn check_writable(folder: &std::path::Path) -> Result<(), (PathBuf, io::Error)> {
    let failed = |folder: &std::path::Path, error| Err((folder.to_owned(), error));
    let absolute = match std::path::absolute(folder) {
        Ok(absolute) => absolute,
        Err(error) => return failed(folder, error),
    };
    for existing in absolute.ancestors() {
        match rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK) {
            Err(Errno::NOENT) => {}
            Err(error) => return failed(existing, error.into()),
            Ok(()) => break,
        }
    }
    Ok(())
}

/// Returns the id of a folder: the name of an empty folder in it, so that it contains no files but
/// those of attachments. If two nodes create one at the same time, the smaller name counts.
async fn folder_identity(folder: &std::path::Path, new: Uuid) -> Result<Uuid, StorageError> {
    if let Some(id) = ids(folder).await?.into_iter().min() {
        return Ok(id);
    }
    let new_folder = folder.join(new.to_string());
    fs::create_dir_all(&new_folder).await.map_err(failed_at(&new_folder))?;
    Ok(ids(folder).await?.into_iter().min().unwrap_or(new))
}

/// Returns the ids in the folder. There are several if nodes gave it one at the same time.
async fn ids(folder: &std::path::Path) -> Result<Vec<Uuid>, StorageError> {
    let mut entries = match fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(failed_at(folder)(error)),
    };
    let mut ids = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(failed_at(folder))? {
        ids.extend(entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok()));
    }
    Ok(ids)
}

fn parse_identity(bytes: &[u8]) -> Result<Uuid, StorageError> {
    Uuid::try_parse_ascii(bytes.trim_ascii()).map_err(|_| {
        StorageError::Content("`storage-id` contains no UUID; delete it if it is damaged")
    })
}

/// Returns what makes an error of one of the system, at a path.
fn failed_at(path: &std::path::Path) -> impl Fn(io::Error) -> StorageError {
    move |source| StorageError::Folder { path: path.to_owned(), source }
}

/// Gives a file or folder to the owner of the folder that it is in, if root has created it.
fn inherit(path: &std::path::Path) -> Result<(), StorageError> {
    owner::inherit(path).map_err(failed_at(path))
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.folder.is_some() { "Storage(folder)" } else { "Storage(S3)" })
    }
}

/// How long the user of a storage waits for it.
#[derive(Clone, Copy)]
pub enum Patience {
    /// Somebody waits for the answer: 20 seconds for an answer or the next bytes, and a minute for a part
    /// of an upload to be stored.
    Request,
    /// A command works for hours, and would have to begin again: minutes.
    Command,
    /// As long as it takes: a folder.
    Unlimited,
}

impl Patience {
    fn retries(self) -> RetryConfig {
        match self {
            Self::Request => RetryConfig { max_retries: 5, ..RetryConfig::default() },
            Self::Command | Self::Unlimited => RetryConfig::default(),
        }
    }

    fn for_answer(self) -> Duration {
        match self {
            Self::Request => Duration::from_secs(20),
            Self::Command | Self::Unlimited => Duration::MAX,
        }
    }

    fn for_part(self) -> Duration {
        match self {
            Self::Request => Duration::from_mins(1),
            Self::Command | Self::Unlimited => Duration::MAX,
        }
    }
}

/// Limits how long a reader waits for the next bytes. Time in which nobody reads does not count.
fn limited(
    limit: Duration,
    bytes: BoxStream<'static, object_store::Result<Bytes>>,
) -> BoxStream<'static, object_store::Result<Bytes>> {
    stream::unfold(bytes, move |mut bytes| async move {
        let next = in_time(limit, bytes.next().map(Ok)).await;
        next.unwrap_or_else(|silent| Some(Err(silent))).map(|next| (next, bytes))
    })
    .boxed()
}

/// Ends a call of a store that takes longer than a limit.
async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    let silent =
        |_| object_store::Error::Generic { store: "S3", source: "no answer in time".into() };
    time::timeout(limit, call).await.map_err(silent)?
}

/// Builds the client of a bucket. Does not connect to the server.
fn s3_store(
    settings: S3Settings,
    patience: Patience,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    // This fails if another part of the process has installed a provider, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(settings.bucket)
        .with_region(settings.region)
        .with_access_key_id(settings.access_key)
        .with_secret_access_key(settings.secret_key)
        .with_retry(patience.retries())
        // A large file may take any time. Who waits for its bytes limits that (`Patience`).
        .with_client_options(
            ClientOptions::new().with_timeout_disabled().with_read_timeout(READ_TIMEOUT),
        );
    if let Some(endpoint) = settings.endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_endpoint(endpoint);
    }
    Ok(Arc::new(builder.build()?))
}

/// Writes the bytes of one upload. They become visible when it finishes.
pub struct UploadWriter {
    upload: Box<dyn MultipartUpload>,
    part: Vec<u8>,
    part_size: usize,
    patience: Patience,
}

impl UploadWriter {
    /// Starts to write an upload in parts of this size, in bytes.
    fn new(upload: Box<dyn MultipartUpload>, part_size: usize, patience: Patience) -> Self {
        Self { upload, part: Vec::new(), part_size, patience }
    }

    /// Writes bytes at the end.
    ///
    /// # Errors
    /// The storage failed. The upload is cancelled then.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let next = bytes.split_to(bytes.len().min(self.part_size - self.part.len()));
            self.part.extend_from_slice(&next);
            if self.part.len() == self.part_size {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Completes the upload and makes the bytes visible.
    ///
    /// # Errors
    /// The storage failed. The upload is cancelled then.
    pub async fn finish(mut self) -> Result<(), StorageError> {
        self.flush().await?;
        match in_time(self.patience.for_part(), self.upload.complete()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.discard(error).await),
        }
    }

    /// Cancels the upload and discards its bytes.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn abandon(mut self) -> Result<(), StorageError> {
        Ok(in_time(self.patience.for_answer(), self.upload.abort()).await?)
    }

    async fn flush(&mut self) -> Result<(), StorageError> {
        let part = std::mem::take(&mut self.part);
        if !part.is_empty() {
            let put = self.upload.put_part(PutPayload::from(part));
            if let Err(error) = in_time(self.patience.for_part(), put).await {
                return Err(self.discard(error).await);
            }
        }
        Ok(())
    }

    /// Cancels an upload that has failed: a bucket would keep its parts, which nobody sees.
    async fn discard(&mut self, failure: object_store::Error) -> StorageError {
        if let Err(error) = in_time(self.patience.for_answer(), self.upload.abort()).await {
            tracing::debug!(%error, "cancelling a failed upload failed");
        }
        failure.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_time_in_which_bytes_are_waited_for_is_limited() {
        let limit = Duration::from_millis(20);
        let chunks = stream::iter([Ok(Bytes::from_static(b"a")), Ok(Bytes::from_static(b"b"))]);
        let mut bytes = limited(limit, chunks.chain(stream::pending()).boxed());
        assert_eq!(bytes.next().await.unwrap().unwrap(), "a");
        // A client that does not read.
        time::sleep(limit * 3).await;
        assert_eq!(bytes.next().await.unwrap().unwrap(), "b");
        assert!(bytes.next().await.unwrap().is_err());
    }

    #[test]
    fn uploads_leave_a_gibibyte_or_the_twentieth_part_of_a_small_disk() {
        let refused = |free, size| Disk { free, size }.require_room().is_err();
        for (free, size, is_refused) in [
            (1 << 30, 1 << 40, false),
            ((1 << 30) - 1, 1 << 40, true),
            (5 << 20, 100 << 20, false),
            ((5 << 20) - 1, 100 << 20, true),
            // A file system that does not say how large it is.
            (0, 0, false),
        ] {
            assert_eq!(refused(free, size), is_refused, "{free} of {size}");
        }
    }
}
