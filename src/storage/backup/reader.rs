//! Reads the objects of a backup, and checks their sizes and checksums.

use std::io::Write as _;

use axum::body::Bytes;
use flate2::write::GzDecoder;
use futures_util::{
    StreamExt as _,
    stream::{BoxStream, Fuse},
};
use sha2::{Digest as _, Sha256};

use super::{error::ArchiveError, writer::count_lines};
use crate::domain::{
    backup::{File, Part},
    hex::hex,
};

/// The most that is decompressed at once, in compressed bytes.
const CHUNK: usize = 1024;
/// The longest line that is read, in bytes. Those of an index and of ids are much shorter.
const MAX_LINE: usize = 1024 * 1024;

/// Reads an object as it is stored. Its size and checksum are checked at its end.
pub struct ObjectReader {
    place: String,
    name: String,
    stream: Fuse<BoxStream<'static, object_store::Result<Bytes>>>,
    bytes: u64,
    hasher: Sha256,
    /// The expected size and SHA-256.
    expected: (u64, String),
}

impl ObjectReader {
    /// Reads the stream of an object. `place` is for messages.
    pub(super) fn new(
        place: &str,
        name: &str,
        stream: BoxStream<'static, object_store::Result<Bytes>>,
        expected: (u64, String),
    ) -> Self {
        let (place, name) = (place.to_owned(), name.to_owned());
        let stream = stream.fuse();
        Self { place, name, stream, bytes: 0, hasher: Sha256::new(), expected }
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// The source failed, or the object is not what was written.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        match self.stream.next().await {
            Some(Ok(bytes)) => {
                self.bytes += bytes.len() as u64;
                self.hasher.update(&bytes);
                Ok(Some(bytes))
            }
            Some(Err(cause)) => Err(ArchiveError::failed(&self.place, cause)),
            None => self.check().map(|()| None),
        }
    }

    fn check(&self) -> Result<(), ArchiveError> {
        let (bytes, sha256) = &self.expected;
        if self.bytes != *bytes {
            let reason = format!("it has {} bytes instead of {bytes}", self.bytes);
            return Err(ArchiveError::damaged(&self.place, &self.name, reason));
        }
        if hex(&self.hasher.clone().finalize()) != *sha256 {
            let reason = "its checksum does not match";
            return Err(ArchiveError::damaged(&self.place, &self.name, reason));
        }
        Ok(())
    }
}

/// Reads a part: decompresses its lines and counts them.
pub struct PartReader {
    object: ObjectReader,
    decoder: GzDecoder<Vec<u8>>,
    /// What is not decompressed yet.
    input: Bytes,
    rows: u64,
    expected_rows: u64,
}

impl PartReader {
    /// Reads a part from its stored object.
    pub(super) fn new(part: &Part, object: ObjectReader) -> Self {
        let (decoder, input) = (GzDecoder::new(Vec::new()), Bytes::new());
        Self { object, decoder, input, rows: 0, expected_rows: part.rows }
    }

    /// Returns the next bytes, or `None` at the end. They are about a megabyte at most.
    ///
    /// # Errors
    /// The source failed, or the part is not what was written.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        loop {
            if self.input.is_empty() {
                match self.object.next().await? {
                    Some(bytes) => self.input = bytes,
                    None => return self.finish(),
                }
            }
            let decoded = self.decode()?;
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
        }
    }

    /// Decompresses the next input. A little of it can become a thousand times as much.
    fn decode(&mut self) -> Result<Bytes, ArchiveError> {
        let mut next = self.input.split_to(self.input.len().min(CHUNK));
        while !next.is_empty() {
            match self.decoder.write(&next) {
                Ok(0) => return Err(self.damaged("it continues after its end".into())),
                Ok(count) => drop(next.split_to(count)),
                Err(error) => return Err(self.damaged(error.to_string())),
            }
        }
        Ok(self.decoded())
    }

    /// Returns what was decompressed, and counts its lines.
    fn decoded(&mut self) -> Bytes {
        let decoded = std::mem::take(self.decoder.get_mut());
        self.rows += count_lines(&decoded);
        decoded.into()
    }

    /// Returns the rest, then `None` if the part is whole.
    fn finish(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        self.decoder.try_finish().map_err(|error| self.damaged(error.to_string()))?;
        let rest = self.decoded();
        if !rest.is_empty() {
            return Ok(Some(rest));
        }
        if self.rows != self.expected_rows {
            let (rows, expected) = (self.rows, self.expected_rows);
            return Err(self.damaged(format!("it has {rows} rows instead of {expected}")));
        }
        Ok(None)
    }

    fn damaged(&self, reason: String) -> ArchiveError {
        ArchiveError::damaged(&self.object.place, &self.object.name, reason)
    }
}

/// Reads the lines of a part.
pub struct LineReader {
    part: PartReader,
    buffer: Vec<u8>,
}

impl LineReader {
    /// Reads lines from their part.
    pub(super) fn new(part: PartReader) -> Self {
        Self { part, buffer: Vec::new() }
    }

    /// Returns the next line without its end, or `None` after the last one.
    ///
    /// # Errors
    /// The source failed, the part is not what was written, or a line has more than a mebibyte.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.drain(..=end).collect::<Vec<_>>();
                line.truncate(end);
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(self.part.damaged(format!("a line has more than {MAX_LINE} bytes")));
            }
            match self.part.next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.part.damaged("its last line is incomplete".into())),
            }
        }
    }
}

/// Reads the index of the attachments.
pub struct IndexReader(LineReader);

impl IndexReader {
    /// Reads the index from its lines.
    pub(super) fn new(lines: LineReader) -> Self {
        Self(lines)
    }

    /// Returns the next attachment, or `None` at the end.
    ///
    /// # Errors
    /// The source failed, or the index is not what was written.
    pub async fn next(&mut self) -> Result<Option<File>, ArchiveError> {
        let Some(line) = self.0.next().await? else { return Ok(None) };
        let file = File::parse(&line);
        file.map(Some).ok_or_else(|| self.0.part.damaged("a line is broken".into()))
    }
}
