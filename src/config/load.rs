//! Reads the configuration from its sources and checks it.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use config::{Config as Values, ConfigError as ValueError, File, FileFormat};

use super::{
    check::{check_rules, check_values},
    error::ConfigError,
    form::{Given, check_form},
    keys::VARIABLE_PREFIX,
    settings::Config,
};

/// The variable that names the configuration file, if the command line doesn't.
const FILE_VARIABLE: &str = "TICKETWIRE_CONFIG";
/// The start of the variables that set `database.url`.
const DATABASE_URL: &str = "DATABASE_URL";
// The default files.
const FILE_OF_FOLDER: &str = "ticketwire.toml";
const FILE_OF_MACHINE: &str = "/etc/ticketwire/ticketwire.toml";

/// The data folder of a server that runs as root: Postgres refuses to run as root, and the user
/// that it runs as instead cannot enter root's home.
const ROOT_DATA_DIR: &str = "/var/lib/ticketwire";

/// Where the value of a key comes from.
#[derive(Clone, Copy)]
pub(super) enum Source {
    File,
    Environment,
    Flag,
}

/// A configuration with its values and the sources of those that are no defaults, by their keys.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) values: Values,
    pub(super) sources: HashMap<String, Source>,
}

impl Config {
    /// Loads the configuration. Each source overrides the ones before: the defaults; the file, see
    /// [`find_file`]; the environment; `flags`, as pairs of key and value.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value that its key does not accept, or a variable
    /// that is not valid UTF-8.
    pub fn load(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        Ok(Loaded::from_sources(file, &texts(env::vars_os())?, flags)?.config)
    }
}

impl Loaded {
    /// Loads the configuration as [`Config::load`] does, from the environment that is given.
    pub(super) fn from_sources(
        file: Option<&Path>,
        environment: &[(String, String)],
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let (mut builder, mut sources) = (Values::builder(), HashMap::new());
        for key in Config::keys() {
            builder = builder.set_default(key.name, key.default).map_err(type_error)?;
        }
        if rustix::process::geteuid().is_root() {
            builder = builder.set_default("data_dir", ROOT_DATA_DIR).map_err(type_error)?;
        }
        if let Some(path) = file {
            let (text, names) = read_file(path)?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
            sources.extend(names.into_iter().map(|name| (name, Source::File)));
        }
        let of_environment = read_environment(environment)?.into_iter();
        let of_environment = of_environment.map(|(key, value)| (key, value, Source::Environment));
        let of_flags = flags.iter().map(|(key, value)| (*key, value.clone(), Source::Flag));
        for (name, value, source) in of_environment.chain(of_flags) {
            if let Some(key) = Config::keys().into_iter().find(|key| key.name == name) {
                check_form(key, Given::Text(&value))?;
            }
            builder = builder.set_override(name, value).map_err(type_error)?;
            sources.insert(name.to_owned(), source);
        }
        let values = builder.build().map_err(type_error)?;
        let config: Config = values.clone().try_deserialize().map_err(type_error)?;
        check_values(&values)?;
        check_rules(&config)?;
        Ok(Self { config, values, sources })
    }
}

/// Returns the variables that are valid UTF-8. Refuses others if they are settings: without them, the
/// defaults would apply, such as a demo database.
pub(super) fn texts(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut texts = Vec::new();
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => texts.push((name, value)),
            (name, _) => {
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                if name.starts_with(VARIABLE_PREFIX) || name.starts_with(DATABASE_URL) {
                    return Err(ConfigError::NotText(name));
                }
            }
        }
    }
    Ok(texts)
}

/// Returns the path of the configuration file: `flag`, or the one that `TICKETWIRE_CONFIG` names, or the
/// first of `ticketwire.toml` in the working directory and `/etc/ticketwire/ticketwire.toml` that
/// exists. Returns `None` if there is none.
///
/// # Errors
/// The file in the working directory belongs to neither root nor the user of this process. Who may
/// write into a folder would choose the database and the programs of those who run a command there.
pub fn find_file(flag: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    let named = flag.map(Path::to_path_buf).or_else(|| env::var_os(FILE_VARIABLE).map(Into::into));
    if named.is_some() {
        return Ok(named);
    }
    let own = env::current_dir().unwrap_or_default().join(FILE_OF_FOLDER);
    if is_trusted(&own)? {
        return Ok(Some(own));
    }
    let of_machine = PathBuf::from(FILE_OF_MACHINE);
    Ok(of_machine.exists().then_some(of_machine))
}

