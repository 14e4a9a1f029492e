//! Takes and checks backups of the configured installation.

use std::path::Path;

use super::{
    database::{ServerDatabase, refuse_unfinished_restore},
    error::{StartError, invalid_setting},
    services::ambient,
    storage,
};
use crate::{
    backup::{
        BackupError,
        create::{Files, create},
        verify,
    },
    config::Config,
    db::{Database, installation},
    domain::backup::Manifest,
    storage::{
        S3Settings,
        backup::{Archive, ArchiveError, NewArchive, Run},
    },
};

/// The scheme of the address of a bucket.
const BUCKET: &str = "s3";
/// The migration from which on the database stores the time of the last backup.
const REMEMBERED_SINCE: &str = "20261126000108";
/// The end of the name of a backup in a single file.
const FILE: &str = ".tar";
/// The ends of names of compressed files. Nobody means a folder by them.
const COMPRESSED: [&str; 7] = [".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".gz", ".zip"];

/// Takes a backup of the database and the attachments. `target` is a folder, a file
/// whose name ends in `.tar`, or `s3://bucket/prefix`.
///
/// # Errors
/// The target is in use or fails, or the database or the storage cannot be read. Nothing is left at
/// the target then.
pub async fn back_up(config: &Config, target: &str) -> Result<Manifest, StartError> {
    let storage = storage::set_up_for_command(config)?;
    let server = ServerDatabase::open_for_command(config).await?;
    let written = async {
        let database = server.connect(config)?;
        refuse_unfinished_restore(&database).await?;
        let new = new_archive(config, target).await?;
        let files = Files::From(storage.as_ref());
        let created = create(&database, files, new.archive(), ambient().now()).await;
        let manifest = complete(new, created).await?;
        remember(&database, &manifest).await;
        Ok::<_, StartError>(manifest)
    }
    .await;
    server.close().await;
    written
}

/// Stores when a whole backup was taken, for monitoring. The backup is as good without.
async fn remember(database: &Database, manifest: &Manifest) {
    let Some(newest) = manifest.migrations.last() else { return };
    if newest.as_str() < REMEMBERED_SINCE || !manifest.lost().is_empty() {
        return;
    }
    let at = manifest.created_at;
    let stored =
        database.write_without_events(async |db| installation::set_last_backup_at(db, at).await);
    if let Err(error) = stored.await {
        tracing::warn!(%error, "storing the time of the backup failed");
    }
}

/// Completes a backup, or removes what was written of it.
pub(super) async fn complete(
    new: NewArchive,
    created: Result<Manifest, BackupError>,
) -> Result<Manifest, BackupError> {
    let finished = match created {
        Ok(manifest) => new.finish(&manifest).await.map(|()| manifest).map_err(BackupError::from),
        Err(error) => Err(error),
    };
    if finished.is_err()
        && let Err(error) = new.abandon().await
    {
        tracing::error!(%error, "removing an incomplete backup failed");
    }
    finished
}

/// Checks a backup without a database. `source` is a folder, a tar archive or
/// `s3://bucket/prefix`.
///
/// # Errors
/// The backup is damaged or not whole.
pub async fn verify_backup(config: &Config, source: &str) -> Result<Manifest, StartError> {
    let archive = archive(config, source)?;
    let manifest = archive.manifest().await.map_err(BackupError::from)?;
    verify::verify(&archive, &manifest).await?;
    Ok(manifest)
}

async fn new_archive(config: &Config, target: &str) -> Result<NewArchive, StartError> {
    let run = Run { id: ambient().uuid(), began_at: ambient().now() };
    let new = match bucket(config, target)? {
        Some((settings, prefix)) => NewArchive::in_bucket(settings, prefix, run).await,
        None if target.ends_with(FILE) => NewArchive::in_file(Path::new(target), run),
        None if COMPRESSED.iter().any(|end| target.ends_with(end)) => {
            return Err(StartError::Compressed(target.to_owned()));
        }
        None => NewArchive::in_folder(Path::new(target)),
    };
    Ok(new.map_err(BackupError::from)?)
}

/// Returns the place of a backup.
pub(super) fn archive(config: &Config, source: &str) -> Result<Archive, StartError> {
    let path = Path::new(source);
    let archive = match bucket(config, source)? {
        Some((settings, prefix)) => Archive::in_bucket(settings, prefix),
        None if path.is_file() => Archive::in_file(path),
        // A device or a pipe.
        None if path.exists() && !path.is_dir() => Err(ArchiveError::NotATar(source.to_owned())),
        None => Archive::in_folder(path),
    };
    Ok(archive.map_err(BackupError::from)?)
}

/// Returns the settings and the prefix of a bucket, or `None` for a folder or a file. The bucket is on the
/// server of `storage.s3`.
///
/// # Errors
/// Any other URL: nobody means a folder by it. An empty text. A key that a bucket needs is not set.
fn bucket<'p>(
    config: &Config,
    place: &'p str,
) -> Result<Option<(S3Settings, &'p str)>, StartError> {
    if place.is_empty() {
        return Err(BackupError::from(ArchiveError::Unnamed).into());
    }
    let Some((scheme, rest)) = place.split_once(":/").filter(|(it, _)| is_scheme(it)) else {
        return Ok(None);
    };
    let address = rest.strip_prefix('/').filter(|_| scheme.eq_ignore_ascii_case(BUCKET));
    let (bucket, prefix) = match address {
        Some(address) => address.split_once('/').unwrap_or((address, "")),
        None => return Err(StartError::UnsupportedPlace(place.to_owned())),
    };
    if bucket.is_empty() {
        return Err(StartError::UnsupportedPlace(place.to_owned()));
    }
    let s3 = &config.storage.s3;
    if let Some(key) = s3.missing_key() {
        return Err(invalid_setting(key, "is required for a backup in a bucket"));
    }
    Ok(Some((storage::s3_settings(s3, bucket), prefix.trim_matches('/'))))
}

/// Whether a text can be the scheme of a URL.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}
