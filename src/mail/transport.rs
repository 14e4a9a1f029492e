//! Where mails leave: a mail server, or, for newcomers, a folder.

use std::{path::PathBuf, time::Duration};

use chrono::TimeDelta;
use lettre::Message;
use tokio::fs;

use super::smtp::SmtpServer;
use crate::domain::delivery::Delivery;

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server refuses it for good.
    #[error("{0}")]
    Refused(String),
    /// It may go another time.
    #[error("{0}")]
    Failed(String),
}

/// Where mails leave.
pub enum MailTransport {
    /// A mail server.
    Smtp(SmtpServer),
    /// A folder that gets an `.eml` file for each mail.
    Folder(PathBuf),
}

impl MailTransport {
    /// Connects, with TLS and AUTH where they are configured, and sends nothing.
    ///
    /// # Errors
    /// What failed.
    pub async fn check(&self) -> Result<(), SendError> {
        match self {
            Self::Smtp(server) => server.check().await,
            Self::Folder(_) => Ok(()),
        }
    }

    /// How long a sender may hold a mail: longer than an attempt takes.
    pub(super) fn lease(&self) -> TimeDelta {
        let attempt = match self {
            Self::Smtp(server) => server.timeout(),
            Self::Folder(_) => Duration::from_secs(10),
        };
        TimeDelta::from_std(attempt * 2).unwrap_or(TimeDelta::minutes(2)) + TimeDelta::seconds(1)
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn send(&self, delivery: &Delivery, message: Message) -> Result<(), SendError> {
        match self {
            Self::Smtp(server) => server.send(&message).await,
            Self::Folder(folder) => {
                let name = format!("{:010}-{}.eml", delivery.seq, delivery.id.0);
                let failed = |error: std::io::Error| {
                    SendError::Failed(format!("{}: {error}", folder.display()))
                };
                // Renamed into place, so that nobody reads half a mail.
                let part = folder.join(format!("{name}.part"));
                fs::write(&part, message.formatted()).await.map_err(failed)?;
                fs::rename(&part, folder.join(name)).await.map_err(failed)
            }
        }
    }

    /// Sends a mail that no delivery stands for.
    ///
    /// # Errors
    /// It was not taken; there is no mail server.
    pub async fn submit(&self, message: &Message) -> Result<(), SendError> {
        match self {
            Self::Smtp(server) => server.send(message).await,
            Self::Folder(_) => Err(SendError::Failed("no mail server is configured".into())),
        }
    }
}
