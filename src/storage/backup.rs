//! Backups as they are stored: a folder, a tar archive, or a prefix of an S3 bucket.
//!
//! | object | content |
//! |---|---|
//! | `manifest.json` | what the backup consists of; written last |
//! | `manifest.json.sha256` | its checksum, as `sha256sum` writes it |
//! | `database/TABLE.gz` | the rows of a table |
//! | `attachments.gz` | the list of the attachments |
//! | `attachments/ID` | the content of an attachment |
//!
//! A folder or an archive has another name until it is whole: `.unfinished` is appended. A bucket has
//! no names that change: there the object `unfinished` exists meanwhile, which names the run, and
//! `manifest.json` does not.

mod archive;
mod error;
mod layout;
mod lease;
mod new;
mod ownership;
mod reader;
mod tar_file;
#[cfg(test)]
mod tests;
mod writer;

pub use archive::Archive;
pub use error::ArchiveError;
pub use lease::Run;
pub use new::NewArchive;
pub use reader::{IndexReader, ObjectReader, PartReader};
pub use writer::{ObjectWriter, PartWriter};
