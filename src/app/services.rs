//! Builds the use cases from the configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;

use super::{
    error::{StartError, invalid_setting, unusable_setting},
    keys::{keyring, keyring_or_stand_in},
    storage,
};
use crate::{
    config::{Config, RequirementName},
    crypto::{
        password::{PasswordCost, Passwords},
        random::SystemRandomness,
        seal::Keyring,
    },
    db::{Database, embedded},
    domain::{
        attachment::Limits,
        clock::{Ambient, SystemClock},
        second_factor::{Requirement, Requirements},
        ticket::NumberPrefix,
    },
    service::{AccountLimits, Branding, Retention, Services, Settings},
    storage::ledger::ErasureLedger,
};

/// Returns the system's clock and randomness.
pub fn ambient() -> Ambient {
    Ambient::new(Arc::new(SystemClock), Arc::new(SystemRandomness))
}

/// Returns the use cases over a database.
///
/// # Errors
/// Settings that cannot be used.
pub fn services(
    config: &Config,
    database: Database,
    ambient: Ambient,
    cost: PasswordCost,
) -> Result<Services, StartError> {
    with_keys(config, database, ambient, cost, keyring(config)?)
}

/// Returns the use cases that repeat erasures. They seal and open nothing, so the file of the sealing key
/// may be missing: after a restore, it may have to be put back yet.
///
/// # Errors
/// Settings that cannot be used.
pub fn services_for_erasures(config: &Config, database: Database) -> Result<Services, StartError> {
    let ambient = ambient();
    let keys = keyring_or_stand_in(config, &ambient)?;
    with_keys(config, database, ambient, PasswordCost::default(), keys)
}

fn with_keys(
    config: &Config,
    database: Database,
    ambient: Ambient,
    cost: PasswordCost,
    keys: Keyring,
) -> Result<Services, StartError> {
    let passwords = Passwords::new(cost, ambient.clone())?;
    let services = Services::new(database, ambient, passwords, keys, settings(config)?);
    Ok(match storage::set_up(config)? {
        Some(storage) => services.with_storage(storage),
        None => services,
    })
}

/// Returns the part of the configuration that the use cases depend on.
pub(super) fn settings(config: &Config) -> Result<Settings, StartError> {
    Ok(Settings {
        number_prefix: number_prefix(config)?,
        session_lifetime: TimeDelta::hours(config.sessions.lifetime_hours.into()),
        session_idle: TimeDelta::hours(config.sessions.idle_hours.into()),
        retention: Retention {
            ended_session: days(config.retention.ended_session_days),
            origin: days(config.retention.origin_days),
            delivery: days(config.retention.delivery_days),
        },
        second_factors: Requirements {
            customers: requirement(config.second_factor.customers),
            staff: requirement(config.second_factor.staff),
        },
        issuer: config.second_factor.issuer.clone(),
        branding: Branding {
            name: config.branding.name.trim().to_owned(),
            logo: config.branding.logo.clone(),
            color: config.branding.color.clone(),
            imprint: config.branding.imprint.clone(),
            privacy: config.branding.privacy.clone(),
        },
        attachments: Limits {
            max_file_bytes: config.attachments.max_file_bytes,
            max_files: config.attachments.max_files,
            max_total_bytes: config.attachments.max_total_bytes,
        },
        erasure_ledger: erasure_ledger(config),
        limits: AccountLimits {
            unused_files: config.limits.unused_files_per_account,
            customer_upload_bytes_per_day: config.limits.customer_upload_bytes_per_day,
            tickets_per_minute: config.limits.tickets_per_minute,
            customer_comments_per_minute: config.limits.customer_comments_per_minute,
            staff_comments_per_minute: config.limits.staff_comments_per_minute,
            customer_changes_per_minute: config.limits.customer_changes_per_minute,
            service_token_calls_per_minute: config.limits.service_token_calls_per_minute,
            guesses_per_hour: config.limits.guesses_per_hour,
        },
        base_url: config.links.base_url.clone(),
        close_resolved_after: days(config.tickets.close_resolved_after_days),
        timeline_cache_bytes: config.limits.timeline_cache_bytes,
        search_timeout: Duration::from_secs(config.limits.search_seconds.into()),
    })
}

/// Returns the start of every ticket number.
pub(super) fn number_prefix(config: &Config) -> Result<NumberPrefix, StartError> {
    NumberPrefix::parse(&config.tickets.prefix)
        .map_err(|problem| invalid_setting("tickets.prefix", problem))
}

/// Whether this node can send mail: to a mail server, or to files with the embedded database.
pub(super) fn can_send_mail(config: &Config) -> bool {
    config.mail.smtp_url.is_some() || config.embeds_database()
}

/// Creates the folder of the ledger of erasures. Otherwise the first erasure would fail, maybe years
/// later.
///
/// # Errors
/// The folder cannot be created. The message names the setting and says what to do.
pub(super) fn create_erasure_ledger(config: &Config) -> Result<(), StartError> {
    let folder = erasure_ledger(config);
    let is_configured = config.storage.erasure_ledger.is_some();
    let key = if is_configured { "storage.erasure_ledger" } else { "data_dir" };
    // The ledger may be the first thing in the data folder, in which an embedded Postgres can follow.
    let data_dir = if is_configured { Ok(()) } else { embedded::create_data_dir(&config.data_dir) };
    data_dir.and_then(|()| fs::create_dir_all(&folder)).map_err(|error| {
        let folder = folder.display();
        unusable_setting(
            key,
            format!(
                "cannot be used: {folder}: {error}. Create the folder with the user of the server as \
                 its owner, or set another. Under systemd, also allow it: ReadWritePaths={folder}"
            ),
        )
    })
}

/// Returns the folder that records erased accounts.
pub(super) fn erasure_ledger(config: &Config) -> PathBuf {
    let configured = config.storage.erasure_ledger.clone();
    configured.unwrap_or_else(|| config.data_dir.join("erasures"))
}

/// Returns the folders of the ledger of erasures: the one that records erased accounts, and the one in it
/// that records redactions.
pub fn erasure_ledger_folders(config: &Config) -> [PathBuf; 2] {
    ErasureLedger::new(&erasure_ledger(config)).folders().map(Path::to_path_buf)
}

/// Returns a number of days as a time, or `None` for 0, which stands for no limit.
fn days(count: u32) -> Option<TimeDelta> {
    (count > 0).then(|| TimeDelta::days(count.into()))
}

fn requirement(name: RequirementName) -> Requirement {
    match name {
        RequirementName::Offered => Requirement::Offered,
        RequirementName::Required => Requirement::Required,
    }
}
