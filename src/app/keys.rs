//! The installation's own keys: configured, or kept in files beside the embedded database.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{StartError, mail::invalid_setting};
use crate::{config::Config, crypto::seal::Keyring, domain::clock::Ambient};

const SEALING_KEYS: &str = "security.sealing_keys";

/// The keys that seal. An installation with a database of its own has to name them:
/// a key that a program made up would be lost with its machine, and with it every
/// authenticator.
///
/// # Errors
/// None are named, or they can't be used.
pub(super) fn keyring(config: &Config, ambient: &Ambient) -> Result<Keyring, StartError> {
    let keys = match (&config.security.sealing_keys, &config.database.url) {
        (Some(keys), _) => keys.expose().to_owned(),
        (None, None) => {
            let folder = config.data_dir.join("keys");
            fs::create_dir_all(&folder).map_err(|error| {
                invalid_setting("data_dir")(format!("{}: {error}", folder.display()))
            })?;
            load_or_create_key(&folder.join("sealing.key"), ambient)?
        }
        (None, Some(_)) => {
            let problem = "is needed with a database of your own, and has no default: set it to \
                           what `openssl rand -hex 32` prints, and keep it as you keep the database";
            return Err(invalid_setting(SEALING_KEYS)(problem.into()));
        }
    };
    Keyring::parse(&keys).map_err(|problem| invalid_setting(SEALING_KEYS)(problem.into()))
}

/// The key that is kept in a file that its owner alone may read; made at first.
pub(super) fn load_or_create_key(path: &Path, ambient: &Ambient) -> Result<String, StartError> {
    let failed =
        |error: std::io::Error| invalid_setting("data_dir")(format!("{}: {error}", path.display()));
    match fs::read_to_string(path) {
        Ok(key) => return Ok(key.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let key = URL_SAFE_NO_PAD.encode(ambient.bytes::<32>());
    // Renamed into place, so that a crash leaves no half a key.
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .map_err(failed)?;
    file.write_all(key.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&part, path).map_err(failed)?;
    Ok(key)
}
