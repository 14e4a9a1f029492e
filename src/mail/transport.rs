//! Hands composed mails over: to a mail server, or, in the demo, to a folder.

use std::{path::PathBuf, time::Duration};

use chrono::TimeDelta;
use lettre::{Address, Message};
use tokio::fs;

use super::{error::SendError, smtp::SmtpServer};
use crate::domain::delivery::Delivery;

/// Where mails are sent.
pub enum MailTransport {
    /// To a mail server.
    Smtp(SmtpServer),
    /// Into a folder, as one `.eml` file per mail.
    Folder(PathBuf),
}

impl MailTransport {
    /// Connects to the mail server, with TLS and authentication as configured, and asks whether
    /// it accepts mail from the sender. Sends nothing. Does nothing for a folder.
    ///
    /// # Errors
    /// Connecting, TLS or authentication failed, or the mail server refuses the sender.
    pub async fn check(&self, from: &Address) -> Result<(), SendError> {
        match self {
            Self::Smtp(server) => server.check(from).await,
            Self::Folder(_) => Ok(()),
        }
    }

    /// How long a sender leases a delivery: longer than an attempt takes until it waits for the verdict of
    /// a mail server.
    pub(super) fn lease(&self) -> TimeDelta {
        let attempt = match self {
            Self::Smtp(server) => server.timeout(),
            Self::Folder(_) => Duration::from_secs(10),
        };
        TimeDelta::from_std(attempt * 2).unwrap_or(TimeDelta::minutes(2)) + TimeDelta::seconds(1)
    }

    /// Sends the mail of a delivery.
    ///
    /// # Errors
    /// The mail was not accepted.
    pub async fn send(&self, delivery: &Delivery, message: Message) -> Result<(), SendError> {
        match self {
            Self::Smtp(server) => server.send(&message).await,
            Self::Folder(folder) => {
                let name = format!("{:010}-{}.eml", delivery.seq, delivery.id.0);
                let failed = |error: std::io::Error| {
                    SendError::Transient(format!("{}: {error}", folder.display()))
                };
                // Renamed when complete, so that nobody reads a partial mail.
                let part = folder.join(format!("{name}.part"));
                fs::write(&part, message.formatted()).await.map_err(failed)?;
                fs::rename(&part, folder.join(name)).await.map_err(failed)
            }
        }
    }

    /// Sends a mail that belongs to no delivery.
    ///
    /// # Errors
    /// The mail was not accepted, or no mail server is configured.
    pub async fn send_test(&self, message: &Message) -> Result<(), SendError> {
        match self {
            Self::Smtp(server) => server.send(message).await,
            Self::Folder(_) => Err(SendError::Transient("no mail server is configured".into())),
        }
    }
}
