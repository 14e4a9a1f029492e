//! The configuration: defaults, then a file, then the environment, then flags,
//! each over the one before. The only reader of the environment.

use std::{
    env, fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use config::{ConfigError as LayerError, File, FileFormat};
use serde::Deserialize;

/// The whole configuration. Keys are named as in the file: `tickets.prefix`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server listens: address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The web pages that may call, besides the server's own, by their origins:
    /// `https://portal.example.com, http://localhost:3000`; `*` alone: all.
    pub allowed_origins: String,
    /// So many reverse proxies of your own stand in front of the server, 0 to 10: the
    /// caller's address is taken from what they add to `X-Forwarded-For`.
    pub trusted_proxies: usize,
    /// When the server stops, websockets and event streams are closed one after the other
    /// within so many seconds, 0 to 600: their clients don't all connect to the others at
    /// once.
    pub drain_seconds: u32,
    /// Where the embedded database and other data are kept.
    pub data_dir: PathBuf,
    /// What operators' machines ask.
    pub admin: AdminConfig,
    /// The database.
    pub database: DatabaseConfig,
    /// The embedded database.
    pub embedded: EmbeddedConfig,
    /// Tickets.
    pub tickets: TicketsConfig,
    /// Sessions.
    pub sessions: SessionsConfig,
    /// What is asked of people besides their password.
    pub second_factor: SecondFactorConfig,
    /// Keys.
    pub security: SecurityConfig,
    /// Mail.
    pub mail: MailConfig,
    /// What links of ours lead to.
    pub links: LinksConfig,
    /// Attachments.
    pub attachments: AttachmentsConfig,
    /// Where the bytes of attachments are kept.
    pub storage: StorageConfig,
    /// The GraphQL endpoint.
    pub graphql: GraphqlConfig,
    /// Whether the playground is served at `/`.
    pub playground: bool,
    /// Logs.
    pub log: LogConfig,
}

/// What operators' machines ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Where metrics and health are served: address and port, for the machines that
    /// watch the server and nobody else. Without it there is no such listener.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
}

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// The URL of a Postgres database; without one, an embedded Postgres is run.
    #[serde(default)]
    pub url: Option<Secret>,
    /// Connections at most, 2 to 1,000, besides one that listens.
    pub pool_size: usize,
}

/// The embedded database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// The folder of Postgres' programs; found by itself in the usual places.
    #[serde(default)]
    pub bin_dir: Option<PathBuf>,
}

/// Tickets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketsConfig {
    /// What ticket numbers begin with: 1 to 10 letters from A to Z.
    pub prefix: String,
    /// The first ticket's number, at least 1. Numbers never go back.
    pub first_number: i64,
    /// So many days after they were resolved tickets close, 0 to 3,650; 0: they don't.
    pub close_resolved_after_days: u32,
}

/// Sessions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsConfig {
    /// How long a session lasts, however much it is used, in hours: 1 to 8,760.
    pub lifetime_hours: u32,
    /// How long a session lasts that is not used, in hours: 1 to 8,760.
    pub idle_hours: u32,
}

/// What is asked of people besides their password.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondFactorConfig {
    /// Of customers.
    pub customers: RequirementName,
    /// Of agents and admins.
    pub staff: RequirementName,
    /// The installation's name in authenticator apps: 1 to 60 characters, no colon.
    pub issuer: String,
}

/// Whether a second factor has to be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequirementName {
    /// It can be.
    Offered,
    /// Nothing else can be done until it is.
    Required,
}

/// Keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityConfig {
    /// Seals what has to be read again, like the keys of authenticators: one or more
    /// of at least 32 characters each, separated by commas, the newest first, the
    /// same on all nodes. The embedded default makes one.
    #[serde(default)]
    pub sealing_keys: Option<Secret>,
}

/// Mail.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// The mail server: `smtp://user:password@host:587?tls=required` (STARTTLS) or
    /// `smtps://user:password@host`. Without one the embedded default writes files,
    /// and an installation with a database of its own mails nothing.
    #[serde(default)]
    pub smtp_url: Option<Secret>,
    /// Who mails come from: `Example Support <support@example.com>`.
    #[serde(default)]
    pub from: Option<String>,
    /// Signs the links in mails: at least 32 characters, the same on all nodes. The
    /// embedded default makes one.
    #[serde(default)]
    pub signing_key: Option<Secret>,
    /// For so many seconds events join one mail: 0 to 3,600.
    pub window_seconds: u32,
    /// So long one attempt to send may take, in seconds: 1 to 600.
    pub timeout_seconds: u32,
    /// So many mails are sent at once, 1 to 64.
    pub senders: usize,
    /// A folder whose files replace the embedded templates.
    #[serde(default)]
    pub templates_dir: Option<PathBuf>,
    /// A file of a certificate (PEM) that the mail server's may be signed with.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who is told of new tickets: `sales=sales@example.com, *=desk@example.com`, by
    /// the category's slug; `*` stands for the others.
    pub staff_addresses: String,
    /// The language of those mails: `en` or `ru`.
    pub staff_locale: LocaleName,
}

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocaleName {
    /// English.
    En,
    /// Russian.
    Ru,
}

