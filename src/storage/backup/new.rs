//! Backups that are being written.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use object_store::path::Path as ObjectPath;

use super::{
    archive::{Archive, Objects, bucket},
    error::ArchiveError,
    layout::UNFINISHED,
    lease::{Lease, PATIENCE, Prefix, Run},
    tar_file::TarFile,
};
use crate::{
    domain::backup::Manifest,
    storage::{FOLDER_PART, S3Settings, absolute},
};

/// A backup that is being written. It becomes visible when it finishes.
pub struct NewArchive {
    archive: Archive,
    target: Target,
}

/// Where a backup appears when it finishes.
enum Target {
    Folder(Unfinished),
    File(Unfinished),
    Bucket(Lease),
}

/// A folder or a file that gets its name when it is whole.
struct Unfinished {
    target: PathBuf,
    /// Its path until then.
    path: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

impl Unfinished {
    /// Returns the paths of a target, and the target's text for messages.
    fn paths(target: &Path) -> Result<(PathBuf, PathBuf, String), ArchiveError> {
        let place = target.display().to_string();
        // Without a slash at its end, which would become part of another name.
        let target = absolute(target).map_err(|cause| ArchiveError::failed(&place, cause))?;
        if target.file_name().is_none() {
            return Err(ArchiveError::NoName(place));
        }
        let mut path = target.clone().into_os_string();
        path.push(format!(".{UNFINISHED}"));
        Ok((target, path.into(), place))
    }
}

impl NewArchive {
    /// Starts a backup in a folder that does not exist or is empty. Removes what an interrupted one
    /// with the same target has left.
    ///
    /// # Errors
    /// The folder is in use or cannot be created, or the one that it is in does not exist.
    pub fn in_folder(folder: &Path) -> Result<Self, ArchiveError> {
        let (target, path, place) = Unfinished::paths(folder)?;
        let failed = |cause: io::Error| ArchiveError::failed(&place, cause);
        if fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some())
            || target.exists() && !target.is_dir()
        {
            return Err(ArchiveError::Occupied(place));
        }
        require_parent(&target, &place)?;
        require_replaceable(&target, &place)?;
        let archive = Archive { place: place.clone(), ..Archive::in_folder(&path)? };
        if !is_ours_to_clear(&path).map_err(failed)? {
            return Err(ArchiveError::Occupied(path.display().to_string()));
        }
        // Only its owner may read what people wrote and the hashes of their passwords.
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|cause| ArchiveError::not_created(&place, cause))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let lock = File::create(path.join(UNFINISHED)).map_err(failed)?;
        lock_alone(&lock, &place)?;
        clear(&path).map_err(failed)?;
        Ok(Self { archive, target: Target::Folder(Unfinished { target, path, _lock: lock }) })
    }

    /// Starts a backup in a tar archive that does not exist. Replaces what an interrupted one with
    /// the same target has left.
    ///
    /// # Errors
    /// The file exists, is being written or cannot be created, or its folder does not exist.
    pub fn in_file(file: &Path, run: Run) -> Result<Self, ArchiveError> {
        let (target, path, place) = Unfinished::paths(file)?;
        let failed = |cause: io::Error| ArchiveError::failed(&place, cause);
        require_parent(&target, &place)?;
        // Only its owner may read what people wrote and the hashes of their passwords.
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&path).map_err(failed)?;
        lock_alone(&lock, &place)?;
        if !is_at(&lock, &path).map_err(failed)? {
            // Another backup has finished since the file was opened.
            return Err(ArchiveError::Exists(place));
        }
        if target.symlink_metadata().is_ok() {
            fs::remove_file(&path).map_err(failed)?;
            return Err(ArchiveError::Exists(place));
        }
        lock.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
        lock.set_len(0).map_err(failed)?;
        let modified = run.began_at.timestamp().try_into().unwrap_or_default();
        let tar = TarFile::create(lock.try_clone().map_err(failed)?, modified);
        let archive = Archive::new(Objects::Within(tar), place, FOLDER_PART);
        Ok(Self { archive, target: Target::File(Unfinished { target, path, _lock: lock }) })
    }

    /// Starts a backup under a prefix of a bucket that has no objects, or those of a backup that was
    /// interrupted, which it removes. To tell an interrupted one from one that is being written takes
    /// a minute.
    ///
    /// # Errors
    /// The prefix is in use, or the bucket failed.
    pub async fn in_bucket(
        settings: S3Settings,
        prefix: &str,
        run: Run,
    ) -> Result<Self, ArchiveError> {
        let (store, place) = bucket(settings, prefix)?;
        let prefix = Prefix { store, root: ObjectPath::from(prefix), place, run };
        Self::under_prefix(prefix, PATIENCE).await
    }

    pub(super) async fn under_prefix(
        prefix: Prefix,
        patience: Duration,
    ) -> Result<Self, ArchiveError> {
        let Prefix { store, root, place, .. } = prefix.clone();
        let lease = prefix.take(patience).await?;
        let archive =
            Archive { ownership: lease.ownership(), ..Archive::below(store, root, place) };
        Ok(Self { archive, target: Target::Bucket(lease) })
    }

    /// Returns the place to write to.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Completes the backup.
    ///
    /// # Errors
    /// Another backup has taken the place of this one in the bucket, or the target failed.
    pub async fn finish(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        if let Target::Bucket(lease) = &self.target {
            lease.require().await?;
        }
        self.archive.put_manifest(manifest).await?;
        let renamed = match &self.target {
            Target::Bucket(lease) => return lease.end().await,
            Target::Folder(unfinished) => rename(unfinished).map(|()| {
                // The lock comes last: without it, another backup would clear the folder.
                let lock = unfinished.target.join(UNFINISHED);
                if let Err(error) = fs::remove_file(&lock) {
                    let lock = lock.display();
                    tracing::warn!(%lock, %error, "the backup is whole, and its lock is left: remove it");
                }
            }),
            Target::File(unfinished) => match self.archive.end().await {
                Ok(()) if unfinished.target.symlink_metadata().is_ok() => {
                    return Err(ArchiveError::Exists(self.archive.place.clone()));
                }
                Ok(()) => rename(unfinished),
                Err(cause) => Err(cause),
            },
        };
        renamed.map_err(|cause| ArchiveError::failed(&self.archive.place, cause))
    }

    /// Removes what was written. Leaves the objects of another backup that has taken its place.
    ///
    /// # Errors
    /// The target failed.
    pub async fn abandon(self) -> Result<(), ArchiveError> {
        let removed = match &self.target {
            Target::Bucket(lease) => return lease.abandon().await,
            Target::Folder(unfinished) => fs::remove_dir_all(&unfinished.path),
            Target::File(unfinished) => fs::remove_file(&unfinished.path),
        };
        removed.map_err(|cause| ArchiveError::failed(&self.archive.place, cause))
    }

    /// Renews the mark in the bucket at once.
    #[cfg(test)]
    pub(super) async fn renew(&self) -> Result<bool, ArchiveError> {
        match &self.target {
            Target::Bucket(lease) => lease.renew().await,
            Target::Folder(_) | Target::File(_) => Ok(true),
        }
    }
}

