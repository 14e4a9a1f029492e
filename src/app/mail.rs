//! Puts the mail parts together from the configuration.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::TimeDelta;

use super::{StartError, keys, settings};
use crate::{
    config::{Config, LocaleName, Secret},
    crypto::signing::SigningKey,
    db::{Database, category},
    domain::{account::Locale, clock::Ambient},
    mail::{
        Mail, StaffAddresses,
        compose::Composer,
        smtp::{SmtpServer, SmtpSettings},
        templates::Templates,
        transport::MailTransport,
    },
};

const DEMO_FROM: &str = "Ticketwire Support <support@ticketwire.example>";

/// The mail parts.
pub struct SetUp {
    /// What runs.
    pub parts: Mail,
    /// Where mails are written to, if they aren't sent.
    pub folder: Option<PathBuf>,
}

/// Whether any mail goes out: see [`set_up`].
pub fn goes_out(config: &Config) -> bool {
    config.mail.smtp_url.is_some() || config.database.url.is_none()
}

/// The mail parts that the configuration asks for. `None`: it names a database and
/// no mail server, so people are told on the bell only. Mails that nobody can send
/// are not kept for later: whoever sets up a mail server after a year would flood
/// their customers.
///
/// # Errors
/// Templates, addresses, links or keys that can't be used.
pub fn set_up(
    config: &Config,
    address: SocketAddr,
    ambient: &Ambient,
) -> Result<Option<SetUp>, StartError> {
    let demo = config.database.url.is_none();
    let templates = Templates::load(config.mail.templates_dir.as_deref())?;
    let staff = staff_addresses(config)?;
    let folder = match (&config.mail.smtp_url, demo) {
        (Some(_), _) => None,
        (None, true) => Some(make_folder(&config.data_dir)?),
        (None, false) => return Ok(None),
    };
    let transport = match &folder {
        None => smtp(config)?,
        Some(folder) => MailTransport::Folder(folder.clone()),
    };
    let from = match (&config.mail.from, demo) {
        (Some(from), _) => from.as_str(),
        (None, true) => DEMO_FROM,
        (None, false) => {
            return Err(missing_setting("mail.from", "Example Support <support@example.com>"));
        }
    };
    let base = match (&config.links.base_url, demo) {
        (Some(base), _) => base.trim_end_matches('/').to_owned(),
        (None, true) => format!("http://{address}"),
        (None, false) => {
            return Err(missing_setting("links.base_url", "https://services.example.com"));
        }
    };
    let key = match (&config.mail.signing_key, demo) {
        (Some(key), _) => key.expose().to_owned(),
        (None, true) => {
            keys::load_or_create_key(&make_folder(&config.data_dir)?.join("signing.key"), ambient)?
        }
        (None, false) => {
            return Err(missing_setting("mail.signing_key", "what `openssl rand -hex 32` prints"));
        }
    };
    let composer = Composer {
        templates,
        from: from.parse().map_err(|_| StartError::Config {
            key: "mail.from",
            problem: "must be like Example Support <support@example.com>".into(),
        })?,
        number_prefix: settings(config)?.number_prefix,
        ticket_link: config.links.ticket.clone(),
        unsubscribe_link: match &config.links.unsubscribe {
            Some(link) => link.clone(),
            None => format!("{base}/unsubscribe?token={{token}}"),
        },
        reset_link: match &config.links.reset_password {
            Some(link) => link.clone(),
            // In the fragment: no server's log gets to see it.
            None => format!("{base}/reset-password#token={{token}}"),
        },
        keys: keys::keyring(config, ambient)?,
        key: SigningKey::new(&key)
            .map_err(|problem| invalid_setting("mail.signing_key")(problem.to_owned()))?,
    };
    let window = TimeDelta::seconds(config.mail.window_seconds.into());
    let parts = Mail { window, staff, composer, transport, senders: config.mail.senders };
    Ok(Some(SetUp { parts, folder }))
}

/// Checks what only the database knows: that the categories exist whose addresses are
/// configured. Nobody would be told of the tickets of one that is misspelt.
///
/// # Errors
/// A category that there is not; addresses that can't be read; the database failed.
pub async fn check_staff_addresses(config: &Config, database: &Database) -> Result<(), StartError> {
    let staff = staff_addresses(config)?;
    let categories = category::all(&mut *database.read().await?).await?;
    let known = categories.iter().map(|category| category.slug.as_str()).collect::<Vec<_>>();
    let Some(stranger) = staff.slugs().find(|slug| !known.contains(slug)) else { return Ok(()) };
    let problem = format!(
        "names `{stranger}`, which is no category; the categories are {}",
        known.join(", ")
    );
    Err(invalid_setting("mail.staff_addresses")(problem))
}

fn staff_addresses(config: &Config) -> Result<StaffAddresses, StartError> {
    let locale = match config.mail.staff_locale {
        LocaleName::En => Locale::En,
        LocaleName::Ru => Locale::Ru,
    };
    StaffAddresses::parse(&config.mail.staff_addresses, locale)
        .map_err(invalid_setting("mail.staff_addresses"))
}

pub(super) fn invalid_setting(key: &'static str) -> impl Fn(String) -> StartError {
    move |problem| StartError::Config { key, problem }
}

fn missing_setting(key: &'static str, example: &str) -> StartError {
    let problem = format!("is needed to send mail, and has no default: set it to {example}");
    StartError::Config { key, problem }
}

fn smtp(config: &Config) -> Result<MailTransport, StartError> {
    let trusted = config.mail.ca_file.as_ref().map(|path| {
        fs::read(path).map_err(|error| {
            invalid_setting("mail.ca_file")(format!("{}: {error}", path.display()))
        })
    });
    let trusted = trusted.transpose()?;
    let settings = SmtpSettings {
        url: config.mail.smtp_url.as_ref().map(Secret::expose).unwrap_or_default(),
        trusted: trusted.as_deref(),
        timeout: Duration::from_secs(config.mail.timeout_seconds.into()),
    };
    SmtpServer::new(&settings).map(MailTransport::Smtp).map_err(invalid_setting("mail.smtp_url"))
}

fn make_folder(data_dir: &Path) -> Result<PathBuf, StartError> {
    let folder = data_dir.join("mail");
    let failed = |error: std::io::Error| {
        invalid_setting("data_dir")(format!("{}: {error}", folder.display()))
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    Ok(folder)
}
