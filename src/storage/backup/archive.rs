//! The objects of a backup, wherever they are.

use std::{fs, io, path::Path as FilePath, sync::Arc};

use axum::body::Bytes;
use futures_util::{TryStreamExt as _, stream::BoxStream};
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path,
};
use sha2::{Digest as _, Sha256};

use super::{
    error::ArchiveError,
    layout::{CHECKSUM, MANIFEST, below},
    ownership::Ownership,
    reader::{IndexReader, LineReader, ObjectReader, PartReader},
    tar_file::TarFile,
    writer::{ObjectWriter, PartWriter},
};
use crate::{
    domain::{
        backup::{FORMAT, File, Manifest, Part},
        hex::hex,
    },
    storage::{
        BUCKET_PART, FOLDER_PART, Patience, S3Settings, UploadWriter, absolute, error::is_absent,
        s3_store,
    },
};

/// The largest manifest that is read, in bytes. It names the tables and the attachments that are
/// absent.
const MAX_MANIFEST: usize = 64 * 1024 * 1024;
/// The largest file with its checksum that is read, in bytes.
const MAX_CHECKSUM: usize = 1024;

/// The place of a backup.
pub struct Archive {
    pub(super) objects: Objects,
    /// For messages.
    pub(super) place: String,
    pub(super) part_size: usize,
    pub(super) ownership: Ownership,
}

/// Where the objects of a backup are.
pub(super) enum Objects {
    /// Below a path of a folder or a bucket.
    Below(Arc<dyn ObjectStore>, Path),
    /// In a tar archive.
    Within(TarFile),
}

/// The content of an object.
type ObjectStream = BoxStream<'static, object_store::Result<Bytes>>;

impl Archive {
    /// The backup in a folder.
    ///
    /// # Errors
    /// The path cannot be used.
    pub fn in_folder(folder: &FilePath) -> Result<Self, ArchiveError> {
        let place = folder.display().to_string();
        let absolute = absolute(folder).map_err(|cause| ArchiveError::failed(&place, cause))?;
        let root = Path::from_absolute_path(absolute)
            .map_err(|cause| ArchiveError::failed(&place, cause))?;
        let store = Arc::new(LocalFileSystem::new().with_fsync(true));
        Ok(Self::new(Objects::Below(store, root), place, FOLDER_PART))
    }

    /// The backup in a tar archive.
    ///
    /// # Errors
    /// The file cannot be read, or is something else.
    pub fn in_file(path: &FilePath) -> Result<Self, ArchiveError> {
        let place = path.display().to_string();
        let failed = |cause| ArchiveError::failed(&place, cause);
        let tar = TarFile::open(fs::File::open(path).map_err(failed)?);
        if !tar.is_archive().map_err(failed)? {
            return Err(match tar.compression().map_err(failed)? {
                Some(program) => ArchiveError::Compressed { place, program },
                None => ArchiveError::NotATar(place),
            });
        }
        let folders = tar.folders_of(MANIFEST);
        let mut folders =
            folders.map_err(|cause| ArchiveError::of_file(&place, cause))?.into_iter();
        let tar = tar.in_folder(folders.next().unwrap_or_default());
        if folders.next().is_some() {
            return Err(ArchiveError::Several(place));
        }
        Ok(Self::new(Objects::Within(tar), place, FOLDER_PART))
    }

    /// The backup under a prefix of a bucket. Does not connect to the server.
    ///
    /// # Errors
    /// The settings are invalid.
    pub fn in_bucket(settings: S3Settings, prefix: &str) -> Result<Self, ArchiveError> {
        let (store, place) = bucket(settings, prefix)?;
        Ok(Self::below(store, Path::from(prefix), place))
    }

    /// The backup below a path of a bucket.
    pub(super) fn below(store: Arc<dyn ObjectStore>, root: Path, place: String) -> Self {
        Self::new(Objects::Below(store, root), place, BUCKET_PART)
    }

    pub(super) fn new(objects: Objects, place: String, part_size: usize) -> Self {
        Self { objects, place, part_size, ownership: Ownership::default() }
    }

