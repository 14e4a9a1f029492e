//! Upgrades the embedded database to a newer major version of Postgres.

use std::path::{Path, PathBuf};

use super::{
    backup::complete,
    database::{DATABASE, UNFINISHED, embedded_settings},
    error::{StartError, invalid_setting},
    services::ambient,
};
use crate::{
    backup::{
        BackupError,
        create::{Files, create},
        restore::{check_version, load},
    },
    config::Config,
    db::{
        Database,
        embedded::{ClusterUpgrade, UpgradeServer},
        provision,
    },
    domain::backup::Manifest,
    storage::backup::{Archive, NewArchive},
};

/// The result of an upgrade.
#[derive(Debug)]
pub struct Upgraded {
    /// The former major version.
    pub from: u32,
    /// The new major version.
    pub to: u32,
    /// The number of rows that were copied.
    pub rows: u64,
    /// The folder of the former cluster.
    pub aside: PathBuf,
}

/// Copies the rows of the embedded database into a new cluster, created by the newest programs, and
/// puts it in the place of the old one, which stays aside.
///
/// # Errors
/// The database is not embedded or a server uses it, programs are missing, or copying failed.
/// Nothing has changed then.
pub async fn upgrade_database(config: &Config) -> Result<Upgraded, StartError> {
    if !config.embeds_database() {
        let problem = "is set, and this command upgrades the embedded database only: upgrade your \
                       own with the tools of Postgres, such as pg_upgrade";
        return Err(invalid_setting("database.url", problem));
    }
    let upgrade = ClusterUpgrade::prepare(&embedded_settings(config)).await?;
    let (from, to) = upgrade.majors();
    tracing::info!(from, to, "upgrading the embedded database");
    match transfer(&upgrade).await {
        Ok(rows) => Ok(Upgraded { from, to, rows, aside: upgrade.finish()? }),
        Err(error) => {
            if let Err(error) = upgrade.abandon() {
                tracing::error!(%error, "removing an incomplete upgrade failed");
            }
            Err(error)
        }
    }
}

/// Copies the rows from the old server to the new one, and returns their number.
async fn transfer(upgrade: &ClusterUpgrade) -> Result<u64, StartError> {
    let folder = upgrade.rows();
    let old = upgrade.start_old().await?;
    let copied = copy(&old, &folder).await;
    old.stop().await?;
    let copied = copied?;
    let new = upgrade.start_new().await?;
    let filled = fill(&new, &folder, copied.as_ref()).await;
    new.stop().await?;
    filled?;
    Ok(copied.map_or(0, |manifest| manifest.rows()))
}

/// Copies the rows of the database into a folder. Returns `None` if there is no database yet.
async fn copy(server: &UpgradeServer, folder: &Path) -> Result<Option<Manifest>, StartError> {
    let admin = Database::new(&server.url("postgres"), 2)?;
    if !provision::exists(&admin, DATABASE).await? {
        return Ok(None);
    }
    let database = Database::new(&server.url(DATABASE), 2)?;
    let new = NewArchive::in_folder(folder).map_err(BackupError::from)?;
    let created = create(&database, Files::Without, new.archive(), ambient().now()).await;
    let manifest = complete(new, created).await?;
    check_version(&manifest)?;
    Ok(Some(manifest))
}

/// Creates the database on the new server.
async fn fill(
    server: &UpgradeServer,
    folder: &Path,
    copied: Option<&Manifest>,
) -> Result<(), StartError> {
    let Some(manifest) = copied else { return Ok(()) };
    let admin = Database::new(&server.url("postgres"), 2)?;
    provision::recreate(&admin, UNFINISHED).await?;
    let database = Database::new(&server.url(UNFINISHED), 2)?;
    let archive = Archive::in_folder(folder).map_err(BackupError::from)?;
    load(&database, &archive, manifest, None).await?;
    database.close();
    Ok(provision::rename(&admin, UNFINISHED, DATABASE).await?)
}
