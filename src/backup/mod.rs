//! Backups: writing, checking and restoring them. The database comes first, in one snapshot, then
//! the attachments that it names. Keys are never part of a backup.

pub mod create;
mod error;
pub mod restore;
pub mod verify;

pub use error::BackupError;
