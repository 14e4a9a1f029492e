//! Checks a backup without a database.

use std::collections::HashSet;

use super::BackupError;
use crate::{
    domain::backup::{Attachments, Manifest},
    storage::backup::{Archive, ArchiveError},
};

/// Reads all of a backup and checks that it is whole: sizes, checksums, numbers of rows and
/// attachments.
///
/// # Errors
/// The backup is damaged, or the archive failed.
pub async fn verify(archive: &Archive, manifest: &Manifest) -> Result<(), BackupError> {
    for table in &manifest.tables {
        let mut rows = archive.read_part(&table.part).await?;
        while rows.next().await?.is_some() {}
    }
    match &manifest.attachments {
        None => Ok(()),
        Some(attachments) => verify_files(archive, attachments).await,
    }
}

async fn verify_files(archive: &Archive, attachments: &Attachments) -> Result<(), BackupError> {
    let absent = attachments.absent.iter().collect::<HashSet<_>>();
    let (mut files, mut bytes) = (0, 0);
    let mut index = archive.read_index(&attachments.index).await?;
    while let Some(file) = index.next().await? {
        if absent.contains(&file.id) {
            continue;
        }
        let mut content = archive.read_file(&file).await?;
        while content.next().await?.is_some() {}
        files += 1;
        bytes += file.size;
    }
    if (files, bytes) == (attachments.files, attachments.bytes) {
        return Ok(());
    }
    Err(BackupError::Archive(ArchiveError::Damaged {
        place: archive.place().to_owned(),
        name: attachments.index.name.clone(),
        reason: format!("it lists {files} files instead of {}", attachments.files),
    }))
}
