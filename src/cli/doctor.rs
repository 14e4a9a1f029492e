//! `doctor` and `mail test`: check the parts of the installation and report what is wrong.

use super::output::{CliResult, print};
use crate::{
    app::{self, ServerDatabase, descriptors, mail},
    config::Config,
    db::{Database, DbError, consumer, delivery, feed, migrations},
    domain::{account::Locale, ids::AttachmentId},
};

/// The result of a check, in words.
type Check = Result<String, String>;

/// Prints the results of the checks and counts those that fail.
#[derive(Default)]
struct Report {
    failed: usize,
}

impl Report {
    fn add(&mut self, subject: &str, check: Check) -> CliResult {
        match check {
            Ok(state) => print(&format!("ok      {subject}: {state}\n")),
            Err(problem) => {
                self.failed += 1;
                print(&format!("FAILED  {subject}: {problem}\n"))
            }
        }
    }
}

/// Runs every check, even after one has failed.
///
/// # Errors
/// A check failed.
pub(super) async fn run(config: &Config) -> CliResult {
    let mut report = Report::default();
    match ServerDatabase::open_for_command(config).await {
        Err(error) => report.add("database", Err(error.to_string()))?,
        Ok(store) => {
            let checked = check_store(config, &store, &mut report).await;
            store.close().await;
            checked?;
        }
    }
    report.add("descriptors", descriptors::check(config))?;
    report.add("mail", check_mail_server(config).await)?;
    report.add("attachments", check_storage(config).await)?;
    match report.failed {
        0 => Ok(()),
        1 => Err("1 check failed".into()),
        failed => Err(format!("{failed} checks failed").into()),
    }
}

async fn check_store(config: &Config, store: &ServerDatabase, report: &mut Report) -> CliResult {
    let database = match connect(config, store).await {
        Err(error) => return report.add("database", Err(error.to_string())),
        Ok(database) => database,
    };
    report.add("database", Ok("connected".into()))?;
    report.add("migrations", check_migrations(&database).await)?;
    report.add("mail queue", check_queue(&database).await)?;
    report.add("staff addresses", check_staff_addresses(config, &database).await)?;
    database.close();
    Ok(())
}

async fn connect(config: &Config, store: &ServerDatabase) -> Result<Database, DbError> {
    let database = store.connect(config)?;
    database.ping().await?;
    Ok(database)
}

async fn check_migrations(database: &Database) -> Check {
    match migrations::pending(database).await {
        Ok(0) => Ok("up to date".into()),
        Ok(count) => Err(format!("{count} pending: run `ticketwire migrate`")),
        Err(error) => Err(error.to_string()),
    }
}

async fn check_queue(database: &Database) -> Check {
    let read = async {
        let mut connection = database.read().await?;
        let notified_up_to = consumer::offset(&mut connection, consumer::NOTIFICATIONS).await?;
        let unplanned = feed::head(&mut connection).await? - notified_up_to;
        let next = delivery::next_due(&mut connection).await?;
        Ok::<_, DbError>((unplanned, next))
    };
    let (unplanned, next) = read.await.map_err(|error| error.to_string())?;
    let next = match next {
        None => "empty".to_owned(),
        Some(due) => format!("the next mail is due at {due}"),
    };
    Ok(format!("{next}; events to plan: {unplanned}"))
}

async fn check_staff_addresses(config: &Config, database: &Database) -> Check {
    let checked = mail::check_staff_addresses(config, database).await;
    checked.map(|()| "their categories exist".into()).map_err(|error| error.to_string())
}

async fn check_storage(config: &Config) -> Check {
    let storage = app::storage::set_up(config).map_err(|error| error.to_string())?;
    let Some(storage) = storage else {
        return Ok("not accepted: neither storage.folder nor storage.s3.bucket is set".into());
    };
    let checked = storage.check(AttachmentId(app::ambient().uuid())).await;
    checked.map(|()| "can be stored".into()).map_err(|error| error.to_string())
}

async fn check_mail_server(config: &Config) -> Check {
    let mail = mail::set_up(config, config.listen, &app::ambient());
    let Some(mail) = mail.map_err(|error| error.to_string())? else {
        return Ok("not sent: mail.smtp_url is not set".into());
    };
    if let Some(folder) = mail.folder {
        return Ok(format!("written to {}: mail.smtp_url is not set", folder.display()));
    }
    let checked = mail.parts.transport.check().await;
    checked.map(|()| "the mail server is ready".into()).map_err(|error| error.to_string())
}

/// Sends a test mail to an address.
///
/// # Errors
/// No mail server is configured, the address is malformed, or the mail was not accepted.
pub(super) async fn send_test_mail(config: &Config, address: &str, locale: Locale) -> CliResult {
    const UNSET: &str = "no mail server is configured: set mail.smtp_url \
                         (TICKETWIRE_MAIL_SMTP_URL), for example to \
                         smtp://user:password@host:587?tls=required";
    if config.mail.smtp_url.is_none() {
        return Err(UNSET.into());
    }
    let ambient = app::ambient();
    let mail = mail::set_up(config, config.listen, &ambient)?.ok_or(UNSET)?;
    let message =
        mail.parts.composer.compose_test(address, locale, ambient.uuid(), ambient.now())?;
    match mail.parts.transport.send_test(&message).await {
        Ok(()) => print(&format!("The mail server accepted a mail to {address}.\n")),
        Err(error) => Err(format!("the mail was not sent: {error}").into()),
    }
}