/// Locks a file until it is closed.
fn lock_alone(lock: &File, place: &str) -> Result<(), ArchiveError> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::Busy(place.to_owned())),
        Err(TryLockError::Error(cause)) => Err(ArchiveError::failed(place, cause)),
    }
}

/// Whether an open file is the one at a path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a path is that of an unfinished backup, of an empty folder, or of nothing.
fn is_ours_to_clear(path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        found => found?,
    };
    // Not through a link: it could lead to any folder.
    if !found.is_dir() {
        return Ok(false);
    }
    let is_begun = fs::symlink_metadata(path.join(UNFINISHED)).is_ok_and(|lock| lock.is_file());
    Ok(is_begun || fs::read_dir(path)?.next().is_none())
}

/// Removes everything from an unfinished folder but the lock.
fn clear(unfinished: &Path) -> io::Result<()> {
    for entry in fs::read_dir(unfinished)? {
        let entry = entry?;
        if entry.file_name() == UNFINISHED {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Checks that the folder of a target exists. If a backup created it, it would fill another disk while the
/// right one is not mounted.
fn require_parent(target: &Path, place: &str) -> Result<(), ArchiveError> {
    let Some(parent) = target.parent() else { return Ok(()) };
    match fs::metadata(parent) {
        Ok(found) if found.is_dir() => Ok(()),
        Err(cause)
            if cause.kind() == io::ErrorKind::NotFound && parent.symlink_metadata().is_err() =>
        {
            Err(ArchiveError::NoFolder(parent.display().to_string()))
        }
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(ArchiveError::not_created(place, cause))
        }
        _ => Err(ArchiveError::Obstructed(place.to_owned())),
    }
}

/// Checks that an empty target, if it exists, can be replaced by the finished backup.
fn require_replaceable(target: &Path, place: &str) -> Result<(), ArchiveError> {
    match fs::remove_dir(target) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause)
            if matches!(
                cause.kind(),
                io::ErrorKind::ResourceBusy
                    | io::ErrorKind::CrossesDevices
                    | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(ArchiveError::Irreplaceable(place.to_owned()))
        }
        removed => {
            // Created again: its owner expects it if the backup fails.
            let tried = removed.and_then(|()| fs::create_dir(target));
            tried.map_err(|cause| ArchiveError::failed(place, cause))
        }
    }
}

/// Gives a whole backup its name, which replaces an empty folder.
fn rename(unfinished: &Unfinished) -> io::Result<()> {
    fs::rename(&unfinished.path, &unfinished.target)?;
    match unfinished.target.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