/// What links of ours lead to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinksConfig {
    /// Where this server is reached from outside, like `https://desk.example.com`.
    #[serde(default)]
    pub base_url: Option<String>,
    /// A ticket's page in your portal; `{number}` stands for its number. Without it
    /// mails have no link to their ticket.
    #[serde(default)]
    pub ticket: Option<String>,
    /// A page of your own for setting a new password; `{token}` stands for what it has
    /// to give to `resetPassword`. Without it a built-in page is linked.
    #[serde(default)]
    pub reset_password: Option<String>,
    /// A page of your own for unsubscribing; `{token}` stands for what it has to
    /// send to `/unsubscribe?token=…` by POST. Without it a built-in page is linked.
    #[serde(default)]
    pub unsubscribe: Option<String>,
    /// A page of your own where customers come over from the control panel; `{token}`
    /// stands for what it has to redeem, best behind a `#`. Without it a built-in page
    /// is linked.
    #[serde(default)]
    pub handoff: Option<String>,
}

/// Attachments.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentsConfig {
    /// How large a file may be, in bytes: 1 to 5 GiB.
    pub max_file_bytes: u64,
    /// So many files may come at once: 1 to 50.
    pub max_files: usize,
    /// How large all of these may be together, in bytes: at least `max_file_bytes`, at
    /// most 50 GiB.
    pub max_total_bytes: u64,
}

/// Where the bytes of attachments are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// A folder, the same for all nodes. The embedded default has one in the data folder;
    /// without folder and bucket an installation with a database of its own takes no
    /// attachments.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// A bucket, instead of a folder.
    pub s3: S3Config,
}

/// A bucket of S3, or of what speaks like it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Its name.
    #[serde(default)]
    pub bucket: Option<String>,
    /// Its region.
    #[serde(default)]
    pub region: Option<String>,
    /// The server's URL, where it is not Amazon's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The access key's id.
    #[serde(default)]
    pub access_key: Option<Secret>,
    /// The access key's secret.
    #[serde(default)]
    pub secret_key: Option<Secret>,
}

/// The GraphQL endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphqlConfig {
    /// Whether the schema can be asked for.
    pub introspection: bool,
}

/// Logs, which go to standard error.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
    /// What is logged, as `tracing_subscriber`'s `EnvFilter` takes it: `info`, `ticketwire=debug`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key of the configuration.
struct Key {
    name: &'static str,
    /// The environment variable that sets it.
    variable: &'static str,
    secret: bool,
}

const fn key(name: &'static str, variable: &'static str) -> Key {
    Key { name, variable, secret: false }
}

