//! Builds the mail parts from the configuration.

use std::{fs, io, net::SocketAddr, path::PathBuf, time::Duration};

use chrono::TimeDelta;
use lettre::message::Mailbox;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    certificate_chain::NO_CERTIFICATE,
    error::{StartError, invalid_setting, missing_setting, unusable_setting},
    keys::{keyring, keyring_or_stand_in, load_key_or_stand_in, load_or_create_key},
    links,
    services::{can_send_mail, number_prefix},
};
use crate::{
    config::{Config, LocaleName, Secret},
    crypto::signing::SigningKey,
    db::{
        Database, category, embedded,
        installation::{self, MailRules},
    },
    domain::{account::Locale, clock::Ambient},
    mail::{
        Mail, StaffAddresses,
        compose::Composer,
        parse_sender,
        smtp::{SmtpServer, SmtpSettings},
        templates::Templates,
        transport::MailTransport,
    },
};

const DEMO_FROM: &str = "Ticketwire Support <support@ticketwire.example>";
const SIGNING_KEY: &str = "mail.signing_key";

/// The mail parts of a server.
pub struct MailSetup {
    /// The parts to start.
    pub parts: Mail,
    /// The folder that mails are written to, or `None` if they are sent to a mail server.
    pub folder: Option<PathBuf>,
    /// How mails are planned, for all nodes.
    rules: MailRules,
}

/// What becomes of the folder of mails and of keys whose files are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    /// The folder and the signing key are created.
    Created,
    /// Nothing is created: keys that are stored nowhere stand in.
    LeftOut,
}

/// Returns the configured mail parts, and creates the folder of mails and the signing key of the embedded
/// database. `None` with your own database and no mail server: this node
/// sends no mail. If no node ever could, mails are not planned either, because setting up a mail
/// server after a year would flood the customers with old ones.
///
/// # Errors
/// Templates, addresses, links or keys that cannot be used.
pub fn set_up(
    config: &Config,
    address: SocketAddr,
    ambient: &Ambient,
) -> Result<Option<MailSetup>, StartError> {
    build(config, address, ambient, Files::Created)
}

/// Returns the mail parts for a command, which creates no folder and no key: they cannot compose mails from
/// the queue.
///
/// # Errors
/// As [`set_up`].
pub fn set_up_for_command(
    config: &Config,
    ambient: &Ambient,
) -> Result<Option<MailSetup>, StartError> {
    build(config, config.listen, ambient, Files::LeftOut)
}

fn build(
    config: &Config,
    address: SocketAddr,
    ambient: &Ambient,
    files: Files,
) -> Result<Option<MailSetup>, StartError> {
    let templates = Templates::load(config.mail.templates_dir.as_deref())?;
    staff_addresses(config)?;
    if !can_send_mail(config) {
        return Ok(None);
    }
    let (transport, folder) = if let Some(url) = &config.mail.smtp_url {
        (smtp_server(config, url)?, None)
    } else {
        let folder = mail_folder(config, files)?;
        (MailTransport::Folder(folder.clone()), Some(folder))
    };
    let composer = composer(config, address, (ambient, files), templates)?;
    let max_hold = TimeDelta::seconds(config.mail.max_hold_seconds.into());
    let parts = Mail { composer, transport, senders: config.mail.senders, max_hold };
    let rules = MailRules {
        window: TimeDelta::seconds(config.mail.window_seconds.into()),
        staff_addresses: config.mail.staff_addresses.clone(),
        staff_locale: staff_locale(config),
    };
    Ok(Some(MailSetup { parts, folder, rules }))
}

/// Checks the form of the settings of mail that are set.
///
/// # Errors
/// An address, a URL or a key that cannot be used.
pub(super) fn check(config: &Config) -> Result<(), StartError> {
    staff_addresses(config)?;
    if let Some(from) = &config.mail.from {
        parse_from(from)?;
    }
    if let Some(url) = &config.mail.smtp_url {
        SmtpServer::check_url(url.expose()).map_err(|it| invalid_setting("mail.smtp_url", it))?;
    }
    if let Some(key) = &config.mail.signing_key {
        SigningKey::new(key.expose()).map_err(|problem| invalid_setting(SIGNING_KEY, problem))?;
    }
    Ok(())
}

/// Tells the installation about the start of this node: one that can send mail stores how mails are
/// planned, and switches mail on if nobody has decided that yet. Logs whether mail is sent.
///
/// # Errors
/// The database failed.
pub async fn announce(mail: Option<&MailSetup>, database: &Database) -> Result<(), StartError> {
    let mut connection = database.read().await?;
    let Some(mail) = mail else {
        let enabled = installation::mail_enabled(&mut connection).await?;
        let elsewhere = enabled.unwrap_or(false);
        tracing::info!(elsewhere, "this node sends no mail: mail.smtp_url is not set");
        return Ok(());
    };
    if !installation::adopt_mail_rules(&mut connection, &mail.rules).await? {
        tracing::warn!("no mail is sent: it is switched off; see `ticketwire mail enable`");
    }
    Ok(())
}

