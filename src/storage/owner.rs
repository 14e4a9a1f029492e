//! Who owns what a command creates. A command that root runs must not leave files behind which the
//! server, as another user, cannot read.

use std::{
    fs::{self, DirBuilder},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt as _, lchown},
    path::Path,
};

/// Gives a new file or folder to the owner of the folder that it is in, if root has created it.
///
/// # Errors
/// The folder cannot be read, or the owner cannot be changed.
pub(super) fn inherit(path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let path = std::path::absolute(path)?;
    let Some(folder) = path.parent() else { return Ok(()) };
    let owner = fs::metadata(folder)?;
    lchown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Creates a folder and those above it, each with the owner of the one it is in.
///
/// # Errors
/// A folder cannot be created.
pub(super) fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_folders(above)?;
    }
    match DirBuilder::new().create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created.and_then(|()| inherit(folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_creates_belongs_to_the_owner_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        let file = deep.join("file");
        // Others cannot give anything away.
        let owner = if rustix::process::geteuid().is_root() {
            lchown(root.path(), Some(12_345), Some(12_346)).unwrap();
            (12_345, 12_346)
        } else {
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        };
        create_folders(&deep).unwrap();
        create_folders(&deep).unwrap();
        fs::write(&file, "").unwrap();
        inherit(&file).unwrap();
        for path in [deep.parent().unwrap(), &deep, &file] {
            let metadata = fs::metadata(path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), owner, "{}", path.display());
        }
    }
}
