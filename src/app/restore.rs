//! Restores a backup into the configured installation.

use std::{collections::HashSet, path::PathBuf};

use super::{
    backup::archive,
    database::ServerDatabase,
    error::StartError,
    keys::existing_ids,
    services::{ambient, erasure_ledger, services_for_erasures},
    storage,
};
use crate::{
    backup::{
        BackupError,
        restore::{
            Remaining, check_database, check_version, claim, column, leave_out_foreign, load,
            restore_files,
        },
        verify::verify,
    },
    config::Config,
    db::{
        Connection, Database, DbError, consumer, feed, installation, migrations,
        restore::{self, Rewound},
    },
    domain::{
        actor::Actor,
        backup::Manifest,
        clock::{Ambient, Timestamp},
        hex::hex,
    },
    service::erasure,
    storage::{backup::Archive, ledger::ErasureLedger},
};

/// The ledger of erasures before a restore.
#[derive(Debug)]
pub struct Ledger {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether the folder exists.
    pub exists: bool,
    /// The number of its entries.
    pub entries: usize,
    /// The number of the backup's erasures and redactions that it lacks.
    pub missing: usize,
}

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// The number of attachments that were copied.
    pub files: u64,
    /// The migrations that were applied to the backup's schema.
    pub migrated: Vec<String>,
    /// The number of mails that are not sent, because they may have been sent since the backup.
    pub held_back: u64,
    /// The ledger of erasures.
    pub ledger: Ledger,
    /// The number of accounts that were erased again.
    pub erased: usize,
    /// The number of texts and files that were redacted again.
    pub redacted: usize,
    /// Whether none of the backup's sealing keys is configured.
    pub lacks_keys: bool,
}

/// Restores a backup into an empty database. `source` is a folder, a tar archive or
/// `s3://bucket/prefix`. With
/// `without_ledger`, a ledger that lacks erasures of the backup is accepted.
///
/// The database is marked as unfinished first: no server starts on it until all is done. The rows are
/// loaded in one transaction. If this is interrupted, running it again does the rest.
///
/// # Errors
/// The backup is damaged or of a newer version, the database is not empty, the ledger of erasures is
/// not that of the installation, or the database, the storage or the ledger failed.
pub async fn restore(
    config: &Config,
    source: &str,
    without_ledger: bool,
) -> Result<Restored, StartError> {
    let archive = archive(config, source)?;
    let mut manifest = archive.manifest().await.map_err(BackupError::from)?;
    check_version(&manifest)?;
    leave_out_foreign(&mut manifest);
    let keys = existing_ids(config)?;
    let known = |id: &String| keys.iter().any(|key| hex(key) == *id);
    let lacks_keys = !manifest.sealing_keys.is_empty() && !manifest.sealing_keys.iter().any(known);
    let server = ServerDatabase::open_for_restore(config).await?;
    let options = Options { lacks_keys, without_ledger };
    let restored = into(config, &server, &archive, manifest, options).await;
    let restored = match restored {
        Ok(restored) => server.adopt(config).await.map(|()| restored),
        Err(error) => Err(error),
    };
    server.close().await;
    restored
}

/// What is known of a restore before it begins.
#[derive(Clone, Copy)]
struct Options {
    lacks_keys: bool,
    without_ledger: bool,
}

