//! `doctor` and `mail test`: what works, and what doesn't and why.

use std::error::Error;

use super::print;
use crate::{
    app::{self, Store, mail},
    config::Config,
    db::{Database, consumer, delivery, feed, migrations},
    domain::{account::Locale, ids::AttachmentId},
};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Checks every part, goes on where one fails, and fails if any did.
pub async fn run(config: &Config) -> Outcome {
    let mut failed = 0;
    let mut say = |what: &str, found: Result<String, String>| {
        let line = match found {
            Ok(fine) => format!("ok      {what}: {fine}\n"),
            Err(wrong) => {
                failed += 1;
                format!("FAILED  {what}: {wrong}\n")
            }
        };
        print(&line)
    };
    match Store::open_for_command(config).await {
        Err(error) => say("database", Err(error.to_string()))?,
        Ok(store) => {
            let checked = async {
                let database = store.connect(config).map_err(|error| error.to_string())?;
                database.ping().await.map_err(|error| error.to_string())?;
                Ok(database)
            };
            match checked.await {
                Err(error) => say("database", Err(error))?,
                Ok(database) => {
                    say("database", Ok("it answers".into()))?;
                    say("migrations", migrated(&database).await)?;
                    say("mail queue", queue(&database).await)?;
                    say("staff addresses", staff_addresses(config, &database).await)?;
                    database.close();
                }
            }
            store.close().await;
        }
    }
    say("mail", mail_server(config).await)?;
    say("attachments", storage(config).await)?;
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of the checks failed").into()) }
}

async fn migrated(database: &Database) -> Result<String, String> {
    match migrations::pending(database).await {
        Ok(0) => Ok("up to date".into()),
        Ok(count) => Err(format!("{count} are missing; run `ticketwire migrate`")),
        Err(error) => Err(error.to_string()),
    }
}

async fn queue(database: &Database) -> Result<String, String> {
    let read = async {
        let mut connection = database.read().await?;
        let notified_up_to = consumer::offset(&mut connection, consumer::NOTIFICATIONS).await?;
        let behind = feed::head(&mut connection).await? - notified_up_to;
        let next = delivery::next_due(&mut connection).await?;
        Ok::<_, crate::db::DbError>((behind, next))
    };
    match read.await {
        Ok((behind, None)) => Ok(format!("empty; {behind} events are not planned yet")),
        Ok((behind, Some(due))) => {
            Ok(format!("the next mail is due at {due}; {behind} events are not planned yet"))
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn staff_addresses(config: &Config, database: &Database) -> Result<String, String> {
    let checked = mail::check_staff_addresses(config, database).await;
    checked.map(|()| "their categories exist".into()).map_err(|error| error.to_string())
}

async fn storage(config: &Config) -> Result<String, String> {
    match app::storage::set_up(config).map_err(|error| error.to_string())? {
        None => Ok("none are taken, since neither storage.folder nor storage.s3 is set".into()),
        Some(storage) => {
            let tried = storage.check(AttachmentId(app::ambient().uuid())).await;
            tried.map(|()| "they can be kept".into()).map_err(|error| error.to_string())
        }
    }
}

async fn mail_server(config: &Config) -> Result<String, String> {
    match mail::set_up(config, config.listen, &app::ambient()) {
        Err(error) => Err(error.to_string()),
        Ok(None) => Ok("none goes out, since mail.smtp_url is not set".into()),
        Ok(Some(mail::SetUp { folder: Some(folder), .. })) => {
            Ok(format!("written to {}, since mail.smtp_url is not set", folder.display()))
        }
        Ok(Some(mail)) => match mail.parts.transport.check().await {
            Ok(()) => Ok("the server takes our connection".into()),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// Sends a mail to an address.
pub async fn mail_test(config: &Config, address: &str, locale: Locale) -> Outcome {
    if config.mail.smtp_url.is_none() {
        return Err("no mail goes out: set mail.smtp_url (or TICKETWIRE_MAIL_SMTP_URL) to a mail \
                    server, like smtp://user:password@host:587?tls=required"
            .into());
    }
    let ambient = app::ambient();
    let Some(mail) = mail::set_up(config, config.listen, &ambient)? else {
        return Err("no mail goes out".into());
    };
    let message =
        mail.parts.composer.compose_test(address, locale, ambient.uuid(), ambient.now())?;
    match mail.parts.transport.send_test(&message).await {
        Ok(()) => print(&format!("The mail server took a mail to {address}.\n")),
        Err(error) => Err(format!("the mail was not sent: {error}").into()),
    }
}
