//! Where the bytes of attachments are kept: a folder, or a bucket of S3. What is there is
//! known to the database; this only keeps bytes under an id.

use std::{fmt, io, ops::Range, path::PathBuf, sync::Arc};

use axum::body::Bytes;
use futures_util::stream::BoxStream;
use object_store::{
    GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path,
};
use tokio::fs;

use crate::domain::ids::AttachmentId;

/// Bytes are passed on in parts of this size: the least that S3 takes.
const PART: usize = 5 * 1024 * 1024;

/// Bytes can't be kept or read. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The store failed.
    #[error("the storage of attachments failed: {0}")]
    Store(#[from] object_store::Error),
    /// The folder can't be used.
    #[error("the storage folder failed: {0}")]
    Folder(#[from] io::Error),
    /// The folder's name can't be used.
    #[error("the storage folder can't be named: {0}")]
    Name(#[from] object_store::path::Error),
}

/// A bucket of S3, or of what speaks like it.
pub struct S3Settings {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The server's URL; Amazon's by default.
    pub endpoint: Option<String>,
    /// Whom requests are signed as.
    pub access_key: String,
    /// What they are signed with.
    pub secret_key: String,
}

/// The store.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
}

impl Storage {
    /// A folder, made when something is first kept.
    ///
    /// # Errors
    /// The present folder is not known.
    pub fn in_folder(folder: &std::path::Path) -> Result<Self, StorageError> {
        let store = LocalFileSystem::new().with_fsync(true);
        Ok(Self { store: Arc::new(store), folder: Some(std::path::absolute(folder)?) })
    }

    /// A bucket.
    ///
    /// # Errors
    /// Settings that can't be used.
    pub fn in_s3(settings: S3Settings) -> Result<Self, StorageError> {
        // Another part of the process may have installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(settings.bucket)
            .with_region(settings.region)
            .with_access_key_id(settings.access_key)
            .with_secret_access_key(settings.secret_key);
        if let Some(endpoint) = settings.endpoint {
            builder = builder.with_allow_http(endpoint.starts_with("http://"));
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Self { store: Arc::new(builder.build()?), folder: None })
    }

    /// Begins to keep bytes under an id: they are there when they are whole.
    ///
    /// # Errors
    /// The store failed.
    pub async fn begin(&self, id: AttachmentId) -> Result<UploadWriter, StorageError> {
        let upload = self.store.put_multipart(&self.place(id)?).await?;
        Ok(UploadWriter { upload, part: Vec::new() })
    }

    /// A range of what is kept under an id.
    ///
    /// # Errors
    /// The store failed; nothing is kept there.
    pub async fn read(
        &self,
        id: AttachmentId,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, object_store::Result<Bytes>>, StorageError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        Ok(self.store.get_opts(&self.place(id)?, options).await?.into_stream())
    }

    /// Deletes what is kept under an id, if anything is.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, id: AttachmentId) -> Result<(), StorageError> {
        let deleted = match &self.folder {
            // With what a crash in the middle of writing has left.
            Some(folder) => match fs::remove_dir_all(folder.join(id.0.to_string())).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => Ok(()),
            },
            None => self.store.delete(&self.place(id)?).await,
        };
        match deleted {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sees whether bytes can be kept, read and deleted, under an id that is free.
    ///
    /// # Errors
    /// They can't.
    pub async fn check(&self, id: AttachmentId) -> Result<(), StorageError> {
        let mut writing = self.begin(id).await?;
        writing.write(Bytes::from_static(b"ticketwire")).await?;
        writing.finish().await?;
        self.delete(id).await
    }

    /// Each has a folder of its own: half a file of a crash is beside the place of the whole.
    fn place(&self, id: AttachmentId) -> Result<Path, StorageError> {
        Ok(match &self.folder {
            Some(folder) => {
                Path::from_absolute_path(folder.join(id.0.to_string()).join("content"))?
            }
            None => Path::from(format!("attachments/{}", id.0)),
        })
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.folder.is_some() { "Storage(folder)" } else { "Storage(S3)" })
    }
}

/// Bytes on their way.
pub struct UploadWriter {
    upload: Box<dyn MultipartUpload>,
    part: Vec<u8>,
}

impl UploadWriter {
    /// Passes on more bytes.
    ///
    /// # Errors
    /// The store failed.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let taken = bytes.split_to(bytes.len().min(PART - self.part.len()));
            self.part.extend_from_slice(&taken);
            if self.part.len() == PART {
                self.pass_on().await?;
            }
        }
        Ok(())
    }

    /// Makes the whole appear.
    ///
    /// # Errors
    /// The store failed.
    pub async fn finish(mut self) -> Result<(), StorageError> {
        self.pass_on().await?;
        self.upload.complete().await?;
        Ok(())
    }

    /// Forgets what was passed on.
    ///
    /// # Errors
    /// The store failed.
    pub async fn abandon(mut self) -> Result<(), StorageError> {
        Ok(self.upload.abort().await?)
    }

    async fn pass_on(&mut self) -> Result<(), StorageError> {
        let part = std::mem::take(&mut self.part);
        if !part.is_empty() {
            self.upload.put_part(PutPayload::from(part)).await?;
        }
        Ok(())
    }
}
