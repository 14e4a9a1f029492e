//! Restores a backup that was checked.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::BackupError;
use crate::{
    db::{
        Database,
        backup::{StoredTable, is_own},
        migrations,
        restore::{self, Content, Loading, Rewound, inspect},
    },
    domain::{
        backup::{File, Manifest, Table},
        hex::hex,
    },
    storage::{Storage, StorageError, backup::Archive},
};

/// What is left to do for a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// Everything.
    All,
    /// What follows the rows: an earlier attempt has loaded them.
    AfterRows,
}

/// Returns the name of a backup, which the database has while its restore is unfinished.
fn name(manifest: &Manifest) -> String {
    manifest.created_at.to_rfc3339()
}

/// Checks that this version can read the schema of a backup.
///
/// # Errors
/// The backup is of a newer version.
pub fn check_version(manifest: &Manifest) -> Result<(), BackupError> {
    let known = migrations::versions()?;
    if manifest.migrations.iter().all(|version| known.contains(version)) {
        return Ok(());
    }
    let (program, schema) = (manifest.program.clone(), manifest.schema.clone());
    Err(BackupError::NewerSchema { program, schema })
}

/// Removes the tables that are not of Ticketwire from a manifest, and names them as left out. Older
/// versions have copied them.
pub fn leave_out_foreign(manifest: &mut Manifest) {
    let foreign = manifest.tables.extract_if(.., |table| !is_own(&table.name));
    manifest.left_out.extend(foreign.map(|table| table.name));
}

/// Checks that a backup can be restored into a database, and returns what there is to do.
///
/// # Errors
/// The database has data, a newer schema, or other users.
pub async fn check_database(
    database: &Database,
    manifest: &Manifest,
) -> Result<Remaining, BackupError> {
    let (content, others) = inspect(database).await?;
    let remaining = match content {
        Content::Data => return Err(BackupError::Used),
        Content::ForeignTables => return Err(BackupError::ForeignTables),
        Content::Unfinished(backup) if backup == name(manifest) => Remaining::AfterRows,
        Content::Unfinished(backup) => return Err(BackupError::OtherUnfinished(backup)),
        Content::Nothing { migrations } => {
            if !migrations.iter().all(|version| manifest.migrations.contains(version)) {
                return Err(BackupError::OlderThanDatabase(manifest.schema.clone()));
            }
            Remaining::All
        }
    };
    if others > 0 { Err(BackupError::InUse(others)) } else { Ok(remaining) }
}

/// Returns the values of a column of a backup's table whose values need no escaping. Empty if the
/// backup has no such table.
///
/// # Errors
/// The archive failed.
pub async fn column(
    archive: &Archive,
    manifest: &Manifest,
    table: &str,
    column: &str,
) -> Result<Vec<String>, BackupError> {
    let Some(table) = manifest.tables.iter().find(|it| it.name == table) else {
        return Ok(vec![]);
    };
    let place = table.columns.iter().position(|name| name == column);
    let (mut lines, mut values) = (archive.read_lines(&table.part).await?, Vec::new());
    while let Some(line) = lines.next().await? {
        let value = place.and_then(|place| line.split(|byte| *byte == b'\t').nth(place));
        values.extend(value.map(|value| String::from_utf8_lossy(value).into_owned()));
    }
    Ok(values)
}

/// Marks an empty database as unfinished, so that no server starts on it, and makes sure that none
/// did before.
///
/// # Errors
/// The database has data or other users, and is not marked then, or it failed.
pub async fn claim(database: &Database, manifest: &Manifest) -> Result<(), BackupError> {
    restore::mark(database, &name(manifest)).await?;
    let refused = match inspect(database).await? {
        (Content::Unfinished(_) | Content::Data, _) => BackupError::Used,
        (_, others) if others > 0 => BackupError::InUse(others),
        _ => return Ok(()),
    };
    restore::unmark(database).await?;
    Err(refused)
}

/// Creates the schema of a backup and loads its rows, in one transaction. If this fails, the database
/// has no rows. With `rewound`, mails of the backup are held back and all streams start again in that
/// transaction: returns how many mails, or `None` if the schema of the backup is too old for it.
///
/// # Errors
/// The database or the archive failed, or a server uses the database.
pub async fn load(
    database: &Database,
    archive: &Archive,
    manifest: &Manifest,
    rewound: Option<Rewound>,
) -> Result<Option<u64>, BackupError> {
    migrations::run_only(database, &manifest.migrations).await?;
    let tables = manifest.tables.iter().map(stored).collect::<Vec<_>>();
    let loading = Loading::begin(database, &tables).await?;
    // A server that ran before the database was created may have connected meanwhile.
    let others = loading.others().await?;
    if others > 0 {
        return Err(BackupError::InUse(others));
    }
    for table in &manifest.tables {
        load_table(&loading, archive, table).await?;
    }
    Ok(loading.commit(&manifest.sequences, rewound).await?)
}

fn stored(table: &Table) -> StoredTable {
    StoredTable { name: table.name.clone(), columns: table.columns.clone() }
}

async fn load_table(
    loading: &Loading,
    archive: &Archive,
    table: &Table,
) -> Result<(), BackupError> {
    let mut rows = archive.read_part(&table.part).await?;
    let mut sink = loading.rows(&stored(table)).await?;
    while let Some(bytes) = rows.next().await? {
        sink.send(bytes).await?;
    }
    let (found, expected) = (sink.finish().await?, table.part.rows);
    if found == expected {
        return Ok(());
    }
    Err(BackupError::RowCount { table: table.name.clone(), found, expected })
}

/// Copies the attachments into the storage. Those that it has already are left as they are if their
/// content is that of the backup. Returns how many were copied.
///
/// # Errors
/// There are attachments and no storage, or the storage or the archive failed.
pub async fn restore_files(
    storage: Option<&Storage>,
    archive: &Archive,
    manifest: &Manifest,
) -> Result<u64, BackupError> {
    let Some(attachments) = &manifest.attachments else { return Ok(0) };
    storage.map_or(Ok(()), Storage::create_folder)?;
    let absent = attachments.absent.iter().collect::<HashSet<_>>();
    let mut copied = 0;
    let mut index = archive.read_index(&attachments.index).await?;
    while let Some(file) = index.next().await? {
        if absent.contains(&file.id) {
            continue;
        }
        let storage = storage.ok_or(BackupError::NoStorage)?;
        if !has(storage, &file).await? {
            restore_file(storage, archive, &file).await?;
            storage.give_to_owner(file.id)?;
            copied += 1;
        }
    }
    Ok(copied)
}

/// Returns whether the storage has a file with this content.
async fn has(storage: &Storage, file: &File) -> Result<bool, BackupError> {
    let Some((size, mut content)) = storage.open(file.id).await? else { return Ok(false) };
    if size != file.size {
        return Ok(false);
    }
    let mut hasher = Sha256::new();
    while let Some(bytes) = content.next().await {
        hasher.update(&bytes.map_err(StorageError::from)?);
    }
    Ok(hex(&hasher.finalize()) == file.sha256)
}

async fn restore_file(
    storage: &Storage,
    archive: &Archive,
    file: &File,
) -> Result<(), BackupError> {
    let mut content = archive.read_file(file).await?;
    let mut writer = storage.begin(file.id).await?;
    loop {
        match content.next().await {
            Ok(Some(bytes)) => writer.write(bytes).await?,
            Ok(None) => return Ok(writer.finish().await?),
            Err(error) => {
                writer.abandon().await?;
                return Err(error.into());
            }
        }
    }
}
