//! The rules for values that their types alone don't express.

use config::Config as Values;
use url::Url;

use super::{
    error::ConfigError,
    secret::Secret,
    settings::{Config, S3Config},
};

const NOT_A_WEB_URL: &str =
    "must be an ASCII URL that starts with http:// or https:// and names a host";

/// Checks that every number is within the range of its key, and that no path is empty.
///
/// # Errors
/// `Value` for a number out of range or an empty path, `Type` for a number too large to compare.
pub(super) fn check_values(values: &Values) -> Result<(), ConfigError> {
    for key in Config::keys() {
        if key.is_path() {
            let path = values.get::<Option<String>>(key.name).unwrap_or_default();
            let problem = "must not be empty: leave it out, or name a path";
            require(path.is_none_or(|path| !path.is_empty()), key.name, problem)?;
        }
        let Some(range) = &key.range else { continue };
        let value = values
            .get::<Option<i64>>(key.name)
            .map_err(|error| ConfigError::Type(error.to_string()))?;
        let problem = format!("must be between {} and {}", range.start(), range.end());
        require(value.is_none_or(|value| range.contains(&value)), key.name, problem)?;
    }
    Ok(())
}

/// Checks the texts that have a form, and the keys that depend on each other.
///
/// # Errors
/// `Value` for the first rule that is broken.
pub(super) fn check_rules(config: &Config) -> Result<(), ConfigError> {
    check_addresses(config)?;
    check_issuer(config)?;
    check_tls(config)?;
    check_attachment_sizes(config)?;
    check_unused_files(config)?;
    check_storage(config)?;
    check_branding(config)?;
    check_tracing(config)?;
    check_links(config)
}

fn check_addresses(config: &Config) -> Result<(), ConfigError> {
    let (api, Some(admin)) = (config.listen, config.admin.listen) else { return Ok(()) };
    let is_everywhere = api.ip().is_unspecified() || admin.ip().is_unspecified();
    let is_same = api.port() == admin.port() && (api.ip() == admin.ip() || is_everywhere);
    require(!is_same || admin.port() == 0, "admin.listen", "must have another port than `listen`")
}

fn check_tracing(config: &Config) -> Result<(), ConfigError> {
    let tracing = &config.tracing;
    let fits = (0.0..=1.0).contains(&tracing.sample_ratio);
    require(fits, "tracing.sample_ratio", "must be between 0 and 1")?;
    let fits = tracing.otlp_endpoint.as_deref().is_none_or(is_web_url);
    require(fits, "tracing.otlp_endpoint", NOT_A_WEB_URL)
}

fn check_issuer(config: &Config) -> Result<(), ConfigError> {
    let issuer = &config.second_factor.issuer;
    let fits = (1..=60).contains(&issuer.chars().count()) && !issuer.contains(':');
    require(fits, "second_factor.issuer", "must be 1 to 60 characters without a colon")
}

fn check_tls(config: &Config) -> Result<(), ConfigError> {
    let tls = &config.tls;
    let (certificate, key) = (tls.certificate_file.is_some(), tls.key_file.is_some());
    require(key || !certificate, "tls.key_file", "is required with tls.certificate_file")?;
    require(certificate || !key, "tls.certificate_file", "is required with tls.key_file")
}

fn check_attachment_sizes(config: &Config) -> Result<(), ConfigError> {
    let attachments = &config.attachments;
    let fits = attachments.max_total_bytes >= attachments.max_file_bytes;
    let problem = "must not be smaller than attachments.max_file_bytes";
    require(fits, "attachments.max_total_bytes", problem)
}

fn check_unused_files(config: &Config) -> Result<(), ConfigError> {
    let unused = config.limits.unused_files_per_account as usize;
    let problem = "must not be smaller than attachments.max_files";
    require(unused >= config.attachments.max_files, "limits.unused_files_per_account", problem)
}

