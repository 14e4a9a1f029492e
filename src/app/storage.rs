//! Builds the storage of attachments from the configuration.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::error::{StartError, unusable_setting};
use crate::{
    config::{Config, S3Config, Secret},
    db::{Database, attachment, installation},
    domain::{attachment::OwnStorage, clock::Ambient},
    storage::{self, Patience, S3Settings, Storage, StorageError},
};

/// Returns the configured storage. `None` with your own database and neither folder nor bucket:
/// attachments are not accepted then, since other nodes could not read a folder of this machine.
///
/// # Errors
/// Settings that cannot be used.
pub fn set_up(config: &Config) -> Result<Option<Storage>, StartError> {
    set_up_for(config, Patience::Request)
}

/// Does the same for a command that works for hours.
///
/// # Errors
/// As for [`set_up`].
pub fn set_up_for_command(config: &Config) -> Result<Option<Storage>, StartError> {
    set_up_for(config, Patience::Command)
}

fn set_up_for(config: &Config, patience: Patience) -> Result<Option<Storage>, StartError> {
    if let Some(bucket) = &config.storage.s3.bucket {
        let storage = Storage::in_s3(s3_settings(&config.storage.s3, bucket), patience);
        let failed = |error| unusable_setting("storage.s3", format!("cannot be used: {error}"));
        return storage.map(Some).map_err(failed);
    }
    let folder = match &config.storage.folder {
        Some(folder) => folder.clone(),
        None if config.embeds_database() => config.data_dir.join("attachments"),
        None => return Ok(None),
    };
    let failed = |error| unusable_setting("storage.folder", format!("cannot be used: {error}"));
    Storage::in_folder(&folder).map(Some).map_err(failed)
}

/// Accepts the configured storage in place of the one that the installation used, and gives it an id if
/// it has none. Returns how many of the newest attachments were looked for if it has none of them.
///
/// # Errors
/// No storage is configured, or it or the database failed.
pub async fn accept_storage(
    config: &Config,
    database: &Database,
    ambient: &Ambient,
) -> Result<Option<usize>, StartError> {
    let storage = set_up(config)?.ok_or_else(|| {
        unusable_setting("storage.folder", "is not set, nor is storage.s3.bucket".to_owned())
    })?;
    let newest = attachment::newest(&mut *database.read().await?).await?;
    let accepted = async {
        storage.create_folder()?;
        let id = storage.identity(ambient.uuid()).await?;
        storage.give_identity_to_owner(id)?;
        match storage.require(&OwnStorage::Holding(newest)).await {
            Err(StorageError::Empty(files)) => Ok((id, Some(files))),
            holds => holds.map(|()| (id, None)),
        }
    };
    let failed = |error| unusable_setting("storage", format!("cannot be used: {error}"));
    let (id, missing) = accepted.await.map_err(failed)?;
    installation::replace_storage(&mut *database.read().await?, Some(id)).await?;
    Ok(missing)
}

/// Returns how many bytes are free on the disk of a folder or of its nearest parent that exists, or
/// `None` if the system does not say.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    storage::free_bytes(folder)
}

/// Checks that this process may write to a folder, or create it.
///
/// # Errors
/// The folder, or the nearest one above it that exists, with the reason.
pub fn check_writable(folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    storage::check_writable(folder)
}

/// Returns the settings of a bucket on the configured server.
pub(super) fn s3_settings(s3: &S3Config, bucket: &str) -> S3Settings {
    let exposed = |secret: &Option<Secret>| {
        secret.as_ref().map(Secret::expose).unwrap_or_default().to_owned()
    };
    S3Settings {
        bucket: bucket.to_owned(),
        region: s3.region.clone().unwrap_or_default(),
        endpoint: s3.endpoint.clone(),
        access_key: exposed(&s3.access_key),
        secret_key: exposed(&s3.secret_key),
    }
}