/// Every key. What is not here is refused wherever it is set.
const KEYS: &[Key] = &[
    key("listen", "TICKETWIRE_LISTEN"),
    key("allowed_origins", "TICKETWIRE_ALLOWED_ORIGINS"),
    key("trusted_proxies", "TICKETWIRE_TRUSTED_PROXIES"),
    key("drain_seconds", "TICKETWIRE_DRAIN_SECONDS"),
    key("admin.listen", "TICKETWIRE_ADMIN_LISTEN"),
    key("data_dir", "TICKETWIRE_DATA_DIR"),
    Key { name: "database.url", variable: "DATABASE_URL", secret: true },
    key("database.pool_size", "TICKETWIRE_DATABASE_POOL_SIZE"),
    key("embedded.bin_dir", "TICKETWIRE_EMBEDDED_BIN_DIR"),
    key("tickets.prefix", "TICKETWIRE_TICKETS_PREFIX"),
    key("tickets.first_number", "TICKETWIRE_TICKETS_FIRST_NUMBER"),
    key("tickets.close_resolved_after_days", "TICKETWIRE_TICKETS_CLOSE_RESOLVED_AFTER_DAYS"),
    key("sessions.lifetime_hours", "TICKETWIRE_SESSIONS_LIFETIME_HOURS"),
    key("second_factor.customers", "TICKETWIRE_SECOND_FACTOR_CUSTOMERS"),
    key("second_factor.staff", "TICKETWIRE_SECOND_FACTOR_STAFF"),
    key("second_factor.issuer", "TICKETWIRE_SECOND_FACTOR_ISSUER"),
    Key {
        name: "security.sealing_keys",
        variable: "TICKETWIRE_SECURITY_SEALING_KEYS",
        secret: true,
    },
    key("sessions.idle_hours", "TICKETWIRE_SESSIONS_IDLE_HOURS"),
    Key { name: "mail.smtp_url", variable: "TICKETWIRE_MAIL_SMTP_URL", secret: true },
    key("mail.from", "TICKETWIRE_MAIL_FROM"),
    Key { name: "mail.signing_key", variable: "TICKETWIRE_MAIL_SIGNING_KEY", secret: true },
    key("mail.window_seconds", "TICKETWIRE_MAIL_WINDOW_SECONDS"),
    key("mail.timeout_seconds", "TICKETWIRE_MAIL_TIMEOUT_SECONDS"),
    key("mail.senders", "TICKETWIRE_MAIL_SENDERS"),
    key("mail.templates_dir", "TICKETWIRE_MAIL_TEMPLATES_DIR"),
    key("mail.ca_file", "TICKETWIRE_MAIL_CA_FILE"),
    key("mail.staff_addresses", "TICKETWIRE_MAIL_STAFF_ADDRESSES"),
    key("mail.staff_locale", "TICKETWIRE_MAIL_STAFF_LOCALE"),
    key("links.base_url", "TICKETWIRE_LINKS_BASE_URL"),
    key("links.ticket", "TICKETWIRE_LINKS_TICKET"),
    key("links.reset_password", "TICKETWIRE_LINKS_RESET_PASSWORD"),
    key("links.unsubscribe", "TICKETWIRE_LINKS_UNSUBSCRIBE"),
    key("links.handoff", "TICKETWIRE_LINKS_HANDOFF"),
    key("attachments.max_file_bytes", "TICKETWIRE_ATTACHMENTS_MAX_FILE_BYTES"),
    key("attachments.max_files", "TICKETWIRE_ATTACHMENTS_MAX_FILES"),
    key("attachments.max_total_bytes", "TICKETWIRE_ATTACHMENTS_MAX_TOTAL_BYTES"),
    key("storage.folder", "TICKETWIRE_STORAGE_FOLDER"),
    key("storage.s3.bucket", "TICKETWIRE_STORAGE_S3_BUCKET"),
    key("storage.s3.region", "TICKETWIRE_STORAGE_S3_REGION"),
    key("storage.s3.endpoint", "TICKETWIRE_STORAGE_S3_ENDPOINT"),
    Key {
        name: "storage.s3.access_key",
        variable: "TICKETWIRE_STORAGE_S3_ACCESS_KEY",
        secret: true,
    },
    Key {
        name: "storage.s3.secret_key",
        variable: "TICKETWIRE_STORAGE_S3_SECRET_KEY",
        secret: true,
    },
    key("graphql.introspection", "TICKETWIRE_GRAPHQL_INTROSPECTION"),
    key("playground", "TICKETWIRE_PLAYGROUND"),
    key("log.format", "TICKETWIRE_LOG_FORMAT"),
    key("log.filter", "TICKETWIRE_LOG_FILTER"),
];

/// Names the configuration file, where the command line doesn't.
const FILE_VARIABLE: &str = "TICKETWIRE_CONFIG";
const DEFAULT_FILE: &str = "ticketwire.toml";

const DEFAULTS: &str = r#"
listen = "127.0.0.1:8080"
allowed_origins = ""
trusted_proxies = 0
drain_seconds = 10
playground = true

[admin]

[database]
pool_size = 16

[embedded]

[tickets]
prefix = "CS"
first_number = 100001
close_resolved_after_days = 14

[sessions]
lifetime_hours = 720
idle_hours = 168

[second_factor]
customers = "offered"
staff = "offered"
issuer = "Ticketwire"

[security]

[mail]
window_seconds = 30
timeout_seconds = 60
senders = 4
staff_addresses = ""
staff_locale = "en"

[links]

[attachments]
max_file_bytes = 26214400
max_files = 10
max_total_bytes = 104857600

[storage]

[storage.s3]

[graphql]
introspection = true

[log]
format = "text"
filter = "info"
"#;

/// What is wrong with the configuration, with the key's name.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {path} can't be read: {cause}")]
    File {
        /// Which.
        path: String,
        /// Why.
        cause: String,
    },
    /// A key that there is not.
    #[error("{place}: there is no key `{key}`; the keys are {known}")]
    UnknownKey {
        /// Where it is set.
        place: String,
        /// Its name there.
        key: String,
        /// All there are.
        known: String,
    },
    /// A value that its key doesn't take.
    #[error("`{key}` {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it takes.
        problem: String,
    },
    /// A value of the wrong type.
    #[error("the configuration can't be used: {0}")]
    Type(String),
}

