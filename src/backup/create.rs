//! Takes a backup.

use std::pin::pin;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio_util::bytes::Bytes;

use super::BackupError;
use crate::{
    db::{
        Database, DbError,
        backup::{Snapshot, StoredTable, still_named, storage_id},
    },
    domain::{
        backup::{Attachments, FORMAT, File, INDEX, Manifest, Part, TABLES, Table},
        clock::Timestamp,
    },
    storage::{
        Storage, StorageError,
        backup::{Archive, PartWriter},
    },
};

/// How many attachments that cannot be read a backup goes on without.
const MAX_UNREADABLE: usize = 20;

/// Which attachments a backup contains.
#[derive(Clone, Copy)]
pub enum Files<'s> {
    /// None: it is of the database alone.
    Without,
    /// Those in the storage, if one is configured.
    From(Option<&'s Storage>),
}

/// Copies the database and then the attachments into an archive. Uses as much memory for a large
/// database as for a small one. The caller completes the archive with the manifest.
///
/// # Errors
/// The database, the storage or the archive failed, or the storage is not that of the database.
pub async fn create(
    database: &Database,
    files: Files<'_>,
    archive: &Archive,
    now: Timestamp,
) -> Result<Manifest, BackupError> {
    let snapshot = Snapshot::begin(database).await?;
    let copied = copy_database(&snapshot, files, archive, now).await;
    // Not open any longer than needed: it keeps Postgres from removing dead rows.
    snapshot.end();
    let mut manifest = copied?;
    if let (Files::From(storage), Some(attachments)) = (files, &mut manifest.attachments) {
        copy_files(storage, archive, attachments).await?;
        refuse_wrong_storage(database, storage, attachments).await?;
        // Files that were deleted after the snapshot are not lost.
        attachments.lost = still_named(database, &attachments.absent).await?;
    }
    Ok(manifest)
}

async fn copy_database(
    snapshot: &Snapshot,
    files: Files<'_>,
    archive: &Archive,
    now: Timestamp,
) -> Result<Manifest, BackupError> {
    let migrations = snapshot.migrations().await?;
    let schema = migrations.last().cloned().ok_or(BackupError::NoSchema)?;
    let left_out = snapshot.foreign().await?;
    if !left_out.is_empty() {
        tracing::warn!(names = left_out.join(", "), "these are not of Ticketwire and left out");
    }
    let mut tables = Vec::new();
    for table in snapshot.tables().await? {
        tables.push(copy_table(snapshot, archive, table).await?);
    }
    let attachments = match files {
        Files::Without => None,
        Files::From(_) => {
            let index = copy(snapshot.attachments().await?, archive.write_part(INDEX).await?);
            Some(Attachments {
                index: index.await?,
                files: 0,
                bytes: 0,
                absent: vec![],
                lost: vec![],
            })
        }
    };
    Ok(Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now,
        schema,
        migrations,
        sealing_keys: snapshot.sealing_keys().await?,
        tables,
        left_out,
        // Last: a sequence is not part of the snapshot, and must not be behind the rows.
        sequences: snapshot.sequences().await?,
        attachments,
    })
}

async fn copy_table(
    snapshot: &Snapshot,
    archive: &Archive,
    table: StoredTable,
) -> Result<Table, BackupError> {
    let part = archive.write_part(&format!("{TABLES}/{}.gz", table.name)).await?;
    let part = copy(snapshot.rows(&table).await?, part).await?;
    tracing::debug!(table = table.name, rows = part.rows, "copied a table");
    Ok(Table { name: table.name, columns: table.columns, part })
}

async fn copy(
    rows: impl Stream<Item = Result<Bytes, DbError>>,
    mut part: PartWriter,
) -> Result<Part, BackupError> {
    let mut rows = pin!(rows);
    loop {
        match rows.try_next().await {
            Ok(Some(bytes)) => part.write(&bytes).await?,
            Ok(None) => return Ok(part.finish().await?),
            Err(error) => {
                part.abandon().await?;
                return Err(error.into());
            }
        }
    }
}

async fn copy_files(
    storage: Option<&Storage>,
    archive: &Archive,
    attachments: &mut Attachments,
) -> Result<(), BackupError> {
    let mut index = archive.read_index(&attachments.index).await?;
    let mut unreadable = 0;
    while let Some(file) = index.next().await? {
        let storage = storage.ok_or(BackupError::NoStorage)?;
        match copy_file(storage, archive, &file).await {
            Ok(true) => {
                attachments.files += 1;
                attachments.bytes += file.size;
            }
            Ok(false) => attachments.absent.push(file.id),
            // The rest is worth more than nothing. If more files fail, the storage does.
            Err(BackupError::Storage(error)) if unreadable < MAX_UNREADABLE => {
                unreadable += 1;
                tracing::warn!(attachment_id = %file.id.0, %error, "an attachment cannot be read");
                attachments.absent.push(file.id);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Refuses a storage that has none of the files and is not that of the servers: it has no id, since
/// no server has used it, or another id than the installation's.
async fn refuse_wrong_storage(
    database: &Database,
    storage: Option<&Storage>,
    attachments: &Attachments,
) -> Result<(), BackupError> {
    let absent = attachments.absent.len() as u64;
    let Some(storage) = storage.filter(|_| attachments.files == 0 && absent > 0) else {
        return Ok(());
    };
    let is_right = match storage_id(database).await? {
        Some(expected) => match storage.require_identity(expected).await {
            Err(StorageError::Foreign { .. }) => false,
            checked => checked.map(|()| true)?,
        },
        None => storage.known_identity().await?.is_some(),
    };
    if is_right { Ok(()) } else { Err(BackupError::WrongStorage(absent)) }
}

/// Copies a file. Returns false if the storage does not have it, or not with this content.
async fn copy_file(storage: &Storage, archive: &Archive, file: &File) -> Result<bool, BackupError> {
    let Some((size, mut content)) = storage.open(file.id).await? else { return Ok(false) };
    if size != file.size {
        return Ok(false);
    }
    let mut object = archive.write_object(&file.name()).await?;
    while let Some(bytes) = content.next().await {
        match bytes {
            Ok(bytes) => object.write(bytes).await?,
            Err(error) => {
                object.abandon().await?;
                return Err(BackupError::Storage(error.into()));
            }
        }
    }
    Ok(object.finish_as(file.size, &file.sha256).await?)
}
