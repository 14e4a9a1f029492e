//! Sends mails to an SMTP server.
//!
//! lettre implements the protocol, but its connection pool is not used: it can open two
//! connections for one mail, and it reuses connections that were abandoned in the middle of a
//! command. [`SmtpServer`] keeps the idle connections instead.

use std::{
    borrow::Cow,
    net::IpAddr,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lettre::{
    Address, Message,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        commands::{Data, Mail, Rcpt, Rset},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::time;
use url::Url;

use super::error::SendError;
use crate::domain::causes::with_causes;

const URL_FORMAT: &str = "must look like smtp://user:password@host:587?tls=required (STARTTLS) or \
                          smtps://user:password@host (implicit TLS). Percent-encode special \
                          characters in the password";
const PASSWORD_IN_CLEAR: &str = "would send its password unencrypted: add ?tls=required (STARTTLS), or begin \
                                 it with smtps:// (implicit TLS). If the mail server has neither, \
                                 ?tls=opportunistic sends it all the same. Name the port too: with \
                                 ?tls it is 587 instead of 25 otherwise";

const NO_TLS: &str = "the mail server does not speak TLS on this port: name its port for implicit TLS, which is \
                      465 at most servers, or begin the URL with smtp:// and add ?tls=required (STARTTLS)";
const NO_STARTTLS: &str = "the mail server offers no STARTTLS on this port: name its port for submission, which is 587 \
                           at most servers, or begin the URL with smtps:// (implicit TLS)";
const NO_SIGN_IN: &str = "the mail server offers neither PLAIN nor LOGIN for signing in: leave user and password out of the URL, \
                          or have the mail server offer one of them";
const NO_SIGN_IN_YET: &str = "the mail server offers neither PLAIN nor LOGIN for signing in without encryption: add ?tls=required \
                              (STARTTLS), or leave user and password out of the URL";
/// What rustls says of a server that does not speak TLS.
const CORRUPT_TLS: &str = "received corrupt message of type InvalidContentType";
/// What is wrong with the certificate of a mail server, by what rustls says of it.
const CERTIFICATE_PROBLEMS: [(&str, &str); 3] = [
    (
        "UnknownIssuer",
        "the certificate of the mail server is from an authority that this machine does not trust: name \
         the certificate of the authority in `mail.ca_file`, or add it with `update-ca-certificates`",
    ),
    ("certificate expired", "the certificate of the mail server has expired: renew it there"),
    (
        "CaUsedAsEndEntity",
        "the certificate of the mail server is that of an authority (CA:TRUE), as a self-signed one of \
         `openssl req -x509` is: give the mail server one with CA:FALSE",
    ),
];
/// What rustls says of a connection that ends without a farewell, with a link to its own manual.
const CLOSED: &str = "peer closed connection without sending TLS close_notify";
/// What lettre says of an answer that is not SMTP, followed by a part of the answer.
const NO_REPLY: &str = "response error: error";

/// From how many bytes on a password is replaced in errors.
const MIN_CONCEALED: usize = 6;

/// What to try if a mail server does not greet.
const IMPLICIT_TLS_PORT: &str =
    "A port for implicit TLS, such as 465, needs a URL that begins with smtps://";

/// How long a connection is kept for another mail. Firewalls forget idle connections after minutes
/// and drop what is sent on them.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// How long an idle connection may take to show that it is alive.
const PROBE: Duration = Duration::from_secs(5);

/// How long a mail server may take with the data of a mail and its verdict, for which filters may run
/// (RFC 5321, 4.5.3.2.6). Who gives up earlier sends a mail again that was accepted.
const VERDICT_TIMEOUT: Duration = Duration::from_mins(10);

/// How to connect to a mail server.
pub struct SmtpSettings<'a> {
    /// `smtp://` or `smtps://`, with an optional user and password, and with `?tls=required` or
    /// `?tls=opportunistic` for STARTTLS. A path is the name to send in EHLO.
    pub url: &'a str,
    /// A certificate (PEM) to trust in addition to the system's.
    pub trusted: Option<&'a [u8]>,
    /// How long an attempt may take until the mail server accepts data.
    pub timeout: Duration,
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    /// Not at all.
    Off,
    /// With STARTTLS if the server offers it, otherwise not at all.
    OpportunisticStartTls,
    /// With STARTTLS. Sending fails if the server does not offer it.
    RequiredStartTls,
    /// With TLS from the first byte.
    ImplicitTls,
}

/// The parts of a mail server's URL.
struct Target {
    host: String,
    port: u16,
    encryption: Encryption,
    /// The name that this client sends in EHLO.
    client_id: ClientId,
    credentials: Option<Credentials>,
    /// What must not be shown: the password, as it is and as it is sent.
    secrets: Vec<String>,
}

/// A mail server and the idle connections to it.
pub struct SmtpServer {
    target: Target,
    tls: TlsParameters,
    timeout: Duration,
    /// Connections that have sent a mail and can send another, with when they did, in that order.
    /// Never more than the largest number of mails that were sent at the same time.
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl SmtpServer {
    /// Creates the client of a mail server. It connects when the first mail is sent.
    ///
    /// # Errors
    /// The URL or the certificate is invalid. The text never contains the URL, which includes a
    /// password.
    pub fn new(settings: &SmtpSettings<'_>) -> Result<Self, String> {
        let target = Target::parse(settings.url)?;
        let mut tls = TlsParameters::builder(target.host.clone());
        if let Some(pem) = settings.trusted {
            let certificate = Certificate::from_pem(pem).map_err(|error| with_causes(&error))?;
            tls = tls.add_root_certificate(certificate);
        }
        let tls = tls.build().map_err(|error| with_causes(&error))?;
        Ok(Self { target, tls, timeout: settings.timeout, idle: Mutex::default() })
    }

    /// Checks a mail server's URL.
    ///
    /// # Errors
    /// What the URL must look like, or that it would send its password unencrypted over a network.
    pub fn check_url(url: &str) -> Result<(), &'static str> {
        Target::parse(url).map(drop)
    }

    /// How long one attempt may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects, with TLS and authentication as configured, and asks whether the server accepts
    /// mail from an address, also to that address: many servers refuse a sender or a client only when
    /// they know a recipient. Sends nothing.
    ///
    /// # Errors
    /// Connecting, TLS or authentication failed, or the server refuses the sender.
    pub async fn check(&self, from: &Address) -> Result<(), SendError> {
        let ask = async |connection: &mut AsyncSmtpConnection| {
            let utf8 = (!from.to_string().is_ascii()).then_some(MailParameter::SmtpUtfEight);
            let mail = Mail::new(Some(from.clone()), utf8.into_iter().collect());
            connection.command(mail).await?;
            match connection.command(Rcpt::new(from.clone(), vec![])).await {
                Err(error) if is_about_all(&error) => return Err(error),
                // Mail from the address need not be possible to it.
                _ => {}
            }
            connection.command(Rset).await?;
            connection.quit().await
        };
        let check = Box::pin(async {
            let mut connection = self.connect().await?;
            ask(&mut connection).await.map(drop).map_err(about_session)
        });
        time::timeout(self.timeout, check).await.unwrap_or_else(|_| Err(self.no_greeting()))
    }

    /// Sends a mail. What comes before its data may take the configured time, and the data with the
    /// verdict on it [`VERDICT_TIMEOUT`]. If the time runs out, the attempt's connection is dropped.
    ///
    /// # Errors
    /// The mail server did not accept the mail.
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        let deadline = time::Instant::now() + self.timeout;
        let idle = time::timeout_at(deadline, self.idle_connection()).await;
        if let Some(connection) = idle.ok().flatten() {
            match self.send_on(connection, message, deadline).await {
                // Some servers refuse further mails on a connection that has sent many.
                Err(SendError::Held { counts: false, .. }) => {}
                Err(SendError::Held { ends_session: true, .. })
                    if time::Instant::now() < deadline => {}
                sent => return sent,
            }
        }
        // An error while connecting (greeting, TLS, AUTH) says nothing about the mail.
        let connected = time::timeout_at(deadline, self.connect()).await;
        let connection = connected.map_err(|_| self.no_greeting())??;
        self.send_on(connection, message, deadline).await
    }

    /// Sends a mail on a connection, and keeps the connection if the mail was accepted.
    async fn send_on(
        &self,
        mut connection: AsyncSmtpConnection,
        message: &Message,
        deadline: time::Instant,
    ) -> Result<(), SendError> {
        let bytes = message.formatted();
        let begun = time::timeout_at(deadline, begin(&mut connection, message, &bytes)).await;
        let (sent, limit) = if let Ok(Ok(())) = begun {
            let verdict = time::timeout(VERDICT_TIMEOUT, connection.message(&bytes)).await;
            (verdict.map(|it| it.map(drop).map_err(about_mail)), VERDICT_TIMEOUT)
        } else {
            (begun, self.timeout)
        };
        match &sent {
            Ok(Ok(())) => self.idle.lock().push((connection, Instant::now())),
            // The verdict counts, whether the server answers QUIT or not.
            Ok(Err(_)) => drop(time::timeout(PROBE, connection.abort()).await),
            Err(_) => {}
        }
        sent.unwrap_or_else(|_| Err(SendError::Transient(self.no_answer_within(limit))))
    }

    /// The error of connecting: a reply is a verdict about the session, and anything else means that
    /// there is no connection.
    fn about_connecting(&self, error: SmtpError) -> SendError {
        if error.status().is_some() {
            return about_session(error);
        }
        let text = text_of(&error);
        let is_plain =
            self.target.encryption == Encryption::ImplicitTls && text.contains(CORRUPT_TLS);
        let said = |(words, _): &&(&str, &str)| {
            text.contains("invalid peer certificate") && text.contains(words)
        };
        self.unusable(match CERTIFICATE_PROBLEMS.iter().find(said) {
            _ if is_plain => NO_TLS,
            Some((_, problem)) => problem,
            None => &text,
        })
    }

    /// The error of a mail server that cannot be used as configured.
    fn unusable(&self, problem: &str) -> SendError {
        let Target { host, port, .. } = &self.target;
        SendError::Unreachable(format!("{host}:{port}: {problem}"))
    }

    /// The error of a mail server that did not answer while this client connected.
    fn no_greeting(&self) -> SendError {
        let text = self.no_answer_within(self.timeout);
        SendError::Unreachable(match self.target.encryption {
            Encryption::ImplicitTls => text,
            // Such a server waits for the client to speak first.
            _ => format!("{text}. {IMPLICIT_TLS_PORT}"),
        })
    }

    fn no_answer_within(&self, limit: Duration) -> String {
        let Target { host, port, .. } = &self.target;
        format!("{host}:{port} did not respond within {} s", limit.as_secs())
    }

    /// Returns an idle connection that is still alive.
    async fn idle_connection(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.idle.lock().pop()?;
            if since.elapsed() > MAX_IDLE {
                // The others are older.
                self.idle.lock().clear();
                continue;
            }
            match time::timeout(PROBE, connection.test_connected()).await {
                Ok(true) => return Some(connection),
                Ok(false) => {}
                // Whatever swallows what is sent does so on the others too.
                Err(_) => self.idle.lock().clear(),
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let Target { host, port, encryption, client_id, credentials, .. } = &self.target;
        let implicit_tls = (*encryption == Encryption::ImplicitTls).then(|| self.tls.clone());
        let server = (host.as_str(), *port);
        let timeout = Some(self.timeout);
        let failed = |error| self.about_connecting(error);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, timeout, client_id, implicit_tls, None)
                .await
                .map_err(failed)?;
        let starttls = match encryption {
            Encryption::Off | Encryption::ImplicitTls => false,
            Encryption::OpportunisticStartTls => connection.can_starttls(),
            Encryption::RequiredStartTls if !connection.can_starttls() => {
                return Err(self.unusable(NO_STARTTLS));
            }
            Encryption::RequiredStartTls => true,
        };
        if starttls {
            connection.starttls(self.tls.clone(), client_id).await.map_err(failed)?;
        }
        if let Some(credentials) = credentials {
            let offered = connection.server_info().get_auth_mechanism(DEFAULT_MECHANISMS);
            if offered.is_none() {
                let is_clear = *encryption == Encryption::Off;
                return Err(self.unusable(if is_clear { NO_SIGN_IN_YET } else { NO_SIGN_IN }));
            }
            // Some servers repeat what they have received.
            let concealed = |error| failed(error).map_text(|text| self.target.conceal(text));
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(concealed)?;
        }
        Ok(connection)
    }
}

