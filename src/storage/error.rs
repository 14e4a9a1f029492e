//! Why the storage of attachments failed.

use std::{io, path::PathBuf};

use uuid::Uuid;

use crate::domain::causes::with_causes;

/// The code of S3 for a bucket that does not exist.
const NO_BUCKET: &str = "<Code>NoSuchBucket</Code>";

/// The storage failed. The text is meant for the log.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Reading or writing failed.
    #[error("the attachment storage failed: {}", reason(.0))]
    Store(object_store::Error),
    /// The bucket does not exist.
    #[error(
        "the bucket of the attachments does not exist: create it, or correct `storage.s3.bucket` and \
         `storage.s3.endpoint`"
    )]
    NoBucket,
    /// The storage folder cannot be accessed.
    #[error(
        "the storage folder cannot be accessed: {}: {source}. See whether its disk is mounted and the user \
         of the server may read and write it, or correct `storage.folder`",
        .path.display()
    )]
    Folder {
        /// The folder, or what is in it.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// What the storage contains is wrong.
    #[error("the attachment storage failed: {0}")]
    Content(&'static str),
    /// The path of the storage folder is not supported.
    #[error("the path of the storage folder is not supported: {0}")]
    Name(#[from] object_store::path::Error),
    /// The storage is not the one in which the installation keeps its attachments.
    #[error(
        "the attachment storage has {}, and that of the installation has the id {expected}: mount its \
         folder, or correct `storage.folder` or `storage.s3`. If all files have moved to this storage, \
         run `ticketwire accept-storage`",
        .found.map_or_else(|| "no id".to_owned(), |id| format!("the id {id}"))
    )]
    Foreign {
        /// The id of the installation's storage.
        expected: Uuid,
        /// The id of this storage.
        found: Option<Uuid>,
    },
    /// The storage has none of the files that it should have.
    #[error(
        "the attachment storage has none of the {0} newest attachments: mount the folder, or correct \
         `storage.folder` or `storage.s3`. If they are lost, run `ticketwire accept-storage`"
    )]
    Empty(usize),
    /// The disk of the folder has no room for uploads.
    #[error(
        "only {free} bytes are free on the disk of the storage folder, and uploads leave {reserve}: \
         enlarge the disk, or delete what does not belong to Ticketwire"
    )]
    Full {
        /// The free bytes.
        free: u64,
        /// How many bytes uploads leave free.
        reserve: u64,
    },
}

impl StorageError {
    /// Whether the storage works, and is another one than that of the installation.
    pub fn is_of_another(&self) -> bool {
        matches!(self, Self::Foreign { .. } | Self::Empty(_))
    }
}

impl From<object_store::Error> for StorageError {
    fn from(error: object_store::Error) -> Self {
        if names_no_bucket(&error) { Self::NoBucket } else { Self::Store(error) }
    }
}

/// Whether an error says that nothing is stored at a path.
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && !names_no_bucket(error)
}

/// Whether an error says that there is no bucket.
pub(super) fn names_no_bucket(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && with_causes(error).contains(NO_BUCKET)
}

/// Returns why a store failed. The text of the same failure is the same each time: it has neither
/// durations nor ids of requests. Of what an S3 server answers it has the code and the message only,
/// since the rest may repeat what was sent.
pub(super) fn reason(error: &object_store::Error) -> String {
    let text = with_causes(error);
    // "Error performing GET http://host/bucket/path in 12ms, after 5 retries, …  - reason".
    let Some((_, performed)) = text.split_once("Error performing ") else { return text };
    let Some((request, rest)) = performed.split_once(" in ") else { return text };
    let Some((_, answer)) = rest.split_once(" - ") else { return text };
    let (answer, body) = answer.split_once(": <").unwrap_or((answer, ""));
    let element = |name: &str| {
        let (_, after) = body.split_once(&format!("<{name}>"))?;
        Some(after.split_once(&format!("</{name}>"))?.0)
    };
    let parts = [Some(request), Some(answer), element("Code"), element("Message")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}
