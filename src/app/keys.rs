//! The installation's own keys: configured, or created in files next to the embedded database.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::error::{StartError, invalid_setting};
use crate::{config::Config, crypto::seal::Keyring, domain::clock::Ambient};

const SEALING_KEYS: &str = "security.sealing_keys";

/// Returns the keys that encrypt secrets in the database. An installation with its own database
/// must configure them: a key created here would be lost with this machine, and every
/// authenticator with it.
///
/// # Errors
/// No keys are configured for your own database, or the keys cannot be used.
pub(super) fn keyring(config: &Config, ambient: &Ambient) -> Result<Keyring, StartError> {
    let keys = match &config.security.sealing_keys {
        Some(keys) => keys.expose().to_owned(),
        None if config.embeds_database() => create_sealing_key(config, ambient)?,
        None => {
            let problem = "is required with your own database and has no default: set it to the \
                           output of `openssl rand -hex 32`, and back it up with the database";
            return Err(invalid_setting(SEALING_KEYS, problem));
        }
    };
    Keyring::parse(&keys).map_err(|problem| invalid_setting(SEALING_KEYS, problem))
}

fn create_sealing_key(config: &Config, ambient: &Ambient) -> Result<String, StartError> {
    let folder = config.data_dir.join("keys");
    fs::create_dir_all(&folder).map_err(|error| unusable(&folder, &error))?;
    load_or_create_key(&folder.join("sealing.key"), ambient)
}

/// Returns the key in a file that only its owner may read. Creates the file if it does not exist.
pub(super) fn load_or_create_key(path: &Path, ambient: &Ambient) -> Result<String, StartError> {
    match fs::read_to_string(path) {
        Ok(key) => return Ok(key.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(path, &error)),
    }
    let key = URL_SAFE_NO_PAD.encode(ambient.bytes::<32>());
    write_key(path, &key).map_err(|error| unusable(path, &error))?;
    Ok(key)
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
    invalid_setting("data_dir", format!("cannot be used: {}: {error}", path.display()))
}