impl Target {
    fn parse(url: &str) -> Result<Self, &'static str> {
        let target = Self::of(&Url::parse(url).map_err(|_| URL_FORMAT)?).ok_or(URL_FORMAT)?;
        if target.credentials.is_some() && target.encryption == Encryption::Off && !target.is_here()
        {
            return Err(PASSWORD_IN_CLEAR);
        }
        Ok(target)
    }

    /// Whether the mail server runs on this machine.
    fn is_here(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback())
    }

    fn of(url: &Url) -> Option<Self> {
        let parameters = url.query_pairs().collect::<Vec<_>>();
        // A misspelt parameter would send mails unencrypted.
        let tls = match parameters.as_slice() {
            [] => None,
            [(key, value)] if key == "tls" => Some(value),
            _ => return None,
        };
        let (encryption, default_port) = match (url.scheme(), tls.map(AsRef::as_ref)) {
            ("smtp", None) => (Encryption::Off, 25),
            ("smtp", Some("opportunistic")) => (Encryption::OpportunisticStartTls, 587),
            ("smtp", Some("required")) => (Encryption::RequiredStartTls, 587),
            ("smtps", None) => (Encryption::ImplicitTls, 465),
            _ => return None,
        };
        let decoded = |text| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
        let mut secrets = vec![];
        let credentials = match url.password() {
            Some(password) => {
                let (user, password) = (decoded(url.username())?, decoded(password)?);
                let plain = STANDARD.encode(format!("\0{user}\0{password}"));
                secrets = vec![plain, STANDARD.encode(&password)];
                // A short one may be a word of an error.
                secrets.extend((password.len() >= MIN_CONCEALED).then(|| password.clone()));
                Some(Credentials::new(user, password))
            }
            // A name alone would sign nobody in.
            None if !url.username().is_empty() => return None,
            None => None,
        };
        let client_id = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        // A URL has brackets around an IPv6 address, a socket address has none.
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port().unwrap_or(default_port);
        Some(Self { host, port, encryption, client_id, credentials, secrets })
    }

    /// Replaces the secrets in a text.
    fn conceal(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| text.replace(secret, "***"))
    }
}

