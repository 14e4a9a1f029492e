//! The installation's own keys: configured, or created in files next to the embedded database.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::error::{StartError, invalid_setting, unusable_setting};
use crate::{
    config::Config,
    crypto::seal::{KeyId, Keyring},
    db::{Database, DbError, embedded, sealing_key},
    domain::clock::Ambient,
};

const SEALING_KEYS: &str = "security.sealing_keys";

/// Returns the keys that encrypt secrets in the database, and never creates one. An installation with its
/// own database must configure them: a key created here would be lost with this machine, and every
/// authenticator with it.
///
/// # Errors
/// No keys are configured for your own database, the file of the key of the embedded one is missing, or
/// the keys cannot be used.
pub(super) fn keyring(config: &Config) -> Result<Keyring, StartError> {
    parse(config, |file| read_key(file)?.ok_or_else(|| missing(file)))
}

/// Returns the keys as [`keyring`] does. If the file of the key is missing, a key that is stored nowhere
/// stands in for it, for work that seals and opens nothing.
///
/// # Errors
/// As [`keyring`], except for a missing file.
pub(super) fn keyring_or_stand_in(
    config: &Config,
    ambient: &Ambient,
) -> Result<Keyring, StartError> {
    parse(config, |file| load_key_or_stand_in(file, ambient))
}

/// Creates the key of the embedded database, unless its file exists or keys are configured. The database
/// must not have been used with another one.
///
/// # Errors
/// The file cannot be read or created.
pub(super) fn create_missing_key(config: &Config, ambient: &Ambient) -> Result<(), StartError> {
    let Some(file) = file(config) else { return Ok(()) };
    embedded::create_data_dir(&config.data_dir)
        .and_then(|()| fs::create_dir_all(file.parent().unwrap_or(&file)))
        .map_err(|error| unusable(&file, &error))?;
    load_or_create_key(&file, ambient).map(drop)
}

/// Checks the form of the configured keys.
///
/// # Errors
/// A key that is too short, or none.
pub(super) fn check(config: &Config) -> Result<(), StartError> {
    let Some(keys) = &config.security.sealing_keys else { return Ok(()) };
    Keyring::parse(keys.expose()).map_err(|problem| invalid_setting(SEALING_KEYS, problem))?;
    Ok(())
}

/// Returns the ids of the keys. There are none before the first start on the embedded database.
///
/// # Errors
/// As [`keyring`], except for a missing file.
pub(super) fn existing_ids(config: &Config) -> Result<Vec<KeyId>, StartError> {
    match file(config) {
        Some(file) if !file.exists() => Ok(vec![]),
        _ => Ok(keyring(config)?.ids()),
    }
}

/// Returns where the keys are, as the subject of a sentence.
pub fn place_of_sealing_keys(config: &Config) -> String {
    file(config).map_or_else(|| SEALING_KEYS.into(), |file| file.display().to_string())
}

/// Returns the file of the embedded database's key, unless keys are configured.
fn file(config: &Config) -> Option<PathBuf> {
    let is_embedded = config.security.sealing_keys.is_none() && config.embeds_database();
    is_embedded.then(|| config.data_dir.join("keys/sealing.key"))
}

/// Parses the keys. `read` reads the file of the embedded database's key.
fn parse(
    config: &Config,
    read: impl FnOnce(&Path) -> Result<String, StartError>,
) -> Result<Keyring, StartError> {
    let keys = match (&config.security.sealing_keys, file(config)) {
        (Some(keys), _) => keys.expose().to_owned(),
        (None, Some(file)) => read(&file)?,
        (None, None) => {
            let problem = "is required with your own database and has no default: set it to the \
                           output of `openssl rand -hex 32`, and keep a copy apart from the backups";
            return Err(invalid_setting(SEALING_KEYS, problem));
        }
    };
    Keyring::parse(&keys).map_err(|problem| invalid_setting(SEALING_KEYS, problem))
}

/// Checks that the configured keys are those that the database was used with, and remembers new
/// ones. Creates the key of an embedded database that was used with none.
///
/// # Errors
/// None of the keys was used with this database before, or the file of its key is missing.
pub async fn check_sealing_keys(
    config: &Config,
    database: &Database,
    ambient: &Ambient,
) -> Result<(), StartError> {
    if existing_ids(config)?.is_empty() && used(database).await?.is_empty() {
        create_missing_key(config, ambient)?;
    }
    let ids = keyring(config)?.ids();
    let now = ambient.now();
    let known = database
        .write_without_events(async |db| {
            sealing_key::lock(db).await?;
            let used = sealing_key::used(db).await?;
            let known = is_known(&used, &ids);
            if known {
                sealing_key::add(db, &ids, now).await?;
            }
            Ok::<_, DbError>(known)
        })
        .await?;
    if !known {
        return Err(unknown_keys(config));
    }
    warn_of_unreadable_authenticators(database, &ids).await
}

