//! Puts the storage of attachments together from the configuration.

use super::{StartError, mail::invalid_setting};
use crate::{
    config::{Config, Secret},
    storage::{S3Settings, Storage},
};

/// The storage that the configuration asks for. `None`: it names a database and no
/// storage, so no attachments are taken. A folder of this machine is nothing that other
/// nodes could read.
///
/// # Errors
/// Settings that can't be used.
pub fn set_up(config: &Config) -> Result<Option<Storage>, StartError> {
    let s3 = &config.storage.s3;
    if let Some(bucket) = &s3.bucket {
        let exposed = |secret: &Option<Secret>| {
            secret.as_ref().map(Secret::expose).unwrap_or_default().to_owned()
        };
        let settings = S3Settings {
            bucket: bucket.clone(),
            region: s3.region.clone().unwrap_or_default(),
            endpoint: s3.endpoint.clone(),
            access_key: exposed(&s3.access_key),
            secret_key: exposed(&s3.secret_key),
        };
        let storage = Storage::in_s3(settings);
        return storage.map(Some).map_err(|error| invalid_setting("storage.s3")(error.to_string()));
    }
    let folder = match (&config.storage.folder, &config.database.url) {
        (Some(folder), _) => folder.clone(),
        (None, None) => config.data_dir.join("attachments"),
        (None, Some(_)) => return Ok(None),
    };
    let storage = Storage::in_folder(&folder);
    storage.map(Some).map_err(|error| invalid_setting("storage.folder")(error.to_string()))
}