/// Begins to send a mail on a connection, up to its data, step by step, because what a refusal is about
/// depends on the step. Does not close the connection after a failure.
async fn begin(
    connection: &mut AsyncSmtpConnection,
    message: &Message,
    bytes: &[u8],
) -> Result<(), SendError> {
    let envelope = message.envelope();
    let parameters = mail_parameters(connection, message, bytes)?;
    let of_this_mail = !parameters.is_empty();
    let from = Mail::new(envelope.from().cloned(), parameters);
    connection.command(from).await.map_err(|error| {
        // What the command asks for because of this mail, such as SMTPUTF8, may be refused too.
        if of_this_mail { about_mail(error) } else { about_session(error) }
    })?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), vec![])).await.map_err(about_mail)?;
    }
    connection.command(Data).await.map_err(about_mail)?;
    Ok(())
}

/// Returns the parameters of MAIL FROM that a mail needs.
fn mail_parameters(
    connection: &AsyncSmtpConnection,
    message: &Message,
    bytes: &[u8],
) -> Result<Vec<MailParameter>, SendError> {
    let (envelope, server) = (message.envelope(), connection.server_info());
    let is_ascii = |address: &Address| address.to_string().is_ascii();
    let mut parameters = vec![];
    let (from, to) = (envelope.from().is_none_or(is_ascii), envelope.to().iter().all(is_ascii));
    if !(from && to) {
        if !server.supports_feature(Extension::SmtpUtfEight) {
            return Err(no_smtputf8(from));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !bytes.is_ascii() {
        if !server.supports_feature(Extension::EightBitMime) {
            let problem = "the mail is not ASCII and the mail server does not support 8BITMIME";
            return Err(SendError::Transient(problem.into()));
        }
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(parameters)
}

/// The error of an address that needs SMTPUTF8. That of the sender concerns all mails.
fn no_smtputf8(sender_is_ascii: bool) -> SendError {
    if sender_is_ascii {
        let problem = "the address is not ASCII and the mail server does not support SMTPUTF8";
        return SendError::Permanent(problem.into());
    }
    let error = "mail.from is not ASCII before the @ and the mail server does not support SMTPUTF8";
    SendError::Held { error: error.into(), counts: false, ends_session: false }
}

/// Returns the text of an error with its causes.
fn text_of(error: &SmtpError) -> String {
    // lettre's error can be the cause of another one of the same kind.
    let text =
        with_causes(error).replacen("Connection error: Connection error", "Connection error", 1);
    if text.contains(CLOSED) {
        return "the mail server closed the connection".into();
    }
    if text.starts_with(NO_REPLY) {
        return "the mail server answered something that is no reply of SMTP".into();
    }
    text.replace(
        "response error: incomplete response",
        "the mail server closed the connection without an answer",
    )
}

/// The error of a step before the mail server has seen anything of the mail: a reply is a verdict
/// about the sender, the session or the day's quota, whatever its code is. Anything else, such as
/// a connection that is lost, is no verdict.
#[expect(clippy::needless_pass_by_value, reason = "map_err passes it by value")]
fn about_session(error: SmtpError) -> SendError {
    let text = text_of(&error);
    match error.status() {
        Some(_) => {
            SendError::Held { error: text, counts: false, ends_session: ends_session(&error) }
        }
        None => SendError::Transient(text),
    }
}

/// The error of a step that names the recipient or contains the mail.
#[expect(clippy::needless_pass_by_value, reason = "map_err passes it by value")]
fn about_mail(error: SmtpError) -> SendError {
    let text = text_of(&error);
    if is_about_all(&error) {
        SendError::Held { error: text, counts: true, ends_session: ends_session(&error) }
    } else if error.is_permanent() {
        SendError::Permanent(text)
    } else {
        SendError::Transient(text)
    }
}

/// Whether the mail server ends the session, and says nothing about the mail (RFC 5321, 4.2.2).
fn ends_session(error: &SmtpError) -> bool {
    error.status().is_some_and(|code| u16::from(code) == 421)
}

fn is_about_all(error: &SmtpError) -> bool {
    let text = text_of(error);
    error.status().is_some_and(|code| concerns_all_mails(code.into(), &text))
}

/// Whether a reply is about the sender, the session or the quota, at whatever step it comes. Postfix
/// refuses a sender or a client at RCPT, and Exchange after the data.
fn concerns_all_mails(code: u16, text: &str) -> bool {
    // The server shuts down, or wants authentication or encryption (RFC 4954).
    if matches!(code, 421 | 454 | 530 | 534 | 535 | 538) {
        return true;
    }
    // The words of the server itself, not of one that it quotes.
    let reply = text.split_once("): ").map_or(text, |(_, reply)| reply);
    let reply = reply.split(" said: ").next().unwrap_or_default();
    let is_status = |line: &str| {
        let status = line.split_whitespace().next().unwrap_or_default();
        let detail = status.strip_prefix("4.").or_else(|| status.strip_prefix("5."));
        detail.is_some_and(|it| STATUSES_OF_SENDERS.contains(&it) || is_exchange_ban(it))
    };
    if reply.lines().any(is_status) {
        return true;
    }
    // An address may contain any word.
    let words = reply.split_whitespace().filter(|word| !word.contains('@'));
    let words = words.collect::<Vec<_>>().join(" ").to_lowercase();
    PHRASES_ABOUT_SENDERS.iter().any(|phrase| words.contains(phrase))
}

/// Whether the subject and detail of a status are one with which Exchange Online bans the sender's
/// account, domain or address, or the client's.
fn is_exchange_ban(detail: &str) -> bool {
    let number = detail.strip_prefix("7.").and_then(|number| number.parse::<u16>().ok());
    number.is_some_and(|it| matches!(it, 501..=503 | 511 | 606..=649 | 705 | 708))
}

/// The subject and detail of enhanced status codes (RFC 3463 and the IANA registry) that are about the
/// sender, the session or the quota. Those above 7.30 are Exchange's.
const STATUSES_OF_SENDERS: [&str; 13] = [
    "1.7", "1.8", "4.5", "7.8", "7.9", "7.11", "7.13", "7.14", "7.25", "7.26", "7.57", "7.60",
    "7.64",
];

/// What servers say about the sender or the client under a status that can mean the recipient too.
const PHRASES_ABOUT_SENDERS: [&str; 13] = [
    "sender address rejected",
    "sender rejected",
    "sender verify failed",
    "send as this sender",
    "verified sender identity",
    "is not verified",
    "not owned by",
    "relay access denied",
    "relay not permitted",
    "relaying denied",
    "unable to relay",
    "client host rejected",
    "blocked using",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_about_the_session_or_the_quota_concerns_all_mails() {
        for (code, text) in [
            (421, "4.3.2 shutting down"),
            (454, "4.7.0 temporary authentication failure"),
            (530, "5.7.0 authentication required"),
            (550, "permanent error (550): 5.4.5 Daily user sending limit exceeded"),
            (450, "4.4.5 too busy"),
            (553, "5.7.1 <desk@example.com>: Sender address rejected: not owned by user desk"),
            (554, "permanent error (554): 5.7.1 <anna@example.com>: Relay access denied"),
            (550, "relay not permitted"),
            (450, "4.1.8 <desk@example.com>: Sender address rejected: Domain not found"),
            (550, "5.7.60 SMTP; Client does not have permissions to send as this sender"),
            (550, "5.7.1 Client does not have permissions to send as this sender"),
            (554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example"),
            (554, "Message rejected: Email address is not verified."),
            (550, "5.7.606 Access denied, banned sending IP [192.0.2.1]"),
        ] {
            assert!(concerns_all_mails(code, text), "{code} {text}");
        }
        for (code, text) in [
            (550, "5.1.1 no such user"),
            (554, "5.7.1 looks like spam"),
            (450, "4.2.0 greylisted"),
            (552, "5.2.2 mailbox full, see ticket 15.4.51"),
            (550, "5.1.1 <relaying.denied@example.com>: no such user"),
            (550, "5.7.1 recipient's policy"),
            (550, "5.7.507 Access denied, rejected by recipient"),
            (550, "5.1.1 unverified address: host mx.example said: 550 5.7.60 sender rejected"),
        ] {
            assert!(!concerns_all_mails(code, text), "{code} {text}");
        }
    }

    #[test]
    fn a_url_sets_host_port_and_encryption() {
        for (url, host, port, encryption) in [
            ("smtp://mail.example.com", "mail.example.com", 25, Encryption::Off),
            ("smtp://a:b@h:2525?tls=opportunistic", "h", 2525, Encryption::OpportunisticStartTls),
            ("smtp://h?tls=required", "h", 587, Encryption::RequiredStartTls),
            ("smtps://a:b%40c@[::1]/me.example.com", "::1", 465, Encryption::ImplicitTls),
        ] {
            let parsed = Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((&*parsed.host, parsed.port, parsed.encryption), (host, port, encryption));
        }
        let parsed = Target::parse("smtps://a%3A:b%40c@h/me.example.com").unwrap();
        assert_eq!(parsed.credentials, Some(Credentials::new("a:".into(), "b@c".into())));
        assert_eq!(parsed.client_id, ClientId::Domain("me.example.com".into()));
        for url in [
            "mail.example.com",
            "http://h",
            "smtp://",
            "smtp://h?tls=no",
            "smtp://h?TLS=required",
            "smtp://h?tsl=required",
            "smtp://h?tls=required&tls=opportunistic",
            "smtps://a@h",
            "smtp://a:%FF@h",
            "",
        ] {
            assert_eq!(Target::parse(url).err(), Some(URL_FORMAT), "{url}");
        }
        assert_eq!(Target::parse("smtp://a:b@h").err(), Some(PASSWORD_IN_CLEAR));
        let echo = "535 AUTH PLAIN AGE6AGJAYw== YkBj".to_owned();
        assert_eq!(parsed.conceal(echo), "535 AUTH PLAIN *** ***");
        let parsed = Target::parse("smtps://a:b%40c-d%20e@h").unwrap();
        assert_eq!(parsed.conceal("not b@c-d e".to_owned()), "not ***");
        for url in ["smtp://a:b@127.0.0.1", "smtp://a:b@[::1]:25", "smtp://a:b@LocalHost"] {
            assert!(Target::parse(url).is_ok(), "{url}");
        }
    }
}
