//! The names of the objects of a backup.

use object_store::path::Path;

use crate::domain::backup::{ATTACHMENTS, INDEX, TABLES};

/// The name of the manifest.
pub(super) const MANIFEST: &str = "manifest.json";
/// The name of the manifest's checksum.
pub(super) const CHECKSUM: &str = "manifest.json.sha256";
/// The name of the object that marks an unfinished backup in a bucket, and of the lock in a folder,
/// and the end of the name of an unfinished folder or file.
pub(super) const UNFINISHED: &str = "unfinished";

/// Returns whether a backup below a root writes an object with this path.
pub(super) fn is_of_backup(root: &Path, object: &Path) -> bool {
    let Some(parts) = object.prefix_match(root) else { return false };
    match parts.collect::<Vec<_>>().as_slice() {
        [name] => [MANIFEST, CHECKSUM, UNFINISHED, INDEX].contains(&name.as_ref()),
        [folder, _] => [TABLES, ATTACHMENTS].contains(&folder.as_ref()),
        _ => false,
    }
}

/// Returns the path of an object.
pub(super) fn below(root: &Path, name: &str) -> Path {
    name.split('/').fold(root.clone(), Path::join)
}
