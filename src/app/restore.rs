//! Restores a backup into the configured installation.

use super::{
    backup::archive,
    database::ServerDatabase,
    error::StartError,
    keys::keyring,
    services::{ambient, services},
    storage,
};
use crate::{
    backup::{
        BackupError,
        restore::{Remaining, check_database, check_version, claim, load, restore_files},
        verify::verify,
    },
    config::Config,
    crypto::password::PasswordCost,
    db::{
        Connection, Database, DbError, consumer, feed, migrations,
        restore::{self, Rewound},
    },
    domain::{
        actor::Actor,
        backup::Manifest,
        clock::{Ambient, Timestamp},
    },
    service::erasure,
    storage::backup::Archive,
};

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
    /// The number of accounts that were erased again.
    pub erased: usize,
    /// The number of texts and files that were redacted again.
    pub redacted: usize,
    /// Whether none of the backup's sealing keys is configured.
    pub lacks_keys: bool,
}

/// Restores a backup into an empty database. `source` is a folder or `s3://bucket/prefix`.
///
/// The database is marked as unfinished first: no server starts on it until all is done. The rows are
/// loaded in one transaction. If this is interrupted, running it again does the rest.
///
/// # Errors
/// The backup is damaged or of a newer version, the database is not empty, or the database, the
/// storage or the ledger of erasures failed.
pub async fn restore(config: &Config, source: &str) -> Result<Restored, StartError> {
    let archive = archive(config, source)?;
    let manifest = archive.manifest().await.map_err(BackupError::from)?;
    check_version(&manifest)?;
    let keys = keyring(config, &ambient())?.ids();
    let known = |id: &String| keys.iter().any(|key| hex(key) == *id);
    let lacks_keys = !manifest.sealing_keys.is_empty() && !manifest.sealing_keys.iter().any(known);
    let server = ServerDatabase::open_for_restore(config).await?;
    let restored = into(config, &server, &archive, manifest, lacks_keys).await;
    let restored = match restored {
        Ok(restored) => server.adopt(config).await.map(|()| restored),
        Err(error) => Err(error),
    };
    server.close().await;
    restored
}

async fn into(
    config: &Config,
    server: &ServerDatabase,
    archive: &Archive,
    manifest: Manifest,
    lacks_keys: bool,
) -> Result<Restored, StartError> {
    let storage = storage::set_up(config)?;
    let database = server.connect(config)?;
    let remaining = check_database(&database, &manifest).await?;
    if storage.is_none() && manifest.files() > 0 {
        return Err(BackupError::NoStorage.into());
    }
    if remaining == Remaining::All {
        claim(&database, &manifest).await?;
    }
    tracing::info!(bytes = manifest.bytes(), "checking the backup");
    if let Err(error) = verify(archive, &manifest).await {
        if remaining == Remaining::All {
            // The database is as it was before.
            restore::unmark(&database).await?;
        }
        return Err(error.into());
    }
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
    let (erased, redacted) = follow_ledger(config, &database).await?;
    database.close();
    restore::unmark(&database).await?;
    Ok(Restored { manifest, files, migrated, held_back, erased, redacted, lacks_keys })
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
    let services = services(config, database.clone(), ambient(), PasswordCost::default())?;
    let erased = erasure::follow_ledger(&Actor::System, &services, true).await;
    erased.map_err(StartError::Erasure)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
