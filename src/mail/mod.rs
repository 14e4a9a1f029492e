//! Notifications and outgoing mail.
//!
//! The [planner](planner) reads the event log. In one transaction per batch it stores the
//! notifications of each event and the deliveries, which are mails to be sent. The
//! [senders](sender) claim one delivery at a time, have it [composed](compose) from
//! [templates](templates) and hand it to a [transport](transport): a mail server or a folder.
//! Planner and senders share nothing but the database, so each of them can be killed at any
//! point without losing a mail. Whether mail goes out, and how it is planned, is in the database
//! too: a node without a transport plans like the others and leaves sending to them.

mod address;
pub mod compose;
mod error;
mod expiry;
mod header;
mod hold;
mod planner;
mod sender;
pub mod smtp;
mod staff_addresses;
pub mod templates;
pub mod transport;

use std::sync::{Arc, atomic::AtomicUsize};

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

pub use address::parse_sender;
pub use error::SendError;
pub use expiry::expire_overdue;
pub use staff_addresses::StaffAddresses;

/// What a node needs to send mail.
pub struct Mail {
    /// Composes the mails.
    pub composer: Composer,
    /// Sends the mails.
    pub transport: MailTransport,
    /// How many mails are sent at the same time, not counting the sender that is reserved for
    /// priority mail.
    pub senders: usize,
    /// The longest pause after the mail server has refused the sender or the session.
    pub max_hold: TimeDelta,
}

/// Starts this node's planner and, if it can send mail, its senders. They run until `stop`.
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
    let planner = planner::Planner {
        ambient: ambient.clone(),
        log: log.clone(),
        planned: Arc::clone(&planned),
    };
    let (stopped, runner) = (stop.clone(), ConsumerRunner::new(log, Box::new(planner)));
    // Boxed, since it is large.
    let planning = Box::pin(runner.run());
    tasks.spawn(async move { stopped.run_until_cancelled(planning).await });
    let Some(mail) = mail else { return };
    let (senders, lease) = (mail.senders, mail.transport.lease());
    let sender = Arc::new(sender::Sender {
        database: database.clone(),
        ambient: ambient.clone(),
        lease,
        composer: mail.composer,
        transport: mail.transport,
        hold: hold::Hold::new(mail.max_hold, lease, metrics.clone()),
        planned,
        stop: stop.clone(),
        metrics: metrics.clone(),
        unrecorded: AtomicUsize::new(0),
    });
    // One more sender is reserved for priority mail: a one-time code is sent even if all
    // the others stall.
    for priority_only in std::iter::repeat_n(false, senders).chain([true]) {
        let sender = Arc::clone(&sender);
        tasks.spawn(async move { sender.run(priority_only).await });
    }
}
