//! A mail server, and the connections to it that stand by for the next mail. lettre
//! speaks the protocol; the connections are kept here, because its pool opens a second
//! one for a mail whose connection is tried first, and puts back what was given up in
//! mid-sentence.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lettre::{
    Message,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        extension::ClientId,
    },
};
use percent_encoding::percent_decode_str;
use tokio::time;
use url::Url;

use super::transport::SendError;

const FORM: &str = "must be like smtp://user:password@host:587?tls=required (STARTTLS) or \
                    smtps://user:password@host (TLS from the start); percent-encode special \
                    characters of the password";

/// How a mail server is reached.
pub struct SmtpSettings<'a> {
    /// `smtp://` or `smtps://`, with user and password, and with `?tls=required` or
    /// `?tls=opportunistic` for STARTTLS.
    pub url: &'a str,
    /// A certificate (PEM) to trust besides this machine's.
    pub trusted: Option<&'a [u8]>,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// When a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    /// Never.
    Off,
    /// By STARTTLS, where the server offers it.
    Offered,
    /// By STARTTLS, or not at all.
    Required,
    /// From the start.
    FromTheStart,
}

/// What a URL says.
struct Target {
    host: String,
    port: u16,
    encryption: Encryption,
    hello: ClientId,
    credentials: Option<Credentials>,
}

/// A mail server.
pub struct SmtpServer {
    target: Target,
    tls: TlsParameters,
    timeout: Duration,
    /// Connections that have sent a mail and wait for the next; never more than mails
    /// were sent at once.
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl SmtpServer {
    /// A mail server. Nothing is connected yet.
    ///
    /// # Errors
    /// A URL or certificate that can't be used. The text never repeats the URL,
    /// which holds a password.
    pub fn new(settings: &SmtpSettings<'_>) -> Result<Self, String> {
        let target = Target::parse(settings.url).ok_or(FORM)?;
        let mut tls = TlsParameters::builder(target.host.clone());
        if let Some(pem) = settings.trusted {
            let certificate = Certificate::from_pem(pem).map_err(|error| chain(&error))?;
            tls = tls.add_root_certificate(certificate);
        }
        let tls = tls.build().map_err(|error| chain(&error))?;
        Ok(Self { target, tls, timeout: settings.timeout, idle: Mutex::default() })
    }

    /// How long one attempt may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects, with TLS and AUTH where they are configured, and sends nothing.
    ///
    /// # Errors
    /// What failed.
    pub async fn check(&self) -> Result<(), SendError> {
        self.in_time(async {
            self.connect().await.map_err(failed)?.quit().await.map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        self.in_time(async {
            // What goes wrong before the mail is spoken of (greeting, TLS, AUTH) is
            // no verdict on the mail, whatever code it has.
            let mut connection = self.connection().await.map_err(failed)?;
            let (envelope, bytes) = (message.envelope(), message.formatted());
            connection.send(envelope, &bytes).await.map_err(|error| {
                let plain = envelope.to().iter().all(|to| to.to_string().is_ascii());
                // Only a server with SMTPUTF8 takes letters that are not ASCII.
                if error.is_permanent() || (error.is_client() && !plain) {
                    SendError::Refused(chain(&error))
                } else {
                    failed(error)
                }
            })?;
            self.idle().push(connection);
            Ok(())
        })
        .await
    }

    /// Does something in the time that an attempt may take. What is cut off takes its
    /// connection with it.
    async fn in_time(
        &self,
        work: impl Future<Output = Result<(), SendError>>,
    ) -> Result<(), SendError> {
        time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let seconds = self.timeout.as_secs();
            Err(SendError::Failed(format!("the mail server did not answer within {seconds} s")))
        })
    }

    /// A connection that stands by and is still alive, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        loop {
            let Some(mut connection) = self.idle().pop() else { return self.connect().await };
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<AsyncSmtpConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        let Target { host, port, encryption, hello, credentials } = &self.target;
        let at_once = (*encryption == Encryption::FromTheStart).then(|| self.tls.clone());
        let server = (host.as_str(), *port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), hello, at_once, None)
                .await?;
        let starts = match encryption {
            Encryption::Off | Encryption::FromTheStart => false,
            Encryption::Offered => connection.can_starttls(),
            Encryption::Required => true,
        };
        if starts {
            connection.starttls(self.tls.clone(), hello).await?;
        }
        if let Some(credentials) = credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

impl Target {
    fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let way = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, way)| way);
        let (encryption, usual_port) = match (url.scheme(), way.as_deref()) {
            ("smtp", None) => (Encryption::Off, 25),
            ("smtp", Some("opportunistic")) => (Encryption::Offered, 587),
            ("smtp", Some("required")) => (Encryption::Required, 587),
            ("smtps", None) => (Encryption::FromTheStart, 465),
            _ => return None,
        };
        let decoded = |text| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(decoded(url.username())?, decoded(password)?)),
            None => None,
        };
        let hello = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        // A URL has the brackets of an IPv6 address, a socket doesn't.
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port().unwrap_or(usual_port);
        Some(Self { host, port, encryption, hello, credentials })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn failed(error: SmtpError) -> SendError {
    SendError::Failed(chain(&error))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_host_port_and_encryption() {
        for (url, host, port, encryption) in [
            ("smtp://mail.example.com", "mail.example.com", 25, Encryption::Off),
            ("smtp://a:b@h:2525?tls=opportunistic", "h", 2525, Encryption::Offered),
            ("smtp://h?tls=required", "h", 587, Encryption::Required),
            ("smtps://a:b%40c@[::1]/me.example.com", "::1", 465, Encryption::FromTheStart),
        ] {
            let read = Target::parse(url).expect(url);
            assert_eq!((&*read.host, read.port, read.encryption), (host, port, encryption));
        }
        let read = Target::parse("smtps://a%3A:b%40c@h/me.example.com").unwrap();
        assert_eq!(read.credentials, Some(Credentials::new("a:".into(), "b@c".into())));
        assert_eq!(read.hello, ClientId::Domain("me.example.com".into()));
        for url in
            ["mail.example.com", "http://h", "smtp://", "smtp://h?tls=no", "smtp://a:%FF@h", ""]
        {
            assert!(Target::parse(url).is_none(), "{url}");
        }
    }
}