impl Config {
    /// Reads the configuration: `file`, or the one that `TICKETWIRE_CONFIG` names, or
    /// `ticketwire.toml` if there is one; then the environment; then `flags`, as keys
    /// with their values.
    ///
    /// # Errors
    /// An unknown key, a value that its key doesn't take, a file that can't be read.
    pub fn load(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        Self::layered(
            file,
            env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
            flags,
        )
    }

    fn layered(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let environment = environment.collect::<Vec<_>>();
        let named = environment
            .iter()
            .find(|(name, _)| name == FILE_VARIABLE)
            .map(|(_, path)| PathBuf::from(path));
        let file = match (file.map(Path::to_path_buf).or(named), Path::new(DEFAULT_FILE)) {
            (Some(path), _) => Some(path),
            (None, default) => default.exists().then(|| default.to_path_buf()),
        };
        let mut layers = config::Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .set_default("data_dir", default_data_dir())
            .map_err(type_error)?;
        if let Some(path) = &file {
            layers = layers.add_source(File::from_str(&read_file(path)?, FileFormat::Toml));
        }
        for (name, value) in from_environment(&environment)? {
            layers = layers.set_override(name, value).map_err(type_error)?;
        }
        for (name, value) in flags {
            layers = layers.set_override(*name, value.clone()).map_err(type_error)?;
        }
        let config: Self =
            layers.build().and_then(config::Config::try_deserialize).map_err(type_error)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let within = |key, fits: bool, problem: &str| {
            if fits { Ok(()) } else { Err(ConfigError::Value { key, problem: problem.into() }) }
        };
        within(
            "database.pool_size",
            (2..=1_000).contains(&self.database.pool_size),
            "must be 2 to 1000",
        )?;
        within("drain_seconds", self.drain_seconds <= 600, "must be 0 to 600")?;
        within("trusted_proxies", self.trusted_proxies <= 10, "must be 0 to 10")?;
        within(
            "tickets.first_number",
            (1..=1_000_000_000_000).contains(&self.tickets.first_number),
            "must be 1 to 1000000000000",
        )?;
        within(
            "tickets.close_resolved_after_days",
            self.tickets.close_resolved_after_days <= 3_650,
            "must be 0 to 3650",
        )?;
        within(
            "sessions.lifetime_hours",
            (1..=8_760).contains(&self.sessions.lifetime_hours),
            "must be 1 to 8760",
        )?;
        let issuer = &self.second_factor.issuer;
        let fits = (1..=60).contains(&issuer.chars().count()) && !issuer.contains(':');
        within("second_factor.issuer", fits, "must be 1 to 60 characters without a colon")?;
        within(
            "sessions.idle_hours",
            (1..=8_760).contains(&self.sessions.idle_hours),
            "must be 1 to 8760",
        )?;
        let mail = &self.mail;
        within("mail.window_seconds", mail.window_seconds <= 3_600, "must be 0 to 3600")?;
        let fits = (1..=600).contains(&mail.timeout_seconds);
        within("mail.timeout_seconds", fits, "must be 1 to 600")?;
        within("mail.senders", (1..=64).contains(&mail.senders), "must be 1 to 64")?;
        let attached = &self.attachments;
        let fits = (1..=5 << 30).contains(&attached.max_file_bytes);
        within("attachments.max_file_bytes", fits, "must be 1 to 5368709120")?;
        let fits = (1..=50).contains(&attached.max_files);
        within("attachments.max_files", fits, "must be 1 to 50")?;
        let fits = (attached.max_file_bytes..=50 << 30).contains(&attached.max_total_bytes);
        let problem = "must be at least attachments.max_file_bytes, and at most 53687091200";
        within("attachments.max_total_bytes", fits, problem)?;
        let s3 = &self.storage.s3;
        if s3.bucket.is_some() {
            let problem = "can't stand beside storage.s3.bucket: set one of them";
            within("storage.folder", self.storage.folder.is_none(), problem)?;
            let problem = "is needed with storage.s3.bucket";
            within("storage.s3.region", s3.region.is_some(), problem)?;
            within("storage.s3.access_key", s3.access_key.is_some(), problem)?;
            within("storage.s3.secret_key", s3.secret_key.is_some(), problem)?;
        }
        let links = [
            ("links.base_url", &self.links.base_url, ""),
            ("links.ticket", &self.links.ticket, "{number}"),
            ("links.reset_password", &self.links.reset_password, "{token}"),
            ("links.unsubscribe", &self.links.unsubscribe, "{token}"),
            ("links.handoff", &self.links.handoff, "{token}"),
        ];
        for (key, link, placeholder) in links {
            let Some(link) = link else { continue };
            let web = link.starts_with("https://") || link.starts_with("http://");
            let plain =
                link.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte));
            let problem = format!("must be a URL (http or https, ASCII) {placeholder}");
            within(key, web && plain && link.contains(placeholder), problem.trim_end())?;
        }
        Ok(())
    }
}

