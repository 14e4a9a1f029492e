//! A backup in a single file: a tar archive whose entries are the objects of a backup.
//!
//! Entries are found by reading headers from the last one that was found, so memory does not grow
//! with their number. A reader that asks for them in their order reads each header once, after a first
//! look at all of them for the folder that the backup is in.
//!
//! An archive that a person has packed again is read too, whatever program has packed it: names may
//! begin with `./` and with a folder, and folders may have entries of their own.

use std::{collections::BTreeSet, fmt, fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use async_trait::async_trait;
use axum::{body::Bytes, http::Extensions};
use futures_util::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use object_store::{Error as StoreError, MultipartUpload, PutPayload, PutResult, UploadPart};
use parking_lot::Mutex;
use tar::{EntryType, Header, PaxExtensions};
use tokio::task::spawn_blocking;

use crate::storage::FOLDER_PART;

/// The size of a block: headers are one, and contents are filled up to a multiple of it.
const BLOCK: u64 = 512;
/// The end of an archive: two blocks of zeros.
const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

/// The longest content of an entry that describes the next one, in bytes.
const MAX_DESCRIPTION: u64 = 1 << 20;

/// How compressed files begin, and the programs that decompress them.
const COMPRESSED: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "gunzip"),
    (b"BZh", "bunzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
];

/// The name that errors of the file have in an [`StoreError`].
const NAME: &str = "tar";

/// A tar archive that is written or read.
#[derive(Clone, Debug)]
pub(super) struct TarFile {
    file: Arc<File>,
    /// The time of new entries, in seconds since 1970.
    modified: u64,
    /// What the names of the objects begin with in the archive: nothing, or a folder and a slash.
    folder: String,
    position: Arc<Mutex<Position>>,
}

#[derive(Debug)]
struct Position {
    /// Where the next lookup starts.
    next: u64,
    /// The end of the entries, or `None` if the archive is being read.
    end: Option<u64>,
}

/// An entry, with those that describe it.
struct Entry {
    /// Its name without `.`, or `None` if it is no file, or if its name leads out of the archive.
    name: Option<String>,
    content: Content,
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

    /// Reads the objects in a folder of the archive, which ends in a slash.
    pub(super) fn in_folder(self, folder: String) -> Self {
        Self { folder, ..self }
    }

    /// Returns the folders of the archive with an entry of this name, each with a slash at its end,
    /// or empty.
    pub(super) fn folders_of(&self, name: &str) -> io::Result<BTreeSet<String>> {
        let length = self.file.metadata()?.len();
        let (mut at, mut folders) = (0, BTreeSet::new());
        while let Some(entry) = self.entry(at, None, length)? {
            let folder = entry.name.as_deref().and_then(|path| path.strip_suffix(name));
            if let Some(folder) = folder.filter(|path| path.is_empty() || path.ends_with('/')) {
                folders.insert(folder.to_owned());
            }
            at = entry.content.next();
        }
        Ok(folders)
    }

    /// Returns the program that decompresses the file, or `None` if the file does not begin like a
    /// compressed one.
    pub(super) fn compression(&self) -> io::Result<Option<&'static str>> {
        let mut beginning = [0; 6];
        let read = self.file.read_at(&mut beginning, 0)?;
        let found = COMPRESSED.iter().find(|(magic, _)| beginning[..read].starts_with(magic));
        Ok(found.map(|(_, program)| *program))
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
        Self { file: Arc::new(file), modified, folder: String::new(), position }
    }

    /// Starts to write an entry. Write one at a time.
    pub(super) fn write(&self, name: &str) -> Result<Box<dyn MultipartUpload>, StoreError> {
        let start = self.position.lock().end.unwrap_or_default();
        let mut header = Header::new_ustar();
        header.set_path(name).map_err(failed)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.modified);
        Ok(Box::new(NewEntry { archive: self.clone(), header, start, size: 0 }))
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
            let end = archive.position.lock().end.unwrap_or_default();
            archive.file.write_all_at(&END, end)?;
            archive.file.sync_all()
        })
        .await?
    }

    fn find(&self, name: &str) -> io::Result<Option<Content>> {
        let (start, end) = {
            let position = self.position.lock();
            (position.next, position.end)
        };
        let length = self.file.metadata()?.len();
        let name = format!("{}{name}", self.folder);
        let (mut at, mut wrapped) = (start, false);
        while !wrapped || at < start {
            match self.entry(at, end, length)? {
                Some(entry) if entry.name.as_ref() == Some(&name) => {
                    self.position.lock().next = entry.content.next();
                    return Ok(Some(entry.content));
                }
                Some(entry) => at = entry.content.next(),
                None if wrapped => break,
                None => (at, wrapped) = (0, true),
            }
        }
        Ok(None)
    }

    /// Reads the entry at a place. `None` at the end of the archive.
    fn entry(&self, mut at: u64, end: Option<u64>, length: u64) -> io::Result<Option<Entry>> {
        let (mut name, mut size) = (None, None);
        while end != Some(at)
            && let Some(header) = self.header(at)?
        {
            let own = header.entry_size().map_err(invalid)?;
            let mut content = Content { start: at + BLOCK, size: own };
            let kind = header.entry_type();
            if kind.is_gnu_longname() {
                let mut long = self.description(content)?;
                long.truncate(long.iter().position(|byte| *byte == 0).unwrap_or(long.len()));
                name = Some(long);
            } else if kind.is_pax_local_extensions() {
                for extension in PaxExtensions::new(&self.description(content)?) {
                    let extension = extension?;
                    match extension.key_bytes() {
                        b"path" => name = Some(extension.value_bytes().to_owned()),
                        b"size" => size = extension.value().ok().and_then(|text| text.parse().ok()),
                        _ => {}
                    }
                }
            } else {
                content.size = size.unwrap_or(own);
                if content.next() > length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
                let is_file = kind.is_file() || kind.is_contiguous();
                return Ok(Some(Entry { name: plain(&name).filter(|_| is_file), content }));
            }
            at = content.next();
        }
        Ok(None)
    }

    /// Reads the header at a place. `None` at the end of the archive.
    fn header(&self, at: u64) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        self.file.read_exact_at(header.as_mut_bytes(), at)?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        require_checksum(&header)?;
        Ok(Some(header))
    }

    /// Reads the content of an entry that describes the next one.
    fn description(&self, content: Content) -> io::Result<Vec<u8>> {
        if content.size > MAX_DESCRIPTION {
            return Err(invalid("its description is too long"));
        }
        let mut bytes = vec![0; content.size as usize];
        self.file.read_exact_at(&mut bytes, content.start)?;
        Ok(bytes)
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
}

/// Whether an error means that the file is cut or no archive, and not that it cannot be read.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

/// Returns a name without `.`, or `None` if it leads out of the archive.
fn plain(name: &[u8]) -> Option<String> {
    let name = str::from_utf8(name).ok().filter(|name| !name.starts_with('/'))?;
    let parts = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>();
    (!parts.contains(&"..")).then(|| parts.join("/"))
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
struct NewEntry {
    archive: TarFile,
    header: Header,
    /// The place of the header.
    start: u64,
    size: u64,
}

impl NewEntry {
    /// Changes the file on a thread that may wait for the disk.
    fn change(&self, change: impl FnOnce(&File) -> io::Result<()> + Send + 'static) -> UploadPart {
        let file = Arc::clone(&self.archive.file);
        async move { spawn_blocking(move || change(&file)).await.map_err(failed)?.map_err(failed) }
            .boxed()
    }
}

impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry").field("start", &self.start).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for NewEntry {
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
        self.archive.position.lock().end = Some(content.next());
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