    /// Returns the folder, the file or the address in the bucket, for messages.
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
        self.ownership.require(&self.place)?;
        let upload = match &self.objects {
            Objects::Below(store, root) => store.put_multipart(&below(root, name)).await,
            Objects::Within(tar) => tar.write(name),
        };
        let upload = upload.map_err(|cause| self.failed(cause))?;
        let upload = UploadWriter::new(upload, self.part_size, Patience::Command);
        Ok(ObjectWriter::new(&self.place, upload, self.ownership.clone()))
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
        Ok(IndexReader::new(self.read_lines(index).await?))
    }

    /// Reads the lines of a part.
    ///
    /// # Errors
    /// The part is missing, or the source failed.
    pub async fn read_lines(&self, part: &Part) -> Result<LineReader, ArchiveError> {
        Ok(LineReader::new(self.read_part(part).await?))
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
        let stream = self.open(name).await?.ok_or_else(|| self.missing(name))?;
        Ok(ObjectReader::new(&self.place, name, stream, (bytes, sha256.to_owned())))
    }

    /// Reads and checks the manifest.
    ///
    /// # Errors
    /// There is no whole backup, a newer version has written it, or the manifest is damaged.
    pub async fn manifest(&self) -> Result<Manifest, ArchiveError> {
        let not_a_backup = || ArchiveError::NotABackup(self.place.clone());
        let bytes = self.get(MANIFEST, MAX_MANIFEST).await?.ok_or_else(not_a_backup)?;
        let checksum =
            self.get(CHECKSUM, MAX_CHECKSUM).await?.ok_or_else(|| self.missing(CHECKSUM))?;
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
    pub(super) async fn put_manifest(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        let json = serde_json::to_vec_pretty(manifest);
        let json = json.map_err(|cause| ArchiveError::failed(&self.place, cause))?;
        self.put(CHECKSUM, checksum_of(&json)).await?;
        self.put(MANIFEST, json).await
    }

    /// Ends a tar archive and stores it on the disk.
    pub(super) async fn end(&self) -> io::Result<()> {
        match &self.objects {
            Objects::Below(..) => Ok(()),
            Objects::Within(tar) => tar.finish().await,
        }
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        if let Objects::Below(store, root) = &self.objects {
            let put = store.put(&below(root, name), bytes.into()).await;
            return put.map(drop).map_err(|cause| self.failed(cause));
        }
        let mut object = self.write_object(name).await?;
        object.write(bytes.into()).await?;
        object.finish().await.map(drop)
    }

    /// Reads an object of at most `most` bytes. `None` if there is no such object.
    async fn get(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(mut stream) = self.open(name).await? else { return Ok(None) };
        let mut content = Vec::new();
        while let Some(bytes) = stream.try_next().await.map_err(|cause| self.failed(cause))? {
            content.extend_from_slice(&bytes);
            if content.len() > most {
                let reason = format!("it has more than {most} bytes");
                return Err(ArchiveError::damaged(&self.place, name, reason));
            }
        }
        Ok(Some(content))
    }

    /// Opens an object. `None` if there is no such object.
    async fn open(&self, name: &str) -> Result<Option<ObjectStream>, ArchiveError> {
        match &self.objects {
            Objects::Below(store, root) => match store.get(&below(root, name)).await {
                Ok(found) => Ok(Some(found.into_stream())),
                Err(cause) if is_absent(&cause) => Ok(None),
                Err(cause) => Err(self.failed(cause)),
            },
            Objects::Within(tar) => {
                tar.read(name).await.map_err(|cause| ArchiveError::of_file(&self.place, cause))
            }
        }
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

/// Returns a bucket, and its address for messages.
///
/// # Errors
/// The settings are invalid.
pub(super) fn bucket(
    settings: S3Settings,
    prefix: &str,
) -> Result<(Arc<dyn ObjectStore>, String), ArchiveError> {
    let place = format!("s3://{}/{prefix}", settings.bucket);
    match s3_store(settings, Patience::Command) {
        Ok(store) => Ok((store, place)),
        Err(cause) => Err(ArchiveError::failed(&place, cause)),
    }
}

/// Returns the line that `sha256sum` writes for the manifest.
fn checksum_of(manifest: &[u8]) -> Vec<u8> {
    format!("{}  {MANIFEST}\n", hex(&Sha256::digest(manifest))).into_bytes()
}
