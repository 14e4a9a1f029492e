//! `doctor`: checks the parts of the installation and reports what is wrong.

use super::{
    mail::state_name,
    output::{CliResult, print},
};
use crate::{
    app::{self, ServerDatabase, descriptors, mail},
    config::Config,
    db::{Database, DbError, consumer, delivery, feed, installation, migrations, set_aside},
    domain::ids::AttachmentId,
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
        Ok(database) => {
            let checked = check_database(config, &database, &mut report).await;
            database.close().await;
            checked?;
        }
    }
    report.add("descriptors", descriptors::check(config))?;
    let certificate = app::check_certificate(config, app::ambient().now()).await;
    report.add("certificate", certificate.map_err(|error| error.to_string()))?;
    report.add("mail", check_mail_server(config).await)?;
    report.add("attachments", check_storage(config).await)?;
    match report.failed {
        0 => Ok(()),
        1 => Err("1 check failed".into()),
        failed => Err(format!("{failed} checks failed").into()),
    }
}

async fn check_database(
    config: &Config,
    database: &ServerDatabase,
    report: &mut Report,
) -> CliResult {
    let pool = match connect(config, database).await {
        Err(error) => return report.add("database", Err(error.to_string())),
        Ok(pool) => pool,
    };
    report.add("database", Ok("connected".into()))?;
    report.add("migrations", check_migrations(&pool).await)?;
    report.add("sealing keys", check_sealing_keys(config, &pool).await)?;
    report.add("mail setting", check_mail_setting(&pool).await)?;
    report.add("mail queue", check_queue(&pool).await)?;
    report.add("failed mails", check_failed_mails(&pool).await)?;
    report.add("events", check_set_aside(&pool).await)?;
    report.add("staff addresses", check_staff_addresses(config, &pool).await)?;
    pool.close();
    Ok(())
}

async fn connect(config: &Config, database: &ServerDatabase) -> Result<Database, DbError> {
    let pool = database.connect(config)?;
    pool.ping().await?;
    Ok(pool)
}

async fn check_migrations(database: &Database) -> Check {
    match migrations::pending(database).await {
        Ok(names) if names.is_empty() => Ok("up to date".into()),
        Ok(names) => Err(format!("run `ticketwire migrate`; pending: {}", names.join(", "))),
        Err(error) => Err(error.to_string()),
    }
}

async fn check_sealing_keys(config: &Config, database: &Database) -> Check {
    let checked = app::check_sealing_keys(config, database, &app::ambient()).await;
    checked.map(|()| "those of this database".into()).map_err(|error| error.to_string())
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
        Some(due) => format!("next mail due at {due}"),
    };
    Ok(match unplanned {
        1 => format!("{next}; 1 event is not planned yet"),
        count => format!("{next}; {count} events are not planned yet"),
    })
}

async fn check_set_aside(database: &Database) -> Check {
    let count = async { set_aside::count(&mut *database.read().await?).await };
    match count.await {
        Ok(0) => Ok("none was set aside".into()),
        Ok(count) => Err(format!(
            "{count} could not be processed and were set aside: see `ticketwire outbox list`, mend \
             the cause, then run `ticketwire outbox retry --all`"
        )),
        Err(error) => Err(error.to_string()),
    }
}

async fn check_mail_setting(database: &Database) -> Check {
    let read = async { installation::mail_enabled(&mut *database.read().await?).await };
    Ok(match read.await.map_err(|error| error.to_string())? {
        Some(true) => "on".into(),
        Some(false) => "off: `ticketwire mail enable` switches it on".into(),
        None => "not decided: the first start of a server with mail.smtp_url switches it on".into(),
    })
}

async fn check_failed_mails(database: &Database) -> Check {
    let read = async { delivery::failures(&mut *database.read().await?).await };
    let (failed, waiting_for) = read.await.map_err(|error| error.to_string())?;
    let failed = failed.iter().map(|(state, count)| format!("{} {count}", state_name(*state)));
    let failed = match failed.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        failed => format!("{failed}; see `ticketwire mail list`"),
    };
    Ok(match waiting_for {
        None => failed,
        Some(error) => format!("{failed}; the last error of a mail that is queued: {error}"),
    })
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
        return Ok("not sent by this node: mail.smtp_url is not set".into());
    };
    if let Some(folder) = mail.folder {
        return Ok(format!("written to {}: mail.smtp_url is not set", folder.display()));
    }
    let checked = mail.parts.transport.check(&mail.parts.composer.from.email).await;
    checked.map(|()| "the mail server is ready".into()).map_err(|error| error.to_string())
}
