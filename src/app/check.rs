//! The settings whose form only the parts of the server know, checked before anything is done.

use super::{
    error::{StartError, invalid_setting},
    keys, mail, services,
};
use crate::{config::Config, db::Database, http::Origins};

/// Checks the form of the settings that are set. Reads no file and asks nobody.
///
/// # Errors
/// `Config` for the first value that is refused.
pub fn check_config(config: &Config) -> Result<(), StartError> {
    if let Some(url) = &config.database.url {
        Database::check_url(url.expose())
            .map_err(|problem| invalid_setting("database.url", problem))?;
    }
    origins(config)?;
    services::number_prefix(config)?;
    keys::check(config)?;
    mail::check(config)
}

/// Returns the origins whose pages may call the API.
pub(super) fn origins(config: &Config) -> Result<Origins, StartError> {
    Origins::parse(&config.allowed_origins)
        .map_err(|problem| invalid_setting("allowed_origins", problem))
}
