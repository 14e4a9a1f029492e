//! Writes the objects of a backup, with their sizes and checksums.

use std::io::Write as _;

use axum::body::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

use super::{error::ArchiveError, ownership::Ownership};
use crate::{
    domain::{backup::Part, hex::hex},
    storage::UploadWriter,
};

/// The level of compression. Higher ones take several times longer and save a tenth.
const LEVEL: u32 = 3;

/// Writes a part: lines, which it counts and compresses.
pub struct PartWriter {
    name: String,
    encoder: GzEncoder<Vec<u8>>,
    rows: u64,
    object: ObjectWriter,
}

impl PartWriter {
    /// Starts to write a part.
    pub(super) fn new(name: &str, object: ObjectWriter) -> Self {
        let encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
        Self { name: name.to_owned(), encoder, rows: 0, object }
    }

    /// Writes bytes at the end.
    ///
    /// # Errors
    /// The target failed.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.rows += count_lines(bytes);
        let encoded = self.encoder.write_all(bytes);
        encoded.map_err(|cause| ArchiveError::failed(&self.object.place, cause))?;
        let compressed = std::mem::take(self.encoder.get_mut());
        self.object.write(compressed.into()).await
    }

    /// Discards what was written.
    ///
    /// # Errors
    /// The target failed.
    pub async fn abandon(self) -> Result<(), ArchiveError> {
        self.object.abandon().await
    }

    /// Completes the part and describes it.
    ///
    /// # Errors
    /// The target failed.
    pub async fn finish(mut self) -> Result<Part, ArchiveError> {
        let rest = self.encoder.finish();
        let rest = rest.map_err(|cause| ArchiveError::failed(&self.object.place, cause))?;
        self.object.write(rest.into()).await?;
        let (bytes, sha256) = self.object.finish().await?;
        Ok(Part { name: self.name, bytes, rows: self.rows, sha256 })
    }
}

/// Writes an object as it is.
pub struct ObjectWriter {
    place: String,
    upload: UploadWriter,
    ownership: Ownership,
    bytes: u64,
    hasher: Sha256,
}

impl ObjectWriter {
    /// Starts to write an object. `place` is for messages.
    pub(super) fn new(place: &str, upload: UploadWriter, ownership: Ownership) -> Self {
        Self { place: place.to_owned(), upload, ownership, bytes: 0, hasher: Sha256::new() }
    }

    /// Writes bytes at the end.
    ///
    /// # Errors
    /// The target failed.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ArchiveError> {
        self.bytes += bytes.len() as u64;
        self.hasher.update(&bytes);
        let written = self.upload.write(bytes).await;
        written.map_err(|cause| ArchiveError::not_written(&self.place, cause))
    }

    /// Completes the object. Returns its size in bytes and its SHA-256 in hexadecimal digits.
    ///
    /// # Errors
    /// The target failed.
    pub async fn finish(self) -> Result<(u64, String), ArchiveError> {
        // The object of this name may be that of another run.
        if let Err(replaced) = self.ownership.require(&self.place) {
            return self.abandon().await.and(Err(replaced));
        }
        let finished = self.upload.finish().await;
        finished.map_err(|cause| ArchiveError::not_written(&self.place, cause))?;
        Ok((self.bytes, hex(&self.hasher.finalize())))
    }

    /// Completes the object if it has this size and SHA-256, or else discards it. Returns whether it
    /// is complete.
    ///
    /// # Errors
    /// The target failed.
    pub async fn finish_as(self, bytes: u64, sha256: &str) -> Result<bool, ArchiveError> {
        if self.bytes != bytes || hex(&self.hasher.clone().finalize()) != sha256 {
            return self.abandon().await.map(|()| false);
        }
        self.finish().await.map(|_| true)
    }

    /// Discards what was written.
    ///
    /// # Errors
    /// The target failed.
    pub async fn abandon(self) -> Result<(), ArchiveError> {
        let abandoned = self.upload.abandon().await;
        abandoned.map_err(|cause| ArchiveError::not_written(&self.place, cause))
    }
}

/// Returns the number of line ends.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').skip(1).count() as u64
}