/// Returns whether a file exists that can be found.
///
/// # Errors
/// The file, or the link to it, belongs to another user than root and that of this process.
fn is_trusted(path: &Path) -> Result<bool, ConfigError> {
    let (link, file) = match (fs::symlink_metadata(path), fs::metadata(path)) {
        (Ok(link), Ok(file)) => (link, file),
        // A folder that this user may not enter has no file for it.
        (Err(error), _) | (_, Err(error))
            if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied]
                .contains(&error.kind()) =>
        {
            return Ok(false);
        }
        (Err(error), _) | (_, Err(error)) => {
            let path = path.display().to_string();
            return Err(ConfigError::File { path, cause: error.to_string() });
        }
    };
    let trusted = [0, rustix::process::geteuid().as_raw()];
    match [link.uid(), file.uid()].into_iter().find(|owner| !trusted.contains(owner)) {
        Some(owner) => Err(ConfigError::FileOfAnother { path: path.into(), owner }),
        None => Ok(true),
    }
}

/// Returns the text of the configuration file and the names of its keys, once all are known to exist.
fn read_file(path: &Path) -> Result<(String, Vec<String>), ConfigError> {
    let failed = |cause: String| ConfigError::File { path: path.display().to_string(), cause };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| failed(syntax_error(&text, &error)))?;
    let (keys, mut names) = (Config::keys(), Vec::new());
    for (name, value) in values("", &table) {
        let place = || path.display().to_string();
        match keys.iter().find(|key| key.name == name) {
            Some(key) => check_form(key, Given::Toml(value))?,
            None if keys.iter().any(|key| key.name.starts_with(&format!("{name}."))) => {
                return Err(ConfigError::Section { place: place(), section: name });
            }
            None => return Err(ConfigError::UnknownKey { place: place(), key: name }),
        }
        names.push(name);
    }
    Ok((text, names))
}

/// Says where and why a file cannot be parsed. The error's own text has the whole line, which may
/// contain a secret.
fn syntax_error(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text[..text.floor_char_boundary(start)].matches('\n').count();
    format!("line {line}: {}", error.message())
}

/// Returns the names of the keys in a table, `prefix` before each, with their values.
fn values<'t>(prefix: &str, table: &'t toml::Table) -> Vec<(String, &'t toml::Value)> {
    let values = table.iter().flat_map(|(name, value)| match value {
        toml::Value::Table(section) => values(&format!("{prefix}{name}."), section),
        _ => vec![(format!("{prefix}{name}"), value)],
    });
    values.collect()
}

/// Returns the keys that the environment sets, with their values.
fn read_environment(
    environment: &[(String, String)],
) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let keys = Config::keys();
    let mut values = Vec::new();
    for (variable, value) in environment {
        if let Some(key) = keys.iter().find(|key| key.variable() == *variable) {
            values.push((key.name, value.clone()));
        } else if let Some(key) =
            keys.iter().find(|key| key.file_variable().as_ref() == Some(variable))
        {
            let both = key.variable();
            if environment.iter().any(|(other, _)| *other == both) {
                return Err(ConfigError::Both { variable: both, file_variable: variable.clone() });
            }
            values.push((key.name, read_secret(variable, value)?));
        } else if variable.starts_with(VARIABLE_PREFIX)
            && variable != FILE_VARIABLE
            && !is_of_kubernetes(variable, value)
        {
            let place = "the environment".into();
            return Err(ConfigError::UnknownKey { place, key: variable.clone() });
        }
    }
    Ok(values)
}

/// Returns whether Kubernetes has set a variable of our prefix: each container gets some for each
/// service of its namespace, and one may be called `ticketwire`.
fn is_of_kubernetes(variable: &str, value: &str) -> bool {
    let is_of_port = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.split("_PORT_").skip(1).any(is_of_port)
        || variable.ends_with("_PORT") && value.contains("://")
}

/// Returns the content of a secret's file, which a variable names, without the line break at its end
/// and the byte order mark that some editors put at its beginning.
fn read_secret(variable: &str, path: &str) -> Result<String, ConfigError> {
    let failed = |error: std::io::Error| ConfigError::Secret {
        variable: variable.to_owned(),
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let text = fs::read_to_string(path).map_err(failed)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end().to_owned())
}

fn type_error(error: ValueError) -> ConfigError {
    ConfigError::Type(error.to_string())
}