/// Checks that the categories in `mail.staff_addresses` exist, which only the database knows. New
/// tickets of a misspelt one would notify nobody.
///
/// # Errors
/// A category that does not exist, addresses that cannot be parsed, or the database failed.
pub async fn check_staff_addresses(config: &Config, database: &Database) -> Result<(), StartError> {
    let staff = staff_addresses(config)?;
    let categories = category::all(&mut *database.read().await?).await?;
    let known = categories.iter().map(|category| category.slug.as_str()).collect::<Vec<_>>();
    let Some(unknown) = staff.slugs().find(|slug| !known.contains(slug)) else { return Ok(()) };
    let problem =
        format!("names the unknown category `{unknown}`; the categories are {}", known.join(", "));
    Err(invalid_setting("mail.staff_addresses", problem))
}

fn staff_addresses(config: &Config) -> Result<StaffAddresses, StartError> {
    StaffAddresses::parse(&config.mail.staff_addresses, staff_locale(config))
        .map_err(|problem| invalid_setting("mail.staff_addresses", problem))
}

fn staff_locale(config: &Config) -> Locale {
    match config.mail.staff_locale {
        LocaleName::En => Locale::En,
        LocaleName::Ru => Locale::Ru,
    }
}

fn smtp_server(config: &Config, url: &Secret) -> Result<MailTransport, StartError> {
    let read = |path: &PathBuf| {
        let failed = |error| format!("cannot be read: {}: {error}", path.display());
        fs::read(path).map_err(|error| unusable_setting("mail.ca_file", failed(error)))
    };
    let trusted = config.mail.ca_file.as_ref().map(read).transpose()?;
    if trusted.as_deref().is_some_and(|pem| CertificateDer::pem_slice_iter(pem).next().is_none()) {
        return Err(unusable_setting("mail.ca_file", format!("cannot be used: {NO_CERTIFICATE}")));
    }
    let settings = SmtpSettings {
        url: url.expose(),
        trusted: trusted.as_deref(),
        timeout: Duration::from_secs(config.mail.timeout_seconds.into()),
    };
    SmtpServer::new(&settings)
        .map(MailTransport::Smtp)
        .map_err(|problem| invalid_setting("mail.smtp_url", problem))
}

fn composer(
    config: &Config,
    address: SocketAddr,
    (ambient, files): (&Ambient, Files),
    templates: Templates,
) -> Result<Composer, StartError> {
    let from = parse_from(sender(config)?)?;
    if config.links.base_url.is_none() && !config.embeds_database() {
        return Err(missing_setting("links.base_url", "https://support.example.com"));
    }
    let key = signing_key(config, ambient, files)?;
    let keys = match files {
        Files::Created => keyring(config)?,
        Files::LeftOut => keyring_or_stand_in(config, ambient)?,
    };
    Ok(Composer {
        templates,
        from,
        number_prefix: number_prefix(config)?,
        ticket_link: links::ticket(config, address),
        unsubscribe_link: links::unsubscribe(config, address),
        one_click_link: links::one_click(config, address),
        reset_link: links::reset_password(config, address),
        keys,
        key: SigningKey::new(&key).map_err(|problem| invalid_setting(SIGNING_KEY, problem))?,
    })
}

fn parse_from(text: &str) -> Result<Mailbox, StartError> {
    parse_sender(text).map_err(|_| {
        invalid_setting("mail.from", "must be like Example Support <support@example.com>")
    })
}

fn sender(config: &Config) -> Result<&str, StartError> {
    match &config.mail.from {
        Some(from) => Ok(from),
        None if config.embeds_database() => Ok(DEMO_FROM),
        None => Err(missing_setting("mail.from", "Example Support <support@example.com>")),
    }
}

fn signing_key(config: &Config, ambient: &Ambient, files: Files) -> Result<String, StartError> {
    match &config.mail.signing_key {
        Some(key) => Ok(key.expose().to_owned()),
        None if config.embeds_database() => {
            let file = mail_folder(config, files)?.join("signing.key");
            match files {
                Files::Created => load_or_create_key(&file, ambient),
                Files::LeftOut => load_key_or_stand_in(&file, ambient),
            }
        }
        None => Err(missing_setting(SIGNING_KEY, "the output of `openssl rand -hex 32`")),
    }
}

fn mail_folder(config: &Config, files: Files) -> Result<PathBuf, StartError> {
    let folder = config.data_dir.join("mail");
    if files == Files::LeftOut {
        return Ok(folder);
    }
    let failed = |error: io::Error| {
        unusable_setting("data_dir", format!("cannot be used: {}: {error}", folder.display()))
    };
    embedded::create_data_dir(&config.data_dir)
        .and_then(|()| fs::create_dir_all(&folder))
        .map_err(failed)?;
    Ok(folder)
}
