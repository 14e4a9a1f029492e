//! A backup in a single file: a tar archive whose entries are the objects of a backup.
//!
//! Entries are found by reading headers from the last one that was found, so memory does not grow
//! with their number. A reader that asks for them in their order reads each header once.

use std::{
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use axum::{body::Bytes, http::Extensions};
use futures_util::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use object_store::{Error as StoreError, MultipartUpload, PutPayload, PutResult, UploadPart};
use tar::{EntryType, Header};
use tokio::task::spawn_blocking;

use crate::storage::FOLDER_PART;

/// The size of a block: headers are one, and contents are filled up to a multiple of it.
const BLOCK: u64 = 512;
/// The end of an archive: two blocks of zeros.
const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

/// The name that errors of the file have in an [`StoreError`].
const NAME: &str = "tar";

/// A tar archive that is written or read.
#[derive(Clone, Debug)]
pub(super) struct TarFile {
    file: Arc<File>,
    /// The time of new entries, in seconds since 1970.
    modified: u64,
    position: Arc<Mutex<Position>>,
}

#[derive(Debug)]
struct Position {
    /// Where the next lookup starts.
    next: u64,
    /// The end of the entries, or `None` if the archive is being read.
    end: Option<u64>,
}

/// The place of an entry's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    start: u64,
    size: u64,
}

impl Content {
    /// The place of the header of the next entry.
    fn next(self) -> u64 {
        let filled = self.size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        self.start.saturating_add(filled)
    }
}

impl TarFile {
    /// Starts an archive in an empty file.
    pub(super) fn create(file: File, modified: u64) -> Self {
        Self::new(file, modified, Some(0))
    }

    /// Reads the archive in a file.
    pub(super) fn open(file: File) -> Self {
        Self::new(file, 0, None)
    }

    /// Returns whether the file begins like an archive.
    pub(super) fn is_archive(&self) -> io::Result<bool> {
        match self.entry(0, None, u64::MAX) {
            Ok(entry) => Ok(entry.is_some()),
            Err(error) if is_damage(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn new(file: File, modified: u64, end: Option<u64>) -> Self {
        let position = Arc::new(Mutex::new(Position { next: 0, end }));
        Self { file: Arc::new(file), modified, position }
    }

    /// Starts to write an entry. Write one at a time.
    pub(super) fn write(&self, name: &str) -> Result<Box<dyn MultipartUpload>, StoreError> {
        let start = self.position().end.unwrap_or_default();
        let mut header = Header::new_ustar();
        header.set_path(name).map_err(failed)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.modified);
        Ok(Box::new(Entry { archive: self.clone(), header, start, size: 0 }))
    }

    /// Returns the content of an entry, or `None` if the archive has no such entry.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before the archive does,
    /// [`io::ErrorKind::InvalidData`] if it is no archive.
    pub(super) async fn read(
        &self,
        name: &str,
    ) -> io::Result<Option<BoxStream<'static, object_store::Result<Bytes>>>> {
        let (archive, name) = (self.clone(), name.to_owned());
        let found = spawn_blocking(move || archive.find(&name)).await??;
        Ok(found.map(|content| self.stream(content)))
    }

    /// Ends the archive and stores it on the disk.
    pub(super) async fn finish(&self) -> io::Result<()> {
        let archive = self.clone();
        spawn_blocking(move || {
            let end = archive.position().end.unwrap_or_default();
            archive.file.write_all_at(&END, end)?;
            archive.file.sync_all()
        })
        .await?
    }

    fn find(&self, name: &str) -> io::Result<Option<Content>> {
        let (start, end) = {
            let position = self.position();
            (position.next, position.end)
        };
        let length = self.file.metadata()?.len();
        let (mut at, mut wrapped) = (start, false);
        while !wrapped || at < start {
            match self.entry(at, end, length)? {
                Some((found, content)) if found == name.as_bytes() => {
                    self.position().next = content.next();
                    return Ok(Some(content));
                }
                Some((_, content)) => at = content.next(),
                None if wrapped => break,
                None => (at, wrapped) = (0, true),
            }
        }
        Ok(None)
    }

    /// Reads the header at a place. `None` at the end of the archive.
    fn entry(
        &self,
        at: u64,
        end: Option<u64>,
        length: u64,
    ) -> io::Result<Option<(Vec<u8>, Content)>> {
        if end == Some(at) {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.file.read_exact_at(header.as_mut_bytes(), at)?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        require_checksum(&header)?;
        let content = Content { start: at + BLOCK, size: header.entry_size().map_err(invalid)? };
        if content.next() > length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((header.path_bytes().into_owned(), content)))
    }

    fn stream(&self, content: Content) -> BoxStream<'static, object_store::Result<Bytes>> {
        let file = Arc::clone(&self.file);
        stream::try_unfold(content, move |Content { start, size }| {
            let file = Arc::clone(&file);
            async move {
                if size == 0 {
                    return Ok(None);
                }
                let count = size.min(FOLDER_PART as u64);
                let mut bytes = vec![0; count as usize];
                let read = spawn_blocking(move || {
                    file.read_exact_at(&mut bytes, start).map(|()| Bytes::from(bytes))
                });
                let bytes = read.await.map_err(failed)?.map_err(failed)?;
                Ok(Some((bytes, Content { start: start + count, size: size - count })))
            }
        })
        .boxed()
    }

    fn position(&self) -> std::sync::MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error means that the file is cut or no archive, and not that it cannot be read.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

/// Refuses a block that is no header.
fn require_checksum(header: &Header) -> io::Result<()> {
    let mut expected = header.clone();
    expected.set_cksum();
    if header.cksum().map_err(invalid)? == expected.cksum()? {
        return Ok(());
    }
    Err(invalid("its checksum does not match"))
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// An entry that is being written. Its header is written last, when its size is known.
struct Entry {
    archive: TarFile,
    header: Header,
    /// The place of the header.
    start: u64,
    size: u64,
}

impl Entry {
    /// Changes the file on a thread that may wait for the disk.
    fn change(&self, change: impl FnOnce(&File) -> io::Result<()> + Send + 'static) -> UploadPart {
        let file = Arc::clone(&self.archive.file);
        async move { spawn_blocking(move || change(&file)).await.map_err(failed)?.map_err(failed) }
            .boxed()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("start", &self.start).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for Entry {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let at = self.start + BLOCK + self.size;
        self.size += data.content_length() as u64;
        self.change(move |file| {
            let mut at = at;
            for bytes in data {
                file.write_all_at(&bytes, at)?;
                at += bytes.len() as u64;
            }
            Ok(())
        })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let content = Content { start: self.start + BLOCK, size: self.size };
        self.header.set_size(self.size);
        self.header.set_cksum();
        let (header, start) = (*self.header.as_bytes(), self.start);
        self.change(move |file| {
            // The rest of the last block is zeros.
            file.set_len(content.next())?;
            file.write_all_at(&header, start)
        })
        .await?;
        self.archive.position().end = Some(content.next());
        Ok(PutResult { e_tag: None, version: None, extensions: Extensions::new() })
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let start = self.start;
        self.change(move |file| file.set_len(start)).await
    }
}

fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Generic { store: NAME, source: cause.into() }
}