/// Compares as [`check_sealing_keys`] does, and changes nothing.
///
/// # Errors
/// As [`check_sealing_keys`].
pub async fn compare_sealing_keys(config: &Config, database: &Database) -> Result<(), StartError> {
    let (ids, used) = (existing_ids(config)?, used(database).await?);
    if !is_known(&used, &ids) {
        // Says so if the file of the key is missing.
        keyring(config)?;
        return Err(unknown_keys(config));
    }
    warn_of_unreadable_authenticators(database, &ids).await
}

/// Returns the ids of the keys that the database was used with.
async fn used(database: &Database) -> Result<Vec<Vec<u8>>, DbError> {
    sealing_key::used(&mut *database.read().await?).await
}

/// Whether one of the keys was used before, or none was.
fn is_known(used: &[Vec<u8>], ids: &[KeyId]) -> bool {
    used.is_empty() || ids.iter().any(|id| used.contains(&id.to_vec()))
}

/// What to do without the former keys.
const LOST: &str = "If the former keys are lost, run `ticketwire accept-sealing-keys`";

/// Returns the error for a file of the embedded database's key that does not exist.
fn missing(file: &Path) -> StartError {
    let file = file.display();
    let problem = format!("is not set, and {file} is missing: put the former key there. {LOST}");
    unusable_setting(SEALING_KEYS, problem)
}

fn unknown_keys(config: &Config) -> StartError {
    let problem = match file(config) {
        None => format!(
            "has none of the keys that secrets in this database are sealed with: set it to the former \
             keys, and to change a key put the new one in front of them. {LOST}"
        ),
        Some(file) => format!(
            "is not set, and {} is not the key that secrets in this database are sealed with: put the \
             former key there. {LOST}",
            file.display()
        ),
    };
    invalid_setting(SEALING_KEYS, problem)
}

/// A key was removed before all authenticators that were sealed with it had been used again.
async fn warn_of_unreadable_authenticators(
    database: &Database,
    ids: &[KeyId],
) -> Result<(), StartError> {
    let mut connection = database.read().await?;
    let authenticators = sealing_key::unreadable_authenticators(&mut connection, ids).await?;
    if authenticators > 0 {
        tracing::warn!(
            authenticators,
            "some authenticators are sealed with a key that is not among security.sealing_keys; \
             their owners cannot sign in: add the key again, or reset their second factors"
        );
    }
    Ok(())
}

/// Accepts the configured keys in place of those that the database was used with, or creates the key of the
/// embedded database if its file is missing. Returns how many authenticators can no longer be used.
///
/// # Errors
/// The keys cannot be used, or the database failed.
pub async fn accept_sealing_keys(
    config: &Config,
    database: &Database,
    ambient: &Ambient,
) -> Result<i64, StartError> {
    create_missing_key(config, ambient)?;
    let ids = keyring(config)?.ids();
    let now = ambient.now();
    Ok(database
        .write_without_events(async |db| {
            sealing_key::lock(db).await?;
            sealing_key::clear(db).await?;
            sealing_key::add(db, &ids, now).await?;
            sealing_key::unreadable_authenticators(db, &ids).await
        })
        .await?)
}

/// Returns the key in a file that only its owner may read. Creates the file if it does not exist.
pub(super) fn load_or_create_key(path: &Path, ambient: &Ambient) -> Result<String, StartError> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let key = new_key(ambient);
    write_key(path, &key).map_err(|error| unusable(path, &error))?;
    Ok(key)
}

/// Returns the key in a file or, if that does not exist, one that is stored nowhere.
pub(super) fn load_key_or_stand_in(path: &Path, ambient: &Ambient) -> Result<String, StartError> {
    Ok(read_key(path)?.unwrap_or_else(|| new_key(ambient)))
}

/// Returns the key in a file, or `None` if that does not exist.
fn read_key(path: &Path) -> Result<Option<String>, StartError> {
    match fs::read_to_string(path) {
        Ok(key) => Ok(Some(key.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn new_key(ambient: &Ambient) -> String {
    URL_SAFE_NO_PAD.encode(ambient.bytes::<32>())
}

/// Writes another file and renames it, so that a crash never leaves half a key.
fn write_key(path: &Path, key: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(key.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)
}

fn unusable(path: &Path, error: &io::Error) -> StartError {
    unusable_setting("data_dir", format!("cannot be used: {}: {error}", path.display()))
}
