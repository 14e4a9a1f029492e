//! Where mails leave: a mail server, or, for newcomers, a folder.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use lettre::{
    AsyncTransport as _, Message, Tokio1Executor,
    transport::smtp::{
        AsyncSmtpTransport, AsyncSmtpTransportBuilder, Error as SmtpError, PoolConfig,
        client::{Certificate, Tls, TlsParameters},
    },
};
use tokio::{fs, time};

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

/// How a mail server is reached.
pub struct SmtpSettings<'a> {
    /// `smtp://` or `smtps://`, with user and password, and with `?tls=required` or
    /// `?tls=opportunistic` for STARTTLS.
    pub url: &'a str,
    /// A certificate (PEM) to trust besides this machine's.
    pub trusted: Option<&'a [u8]>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Connections at most.
    pub connections: u32,
}

/// Where mails leave.
pub enum Outlet {
    /// A mail server.
    Smtp {
        /// How to connect.
        builder: Box<AsyncSmtpTransportBuilder>,
        /// Pooled connections. Exchanged for none after a timeout: lettre puts a
        /// connection that was given up in mid-sentence back into its pool.
        transport: Mutex<AsyncSmtpTransport<Tokio1Executor>>,
        /// How long one attempt may take.
        timeout: Duration,
    },
    /// A folder that gets an `.eml` file for each mail.
    Folder(PathBuf),
}

impl Outlet {
    /// A mail server. Nothing is connected yet.
    ///
    /// # Errors
    /// A URL or certificate that can't be used. The text never repeats the URL,
    /// which holds a password.
    pub fn smtp(settings: &SmtpSettings<'_>) -> Result<Self, String> {
        let form = "must be like smtp://user:password@host:587?tls=required (STARTTLS) or \
                    smtps://user:password@host (TLS from the start); percent-encode special \
                    characters of the password";
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.url)
            .map_err(|_| form.to_owned())?
            .timeout(Some(settings.timeout))
            .pool_config(PoolConfig::new().max_size(settings.connections));
        if let Some(pem) = settings.trusted {
            let certificate = Certificate::from_pem(pem).map_err(|error| chain(&error))?;
            let host = host(settings.url).ok_or_else(|| form.to_owned())?;
            let tls = TlsParameters::builder(host.to_owned())
                .add_root_certificate(certificate)
                .build()
                .map_err(|error| chain(&error))?;
            builder = match (settings.url.split_once("://"), settings.url.split_once("tls=")) {
                (Some(("smtps", _)), _) => builder.tls(Tls::Wrapper(tls)),
                (_, Some((_, way))) if way.starts_with("required") => {
                    builder.tls(Tls::Required(tls))
                }
                (_, Some(_)) => builder.tls(Tls::Opportunistic(tls)),
                _ => builder,
            };
        }
        let transport = Mutex::new(builder.clone().build());
        Ok(Self::Smtp { builder: Box::new(builder), transport, timeout: settings.timeout })
    }

    /// Connects, with TLS and AUTH where they are configured, and sends nothing.
    ///
    /// # Errors
    /// What failed.
    pub async fn try_out(&self) -> Result<(), SendError> {
        match self {
            Self::Smtp { .. } => self.attempt(async |transport| connected(&transport).await).await,
            Self::Folder(_) => Ok(()),
        }
    }

    /// How long a sender may hold a mail: longer than an attempt takes.
    pub(super) fn lease(&self) -> TimeDelta {
        let attempt = match self {
            Self::Smtp { timeout, .. } => *timeout,
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
            Self::Smtp { .. } => self.submit(message).await,
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
    pub async fn submit(&self, message: Message) -> Result<(), SendError> {
        let plain = !message.envelope().to().iter().any(|to| !to.to_string().is_ascii());
        self.attempt(async |transport| {
            // What goes wrong before the mail is spoken of (greeting, TLS, AUTH) is
            // no verdict on the mail, whatever code it has.
            connected(&transport).await?;
            transport.send(message).await.map(|_| ()).map_err(|error| {
                // Only a server with SMTPUTF8 takes letters that are not ASCII.
                if error.is_permanent() || (error.is_client() && !plain) {
                    SendError::Refused(chain(&error))
                } else {
                    failed(error)
                }
            })
        })
        .await
    }

    /// Does something with the mail server, in the time that an attempt may take.
    async fn attempt(
        &self,
        work: impl AsyncFnOnce(AsyncSmtpTransport<Tokio1Executor>) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Self::Smtp { builder, transport, timeout } = self else {
            return Err(SendError::Failed("no mail server is configured".into()));
        };
        let current = transport.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match time::timeout(*timeout, work(current)).await {
            Ok(done) => done,
            Err(_) => {
                *transport.lock().unwrap_or_else(PoisonError::into_inner) =
                    builder.as_ref().clone().build();
                Err(SendError::Failed(format!(
                    "the mail server did not answer within {} s",
                    timeout.as_secs()
                )))
            }
        }
    }
}

async fn connected(transport: &AsyncSmtpTransport<Tokio1Executor>) -> Result<(), SendError> {
    if transport.test_connection().await.map_err(failed)? {
        return Ok(());
    }
    Err(SendError::Failed("the mail server closed the connection".into()))
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn failed(error: SmtpError) -> SendError {
    SendError::Failed(chain(&error))
}

fn host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map(|(host, _)| host),
        None => host.split(':').next(),
    }
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if !text.contains(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        source = cause.source();
    }
    text
}
