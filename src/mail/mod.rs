//! Telling people of what happened. The [planner](planner) reads the event log and
//! writes down, in one transaction a batch, what is shown on whose bell and what is
//! mailed to whom. The [senders](sender) take those mails in hand one by one, have
//! them [composed](compose) from [templates](templates), and give them to an
//! [transport](transport): a mail server, or files. The database is all that the two
//! share, so either may be killed at any point.

pub mod compose;
mod planner;
mod sender;
pub mod smtp;
pub mod templates;
pub mod transport;

use std::{collections::HashMap, sync::Arc};

use chrono::TimeDelta;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    db::Database,
    domain::{
        account::{EmailAddress, Locale},
        category::Category,
        clock::Ambient,
    },
    events::EventLog,
    metrics::Metrics,
};
use compose::Composer;
use transport::MailTransport;

/// What goes out by mail, and how. Without it people are told on the bell only.
pub struct Mail {
    /// For how long events join one mail.
    pub window: TimeDelta,
    /// Who looks after which category.
    pub staff: StaffAddresses,
    /// Makes mails.
    pub composer: Composer,
    /// Takes them.
    pub transport: MailTransport,
    /// So many mails are sent at once.
    pub senders: usize,
}

/// The addresses that are told of new tickets, by the slug of the category.
#[derive(Clone, Default)]
pub struct StaffAddresses {
    by_slug: HashMap<String, EmailAddress>,
    other: Option<EmailAddress>,
    /// The language that they are addressed in.
    locale: Option<Locale>,
}

impl StaffAddresses {
    /// Reads `sales=sales@example.com, *=desk@example.com`; `*` stands for the
    /// categories that are not named.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str, locale: Locale) -> Result<Self, String> {
        let mut addresses = Self { locale: Some(locale), ..Self::default() };
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (slug, address) = entry.split_once('=').ok_or_else(|| {
                format!("has `{entry}`; write category=address, like `sales=sales@example.com`")
            })?;
            let address = EmailAddress::parse(address)
                .map_err(|error| format!("has `{entry}`: the address {error}"))?;
            match slug.trim() {
                "*" => addresses.other = Some(address),
                slug => drop(addresses.by_slug.insert(slug.to_owned(), address)),
            }
        }
        Ok(addresses)
    }

    /// The categories that are named.
    pub fn slugs(&self) -> impl Iterator<Item = &str> {
        self.by_slug.keys().map(String::as_str)
    }

    fn of(&self, category: &Category) -> Option<(&EmailAddress, Locale)> {
        let address = self.by_slug.get(&category.slug).or(self.other.as_ref())?;
        Some((address, self.locale.unwrap_or(Locale::En)))
    }
}

/// Starts this node's planner and, where mail goes out, its senders. They run until
/// `stop`; a mail that is being sent then is finished, if that takes seconds only.
pub fn start(
    database: &Database,
    ambient: &Ambient,
    log: &EventLog,
    mail: Option<Mail>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    let planned = Arc::new(Notify::new());
    let rules = mail.as_ref().map(|mail| (mail.window, mail.staff.clone()));
    let planner = planner::Planner {
        database: database.clone(),
        ambient: ambient.clone(),
        log: log.clone(),
        rules,
        planned: Arc::clone(&planned),
    };
    let stopped = stop.clone();
    tasks.spawn(async move { stopped.run_until_cancelled(planner.run()).await });
    let Some(mail) = mail else { return };
    let senders = mail.senders;
    let sender = Arc::new(sender::Sender {
        database: database.clone(),
        ambient: ambient.clone(),
        lease: mail.transport.lease(),
        composer: mail.composer,
        transport: mail.transport,
        planned,
        stop: stop.clone(),
        metrics: metrics.clone(),
    });
    // One more that takes priority mail only: however many stall, a code goes out.
    for priority_only in std::iter::repeat_n(false, senders).chain([true]) {
        let sender = Arc::clone(&sender);
        tasks.spawn(async move { sender.run(priority_only).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staff_addresses_are_read_and_bad_ones_named() {
        let read = StaffAddresses::parse("sales = S@example.com, *=desk@example.com,", Locale::En)
            .unwrap();
        assert_eq!(read.by_slug["sales"].as_str(), "s@example.com");
        assert_eq!(read.other.unwrap().as_str(), "desk@example.com");
        for text in ["sales", "sales=nobody", "sales=a@b\r\nBcc: c@d"] {
            assert!(StaffAddresses::parse(text, Locale::En).is_err(), "{text}");
        }
    }
}
