//! Why a backup cannot be taken, checked or restored.

use crate::{
    db::DbError,
    storage::{StorageError, backup::ArchiveError},
};

/// Why a backup cannot be taken, checked or restored, in words for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The place of the backup.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The storage of attachments failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The database has no schema of ours.
    #[error("the database has no data of Ticketwire: check DATABASE_URL")]
    NoSchema,
    /// There are attachments, and no storage is configured.
    #[error(
        "there are attachments, and no storage is configured for them: set storage.folder or \
         storage.s3.bucket"
    )]
    NoStorage,
    /// The storage has none of the attachments.
    #[error(
        "the storage has none of the {0} attachments that the database names: check storage.folder \
         and storage.s3"
    )]
    WrongStorage(u64),
    /// The backup has migrations that this version does not know.
    #[error(
        "the backup is of a newer version, Ticketwire {program} with the schema {schema}: restore \
         it with that version or a newer one"
    )]
    NewerSchema {
        /// The version that took the backup.
        program: String,
        /// The backup's schema.
        schema: String,
    },
    /// The database has migrations that the backup does not have.
    #[error(
        "the schema of the database is newer than that of the backup ({0}): restore into a new \
         database without tables (`createdb`). The schema is brought up to date afterwards"
    )]
    OlderThanDatabase(String),
    /// The database has data.
    #[error(
        "the database has accounts, tickets or events already, and a restore replaces nothing: \
         restore into a new database without tables (`createdb`), or move the data folder away if \
         it is the embedded one"
    )]
    Used,
    /// The database has tables of something else.
    #[error(
        "the database has tables that are not of Ticketwire: restore into a new database without \
         tables (`createdb`)"
    )]
    ForeignTables,
    /// Another backup was being restored.
    #[error(
        "the restore of the backup of {0} into this database was interrupted: run `ticketwire \
         restore` with that backup again, or restore into a new database without tables \
         (`createdb`)"
    )]
    OtherUnfinished(String),
    /// Another restore changes the database.
    #[error(
        "another restore into this database is under way: wait until it ends. If it was killed, its \
         connection ends within minutes"
    )]
    UnderWay,
    /// Servers or commands are connected to the database.
    #[error(
        "{0} connections of servers or commands use the database: stop them, and run the command \
         again"
    )]
    InUse(i64),
    /// The database accepted other rows than the backup has.
    #[error("{table}: the database accepted {found} rows instead of {expected}")]
    RowCount {
        /// The table.
        table: String,
        /// The number of rows that the database accepted.
        found: u64,
        /// The number of rows in the backup.
        expected: u64,
    },
}
