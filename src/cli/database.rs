//! Commands that only need the database, and what such commands share.

use super::output::{CliResult, print};
use crate::{
    app::{self, ServerDatabase, StartError},
    config::Config,
    crypto::password::PasswordCost,
    db::{Database, DbError, migrations},
    domain::actor::Actor,
    service::{Services, erasure},
};

/// Returns a sentence about the migrations that only a newer version knows, or an empty text if there
/// are none.
pub(super) fn newer(unknown: &[String]) -> String {
    match unknown.join(", ") {
        none if none.is_empty() => none,
        versions => format!(
            "WARNING: a newer version of Ticketwire has migrated this database: {versions}. Use that \
             version.\n"
        ),
    }
}

/// Runs `work` over the database, and closes it afterwards.
async fn over_database<T>(
    config: &Config,
    work: impl AsyncFnOnce(Database) -> CliResult<T>,
) -> CliResult<T> {
    let store = ServerDatabase::open_for_command(config).await?;
    let done = async { work(store.connect(config)?).await }.await;
    store.close().await;
    done
}

/// `migrate`: applies pending migrations.
pub(super) async fn migrate(config: &Config) -> CliResult {
    let applied = over_database(config, async |database| {
        app::refuse_read_only(&database).await?;
        app::refuse_unfinished_restore(&database).await?;
        let applied = migrations::run(&database).await?;
        Ok((applied, migrations::compare(&database).await?.unknown))
    });
    let (applied, unknown) = applied.await?;
    let text = match (applied.as_slice(), newer(&unknown)) {
        ([], none) if none.is_empty() => "The database is up to date.\n".to_owned(),
        (applied, newer) => {
            applied.iter().map(|name| format!("Applied {name}\n")).collect::<String>() + &newer
        }
    };
    print(&text)
}

/// `restored`: opens a new epoch in which no earlier cursor is good, and erases the accounts again
/// that the backup has brought back.
pub(super) async fn restored(config: &Config) -> CliResult {
    let erased = over_database(config, async |database| {
        app::bring_up_to_date(config, &database).await?;
        open_epoch(&database).await?;
        let services = app::services_for_erasures(config, database)?;
        let erased = erasure::follow_ledger(&Actor::System, &services, true).await;
        Ok(erased.map_err(StartError::Erasure)?)
    });
    let (erased, redacted) = erased.await?;
    print(&format!(
        "All live streams will start again: their clients read their data again. Accounts that \
         were erased again: {erased}. Texts and files that were redacted again: {redacted}.\n"
    ))
}

/// `accept-sealing-keys`: accepts other keys than those that the database was used with.
pub(super) async fn accept_sealing_keys(config: &Config) -> CliResult {
    let accepted = over_database(config, async |database| {
        app::bring_up_to_date(config, &database).await?;
        Ok(app::accept_sealing_keys(config, &database, &app::ambient()).await?)
    });
    let authenticators = accepted.await?;
    print(&format!(
        "The configured sealing keys are accepted. Authenticators that can no longer be used: \
         {authenticators}. Reset them with `ticketwire user reset-second-factor`.\n"
    ))
}

/// `accept-storage`: accepts the configured storage of attachments in place of the former one.
pub(super) async fn accept_storage(config: &Config) -> CliResult {
    let accepted = over_database(config, async |database| {
        app::bring_up_to_date(config, &database).await?;
        Ok(app::accept_storage(config, &database, &app::ambient()).await?)
    });
    print(&match accepted.await? {
        None => "The configured storage of attachments is accepted.\n".to_owned(),
        Some(files) => format!(
            "WARNING: The configured storage of attachments is accepted, but has none of the {files} \
             newest attachments. If that is a mistake, run the command again with the right one.\n"
        ),
    })
}

async fn open_epoch(database: &Database) -> Result<(), DbError> {
    let ambient = app::ambient();
    let (now, tag) = (ambient.now(), i32::from_be_bytes(ambient.bytes()));
    database.write_without_events(async |db| app::open_epoch(db, tag, now).await).await
}

/// Runs `work` with the use cases over the database, which is brought up to date first.
pub(super) async fn with_services<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Services) -> CliResult<T>,
) -> CliResult<T> {
    let prepare = async |pool: &Database| {
        app::bring_up_to_date(config, pool).await?;
        app::check_sealing_keys(config, pool, &app::ambient()).await
    };
    with_services_over(config, prepare, work).await
}

/// Runs `work`, which only reads, with the use cases over the database. Changes nothing: the database
/// must be up to date.
pub(super) async fn with_services_to_read<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Services) -> CliResult<T>,
) -> CliResult<T> {
    let prepare = async |pool: &Database| {
        app::refuse_unfinished_restore(pool).await?;
        app::refuse_outdated(pool).await?;
        app::compare_sealing_keys(config, pool).await
    };
    with_services_over(config, prepare, work).await
}

async fn with_services_over<T>(
    config: &Config,
    prepare: impl AsyncFnOnce(&Database) -> Result<(), StartError>,
    work: impl AsyncFnOnce(&Services) -> CliResult<T>,
) -> CliResult<T> {
    over_database(config, async |database| {
        prepare(&database).await?;
        work(&app::services(config, database, app::ambient(), PasswordCost::default())?).await
    })
    .await
}
