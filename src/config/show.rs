//! The settings that are in effect, for operators.

use std::{env, path::Path};

use super::{
    error::ConfigError,
    keys::Key,
    load::{Loaded, Source, texts},
    settings::Config,
};

/// Returns every key with its value and where that comes from, a line each, in the order of
/// [`reference`](super::reference). The values of secrets are masked. Loads the configuration as
/// [`Config::load`] does.
///
/// # Errors
/// As [`Config::load`].
pub fn show(file: Option<&Path>, flags: &[(&str, String)]) -> Result<String, ConfigError> {
    let loaded = Loaded::from_sources(file, &texts(env::vars_os())?, flags)?;
    let mut text = match file {
        Some(file) => format!("# The file is {}.\n", file.display()),
        None => String::from("# There is no file.\n"),
    };
    for key in Config::keys() {
        text += &line(key, &loaded)?;
    }
    Ok(text)
}

fn line(key: &Key, Loaded { values, sources, .. }: &Loaded) -> Result<String, ConfigError> {
    let value = values.get::<Option<String>>(key.name);
    let value = value.map_err(|error| ConfigError::Type(error.to_string()))?;
    let Some(value) = value else { return Ok(format!("# {} is not set\n", key.name)) };
    let value = match key {
        _ if key.is_secret() => "\"***\"".to_owned(),
        _ if key.is_quoted() => toml::Value::String(without_credentials(value)).to_string(),
        _ => value,
    };
    let source = match sources.get(key.name) {
        None => "default",
        Some(Source::File) => "file",
        Some(Source::Environment) => "environment",
        Some(Source::Flag) => "flag",
    };
    Ok(format!("{} = {value} # {source}\n", key.name))
}

/// Masks what stands before the host of a URL.
fn without_credentials(value: String) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value };
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match host.rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => value,
    }
}