fn default_data_dir() -> &'static str {
    // Postgres won't run as root, and its own user can't reach root's home.
    if rustix::process::geteuid().is_root() { "/var/lib/ticketwire" } else { "ticketwire-data" }
}

/// The file's text, if every key in it is one of ours.
fn read_file(path: &Path) -> Result<String, ConfigError> {
    let failed = |cause: String| ConfigError::File { path: path.display().to_string(), cause };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| failed(error.to_string()))?;
    let mut found = Vec::new();
    flatten("", &table, &mut found);
    match found.into_iter().find(|name| KEYS.iter().all(|key| key.name != name)) {
        Some(key) => Err(ConfigError::UnknownKey {
            place: path.display().to_string(),
            key,
            known: KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", "),
        }),
        None => Ok(text),
    }
}

fn flatten(prefix: &str, table: &toml::Table, found: &mut Vec<String>) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(&name, inner, found),
            _ => found.push(name),
        }
    }
}

/// What the environment sets; a secret also from the file that `…_FILE` names.
fn from_environment(
    environment: &[(String, String)],
) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let mut set = Vec::new();
    for (variable, value) in environment {
        let key = KEYS.iter().find(|key| key.variable == variable);
        let by_file = KEYS
            .iter()
            .find(|key| key.secret && variable.strip_suffix("_FILE") == Some(key.variable));
        match (key, by_file) {
            (Some(key), _) => set.push((key.name, value.clone())),
            (None, Some(key)) => {
                let secret = fs::read_to_string(value).map_err(|error| ConfigError::File {
                    path: value.clone(),
                    cause: error.to_string(),
                })?;
                set.push((key.name, secret.trim_end().to_owned()));
            }
            (None, None) if variable.starts_with("TICKETWIRE_") && variable != FILE_VARIABLE => {
                return Err(ConfigError::UnknownKey {
                    place: "the environment".into(),
                    key: variable.clone(),
                    known: KEYS.iter().map(|key| key.variable).collect::<Vec<_>>().join(", "),
                });
            }
            (None, None) => {}
        }
    }
    Ok(set)
}

fn type_error(error: LayerError) -> ConfigError {
    ConfigError::Type(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)], flags: &[(&str, String)]) -> Result<Config, String> {
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::layered(None, environment, flags).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_go_over_the_environment_and_that_over_the_defaults() {
        assert_eq!(load(&[], &[]).unwrap().listen.port(), 8080);
        let environment = [("TICKETWIRE_LISTEN", "127.0.0.1:1"), ("UNRELATED", "x")];
        assert_eq!(load(&environment, &[]).unwrap().listen.port(), 1);
        let flags = [("listen", "127.0.0.1:2".to_owned())];
        assert_eq!(load(&environment, &flags).unwrap().listen.port(), 2);
    }

    #[test]
    fn errors_name_the_key() {
        for (variable, value, expected) in [
            ("TICKETWIRE_LISTEN", "nonsense", "`listen`"),
            ("TICKETWIRE_ADMIN_LISTEN", "9100", "`admin.listen`"),
            ("TICKETWIRE_LISTNE", "127.0.0.1:1", "`TICKETWIRE_LISTNE`"),
            ("TICKETWIRE_DATABASE_POOL_SIZE", "many", "`database.pool_size`"),
            ("TICKETWIRE_DATABASE_POOL_SIZE", "1", "`database.pool_size`"),
            ("TICKETWIRE_GRAPHQL_INTROSPECTION", "perhaps", "`graphql.introspection`"),
            ("TICKETWIRE_PLAYGROUND", "perhaps", "`playground`"),
            ("TICKETWIRE_LOG_FORMAT", "xml", "`log.format`"),
            ("DATABASE_URL_FILE", "/nowhere/at/all", "/nowhere/at/all"),
        ] {
            let error = load(&[(variable, value)], &[]).unwrap_err();
            assert!(error.contains(expected), "{variable}={value}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = load(&[("DATABASE_URL", "postgres://u:hunter2@h/d")], &[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.database.url.unwrap().expose(), "postgres://u:hunter2@h/d");
    }
}