async fn into(
    config: &Config,
    server: &ServerDatabase,
    archive: &Archive,
    manifest: Manifest,
    Options { lacks_keys, without_ledger }: Options,
) -> Result<Restored, StartError> {
    let storage = storage::set_up_for_command(config)?;
    let database = server.connect(config)?;
    let lock = restore::RestoreLock::take(&database).await.map_err(BackupError::from)?;
    let lock = lock.ok_or(BackupError::UnderWay)?;
    let remaining = check_database(&database, &manifest).await?;
    if storage.is_none() && manifest.files() > 0 {
        return Err(BackupError::NoStorage.into());
    }
    if remaining == Remaining::All {
        claim(&database, &manifest).await?;
    }
    let ledger = match check(config, archive, &manifest, without_ledger).await {
        Ok(ledger) => ledger,
        Err(error) => {
            if remaining == Remaining::All {
                // The database is as it was before.
                restore::unmark(&database).await?;
            }
            return Err(error);
        }
    };
    // Boxed, since it is large.
    let restored = Box::pin(async {
        let files = restore_files(storage.as_ref(), archive, &manifest).await?;
        let rewound = rewound(&ambient());
        let mut held_back = None;
        if remaining == Remaining::All {
            tracing::info!(rows = manifest.rows(), "loading the database");
            held_back = load(&database, archive, &manifest, Some(rewound)).await?;
        }
        let migrated = migrations::run(&database).await?;
        let held_back = match held_back {
            Some(held_back) => held_back,
            None => forget_the_past(&database, rewound).await?,
        };
        // The files are in another storage than those of the backup.
        installation::replace_storage(&mut *database.read().await?, None).await?;
        let (erased, redacted) = follow_ledger(config, &database).await?;
        database.close();
        restore::unmark(&database).await?;
        Ok(Restored { manifest, files, migrated, held_back, ledger, erased, redacted, lacks_keys })
    });
    let restored = restored.await.map_err(|error| StartError::FailedRestore(Box::new(error)));
    drop(lock);
    restored
}

/// Checks all of a backup, and that the ledger has the erasures of it.
async fn check(
    config: &Config,
    archive: &Archive,
    manifest: &Manifest,
    without_ledger: bool,
) -> Result<Ledger, StartError> {
    tracing::info!(bytes = manifest.bytes(), "checking the backup");
    verify(archive, manifest).await?;
    let ledger = inspect_ledger(config, archive, manifest).await?;
    if ledger.missing == 0 || without_ledger {
        return Ok(ledger);
    }
    let Ledger { folder, entries, missing, .. } = ledger;
    Err(StartError::LedgerLacksEntries { folder, entries, missing })
}

async fn inspect_ledger(
    config: &Config,
    archive: &Archive,
    manifest: &Manifest,
) -> Result<Ledger, StartError> {
    let folder = erasure_ledger(config);
    let ledger = ErasureLedger::new(&folder);
    let found = [ledger.erased_accounts().await?, ledger.redactions().await?];
    let expected = [
        column(archive, manifest, "erasures", "account_id").await?,
        column(archive, manifest, "redactions", "name").await?,
    ];
    let missing = expected.iter().zip(&found).map(|(expected, found)| {
        let found = found.iter().collect::<HashSet<_>>();
        expected.iter().filter(|entry| !found.contains(entry)).count()
    });
    let missing = missing.sum();
    let entries = found.iter().map(Vec::len).sum();
    Ok(Ledger { exists: ledger.exists(), folder, entries, missing })
}

fn rewound(ambient: &Ambient) -> Rewound {
    Rewound { tag: i32::from_be_bytes(ambient.bytes()), now: ambient.now() }
}

/// Has all streams start again, and nobody notified twice. Returns how many mails are not sent.
async fn forget_the_past(
    database: &Database,
    Rewound { tag, now }: Rewound,
) -> Result<u64, DbError> {
    database
        .write_without_events(async |db| {
            open_epoch(db, tag, now).await?;
            consumer::skip_to_end(db, consumer::NOTIFICATIONS).await?;
            restore::hold_back_mail(db, now).await
        })
        .await
}

/// Opens an epoch in which no earlier cursor is good.
///
/// # Errors
/// The database failed.
pub async fn open_epoch(db: &mut Connection, tag: i32, now: Timestamp) -> Result<(), DbError> {
    feed::lock_head(db).await?;
    // Nobody knows up to where the history is still the same.
    feed::open_epoch(db, 0, tag, now).await
}

/// Erases and redacts again what the backup has brought back. Returns how many accounts, and how many
/// texts and files.
async fn follow_ledger(config: &Config, database: &Database) -> Result<(usize, usize), StartError> {
    let services = services_for_erasures(config, database.clone())?;
    let erased = erasure::follow_ledger(&Actor::System, &services, true).await;
    erased.map_err(StartError::Erasure)
}
