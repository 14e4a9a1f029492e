//! Notifications and outgoing mail.
//!
//! The [planner](planner) reads the event log. In one transaction per batch it stores the
//! notifications of each event and the deliveries, which are mails to be sent. The
//! [senders](sender) claim one delivery at a time, have it [composed](compose) from
//! [templates](templates) and hand it to a [transport](transport): a mail server or a folder.
//! Planner and senders share nothing but the database, so each of them can be killed at any
//! point without losing a mail.

pub mod compose;
mod error;
mod planner;
mod sender;
pub mod smtp;
mod staff_addresses;
pub mod templates;
pub mod transport;

use std::sync::Arc;

use chrono::TimeDelta;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    db::Database,
    domain::clock::Ambient,
    events::{ConsumerRunner, EventLog},
    metrics::Metrics,
};
use compose::Composer;
use transport::MailTransport;

pub use error::SendError;
pub use staff_addresses::StaffAddresses;

/// What is needed to send mail. An installation without it notifies people in the app only.
pub struct Mail {
    /// Events of a ticket that happen within this time are sent in one mail.
    pub window: TimeDelta,
    /// The addresses that are notified of new tickets.
    pub staff: StaffAddresses,
    /// Composes the mails.
    pub composer: Composer,
    /// Sends the mails.
    pub transport: MailTransport,
    /// How many mails are sent at the same time, not counting the sender that is reserved for
    /// priority mail.
    pub senders: usize,
}

/// Starts this node's planner and, if mail is configured, its senders. They run until `stop`.
/// A mail that is being sent at that moment has a few seconds to finish.
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
        ambient: ambient.clone(),
        log: log.clone(),
        rules,
        planned: Arc::clone(&planned),
    };
    let (stopped, runner) = (stop.clone(), ConsumerRunner::new(log, Box::new(planner)));
    tasks.spawn(async move { stopped.run_until_cancelled(runner.run()).await });
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
    // One more sender is reserved for priority mail: a one-time code is sent even if all
    // the others stall.
    for priority_only in std::iter::repeat_n(false, senders).chain([true]) {
        let sender = Arc::clone(&sender);
        tasks.spawn(async move { sender.run(priority_only).await });
    }
}