fn check_storage(config: &Config) -> Result<(), ConfigError> {
    let s3 = &config.storage.s3;
    for (key, value) in s3.texts() {
        let Some(value) = value else { continue };
        let problem = "must not be empty: leave it out, or set a value";
        require(!value.trim().is_empty(), key, problem)?;
        // Others cannot stand in the headers of a request.
        let problem = "must be visible ASCII characters only, without spaces and line breaks";
        require(value.bytes().all(|byte| byte.is_ascii_graphic()), key, problem)?;
    }
    let fits = s3.endpoint.as_deref().is_none_or(is_web_url);
    require(fits, "storage.s3.endpoint", NOT_A_WEB_URL)?;
    // Backups use the others without it.
    if s3.bucket.is_none() {
        return Ok(());
    }
    let problem = "cannot be combined with storage.s3.bucket: set only one of them";
    require(config.storage.folder.is_none(), "storage.folder", problem)?;
    match s3.missing_key() {
        Some(key) => require(false, key, "is required with storage.s3.bucket"),
        None => Ok(()),
    }
}

impl S3Config {
    /// Returns each key with its value, if it is set.
    fn texts(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("storage.s3.bucket", self.bucket.as_deref()),
            ("storage.s3.region", self.region.as_deref()),
            ("storage.s3.endpoint", self.endpoint.as_deref()),
            ("storage.s3.access_key", self.access_key.as_ref().map(Secret::expose)),
            ("storage.s3.secret_key", self.secret_key.as_ref().map(Secret::expose)),
        ]
    }

    /// Returns the first key that a bucket needs and that is not set.
    pub fn missing_key(&self) -> Option<&'static str> {
        let needed = [
            ("storage.s3.region", self.region.is_some()),
            ("storage.s3.access_key", self.access_key.is_some()),
            ("storage.s3.secret_key", self.secret_key.is_some()),
        ];
        needed.into_iter().find_map(|(key, is_set)| (!is_set).then_some(key))
    }
}

fn check_branding(config: &Config) -> Result<(), ConfigError> {
    let branding = &config.branding;
    let fits = (1..=60).contains(&branding.name.trim().chars().count());
    require(fits, "branding.name", "must be 1 to 60 characters")?;
    let is_color = |text: &String| {
        let digits = text.strip_prefix('#');
        digits.is_some_and(|d| d.len() == 6 && d.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let fits = branding.color.as_ref().is_none_or(is_color);
    require(fits, "branding.color", "must be a color like #1a73e8")?;
    for (key, link) in [
        ("branding.logo", &branding.logo),
        ("branding.imprint", &branding.imprint),
        ("branding.privacy", &branding.privacy),
    ] {
        let Some(link) = link else { continue };
        require_public(link, key)?;
    }
    Ok(())
}

fn check_links(config: &Config) -> Result<(), ConfigError> {
    let links = &config.links;
    let fits = links.base_url.as_deref().is_none_or(|url| !url.contains(['?', '#']));
    require(fits, "links.base_url", "must not contain ? or #")?;
    for (key, link, placeholder) in [
        ("links.base_url", &links.base_url, None),
        ("links.ticket", &links.ticket, Some("{number}")),
        ("links.reset_password", &links.reset_password, Some("{token}")),
        ("links.unsubscribe", &links.unsubscribe, Some("{token}")),
        ("links.handoff", &links.handoff, Some("{token}")),
    ] {
        let Some(link) = link else { continue };
        require_public(link, key)?;
        let Some(placeholder) = placeholder else { continue };
        require(link.contains(placeholder), key, format!("must contain {placeholder}"))?;
    }
    Ok(())
}

/// Checks a link that everybody sees.
fn require_public(link: &str, key: &'static str) -> Result<(), ConfigError> {
    require(is_web_url(link), key, NOT_A_WEB_URL)?;
    let is_public =
        Url::parse(link).is_ok_and(|url| url.username().is_empty() && url.password().is_none());
    require(is_public, key, "must name no user and no password: everybody sees it")
}

/// Whether a text can stand as a link in a mail: `<`, `>` and quotes would end it.
fn is_web_url(text: &str) -> bool {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let has_host =
        Url::parse(text).is_ok_and(|url| url.host_str().is_some_and(|it| !it.is_empty()));
    is_web
        && has_host
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte))
}

fn require(fits: bool, key: &'static str, problem: impl Into<String>) -> Result<(), ConfigError> {
    if fits { Ok(()) } else { Err(ConfigError::Value { key, problem: problem.into() }) }
}
