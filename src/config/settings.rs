//! Every key of the configuration, by section. A key that is not declared here is refused.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::{
    keys::{Key, section},
    secret::Secret,
};

section! {
    /// The whole configuration.
    pub struct Config in "" {
        /// The address and port that the server listens on. Port 0 picks a free port. The flag
        /// `--listen` sets it too.
        listen: SocketAddr = "127.0.0.1:8080";
        /// The folder of the embedded database and its keys, mails and attachments. When the
        /// server runs as root, the default is `/var/lib/ticketwire`. The flag `--data-dir` sets
        /// it too.
        data_dir: PathBuf = "ticketwire-data";
        /// The origins whose web pages may call the API, separated by commas:
        /// `https://portal.example.com, http://localhost:3000`. A single `*` allows all. The
        /// server's own pages always may.
        allowed_origins: String = "";
        /// How many reverse proxies of yours are in front of the server. The client's address is
        /// then read from the entries that they append to `X-Forwarded-For`.
        trusted_proxies: usize = "0", 0..=10;
        /// When the server stops, it closes websockets and event streams one after the other over
        /// this many seconds, so that their clients don't all reconnect at once.
        drain_seconds: u32 = "10", 0..=600;
        /// Whether the playground is served at `/`.
        playground: bool = "true";
    }
    with {
        /// The listener for monitoring.
        admin: AdminConfig;
        /// The database.
        database: DatabaseConfig;
        /// The embedded database.
        embedded: EmbeddedConfig;
        /// Tickets.
        tickets: TicketsConfig;
        /// Sessions.
        sessions: SessionsConfig;
        /// Second factors.
        second_factor: SecondFactorConfig;
        /// Encryption.
        security: SecurityConfig;
        /// Links to the server and to your own pages.
        links: LinksConfig;
        /// Mail.
        mail: MailConfig;
        /// Limits of attachments.
        attachments: AttachmentsConfig;
        /// Storage of attachments.
        storage: StorageConfig;
        /// The GraphQL endpoint.
        graphql: GraphqlConfig;
        /// Limits of requests.
        limits: LimitsConfig;
        /// Logs.
        log: LogConfig;
    }
}

impl Config {
    /// Whether the server runs the embedded database, which comes with demo data: no other
    /// database is configured.
    pub fn embeds_database(&self) -> bool {
        self.database.url.is_none()
    }
}

section! {
    /// The listener for monitoring.
    pub struct AdminConfig in "admin." {
        /// The address and port that serve metrics and health checks, without authentication: keep
        /// it on loopback or a private network. Port 0 picks a free port. Without it, there is no
        /// such listener, and metrics are not available.
        listen: Option<SocketAddr>;
    }
}

section! {
    /// The database.
    pub struct DatabaseConfig in "database." {
        /// The URL of a Postgres database, version 14 or newer:
        /// `postgres://user:password@host:5432/database`. Without it, the server runs an embedded
        /// Postgres with demo data.
        url: Option<Secret>;
        /// The largest number of pooled connections to the database. Each node opens a few more
        /// outside the pool: to be notified of new events, to migrate, and for metrics.
        pool_size: usize = "16", 2..=1_000;
        /// The largest number of connections for work that must go on while requests use up the
        /// pool: the event log, notifications, mail, and looking up sessions.
        background_connections: usize = "4", 2..=64;
    }
}

section! {
    /// The embedded database.
    pub struct EmbeddedConfig in "embedded." {
        /// The folder of the programs `initdb` and `postgres`. Without it, they are searched for on
        /// `PATH` and in the usual places, and then fetched with npm.
        bin_dir: Option<PathBuf>;
    }
}

section! {
    /// Tickets.
    pub struct TicketsConfig in "tickets." {
        /// The start of every ticket number: 1 to 10 letters from A to Z.
        prefix: String = "CS";
        /// The number of the first ticket. Once there are tickets, a larger number skips ahead, and
        /// a smaller one has no effect.
        first_number: i64 = "100001", 1..=1_000_000_000_000;
        /// How many days after it was resolved a ticket closes automatically. With 0, tickets stay
        /// resolved.
        close_resolved_after_days: u32 = "14", 0..=3_650;
    }
}

section! {
    /// Sessions.
    pub struct SessionsConfig in "sessions." {
        /// How many hours after sign-in a session expires, even if it is in use.
        lifetime_hours: u32 = "720", 1..=8_760;
        /// How many hours after its last use a session expires.
        idle_hours: u32 = "168", 1..=8_760;
    }
}

section! {
    /// Second factors.
    pub struct SecondFactorConfig in "second_factor." {
        /// Whether customers may (`offered`) or must (`required`) set up a second factor. With
        /// `required`, they can do nothing else until they have.
        customers: RequirementName = "offered";
        /// The same for agents and admins.
        staff: RequirementName = "offered";
        /// The name that authenticator apps show for this installation: 1 to 60 characters without
        /// a colon.
        issuer: String = "Ticketwire";
    }
}

/// Whether people need a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequirementName {
    /// They may set one up.
    Offered,
    /// They can do nothing else until they have set one up.
    Required,
}

section! {
    /// Encryption.
    pub struct SecurityConfig in "security." {
        /// The keys that encrypt secrets in the database, such as those of authenticators: at least
        /// 32 characters each, separated by commas, the newest first, the same on all nodes.
        /// Required with your own database; the embedded one creates a key.
        sealing_keys: Option<Secret>;
    }
}

section! {
    /// Links to the server and to your own pages.
    pub struct LinksConfig in "links." {
        /// The public URL of the server, such as `https://support.example.com`. Links in mails,
        /// sign-in links and the URLs of attachments start with it. Required to send mail with your
        /// own database. Without it, links start with the address that the server listens on, and
        /// the URLs of attachments are paths.
        base_url: Option<String>;
        /// The URL of a ticket in your portal, with `{number}` in place of the ticket number.
        /// Without it, mails have no link to the ticket.
        ticket: Option<String>;
        /// The URL of your page for setting a new password, with `{token}` in place of the token
        /// that it passes to `resetPassword`. Without it, mails link to a built-in page.
        reset_password: Option<String>;
        /// The URL of your page for unsubscribing from a ticket's mails, with `{token}` in place of
        /// the token that it sends by POST to `/unsubscribe?token=…`. Without it, mails link to a
        /// built-in page.
        unsubscribe: Option<String>;
        /// The URL of your page for customers who come from the control panel, with `{token}`,
        /// best after a `#`, in place of the token that it redeems. Without it, handoffs link to a
        /// built-in page.
        handoff: Option<String>;
    }
}

section! {
    /// Mail.
    pub struct MailConfig in "mail." {
        /// The mail server: `smtp://user:password@host:587?tls=required` (STARTTLS) or
        /// `smtps://user:password@host` (TLS from the start). Without it, no mail is sent; with the
        /// embedded database, mails are written to files and shown at `/mailbox`.
        smtp_url: Option<Secret>;
        /// The sender of all mails: `Example Support <support@example.com>`. Required to send mail
        /// with your own database.
        from: Option<String>;
        /// The key that signs links in mails: at least 32 characters, the same on all nodes.
        /// Required to send mail with your own database; the embedded one creates a key.
        signing_key: Option<Secret>;
        /// How many seconds a mail about a ticket waits for further events to join it.
        window_seconds: u32 = "30", 0..=3_600;
        /// How many seconds one attempt to send a mail may take.
        timeout_seconds: u32 = "60", 1..=600;
        /// How many mails are sent at the same time. One more sender is reserved for priority mail:
        /// codes, links and security notices.
        senders: usize = "4", 1..=64;
        /// The addresses that are notified of new tickets, by the category's slug:
        /// `sales=sales@example.com, *=support@example.com`. `*` stands for all other categories.
        staff_addresses: String = "";
        /// The language of those mails: `en` or `ru`.
        staff_locale: LocaleName = "en";
        /// A folder whose files replace the built-in templates of the same name.
        templates_dir: Option<PathBuf>;
        /// A file with a certificate (PEM) to trust for the mail server, in addition to those of
        /// the system.
        ca_file: Option<PathBuf>;
    }
}

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocaleName {
    /// English.
    En,
    /// Russian.
    Ru,
}

section! {
    /// Limits of attachments.
    pub struct AttachmentsConfig in "attachments." {
        /// The largest size of a file, in bytes. At most 5 GiB.
        max_file_bytes: u64 = "26214400", 1..=5 << 30;
        /// The largest number of files in one request.
        max_files: usize = "10", 1..=50;
        /// The largest size of all files in one request, in bytes: not less than
        /// `attachments.max_file_bytes`, at most 50 GiB.
        max_total_bytes: u64 = "104857600", 1..=50 << 30;
    }
}

section! {
    /// Storage of attachments.
    pub struct StorageConfig in "storage." {
        /// The folder that stores attachments, shared by all nodes. With the embedded database, the
        /// default is `attachments` in the data folder. With your own database and neither folder
        /// nor bucket, attachments are not accepted.
        folder: Option<PathBuf>;
    }
    with {
        /// An S3 bucket.
        s3: S3Config;
    }
}

section! {
    /// A bucket of S3, or of a service with the same protocol.
    pub struct S3Config in "storage.s3." {
        /// The bucket that stores attachments, in place of a folder. Have it delete incomplete
        /// multipart uploads after some days.
        bucket: Option<String>;
        /// The bucket's region. Required with a bucket.
        region: Option<String>;
        /// The URL of the service, if it is not Amazon's.
        endpoint: Option<String>;
        /// The id of the access key. Required with a bucket.
        access_key: Option<Secret>;
        /// The secret of the access key. Required with a bucket.
        secret_key: Option<Secret>;
    }
}

section! {
    /// The GraphQL endpoint.
    pub struct GraphqlConfig in "graphql." {
        /// Whether clients may query the schema (introspection).
        introspection: bool = "true";
    }
}

section! {
    /// Limits of requests.
    pub struct LimitsConfig in "limits." {
        /// The largest size of a response or of a message of a subscription, in bytes. A request
        /// may load twice as much text from the database.
        response_bytes: usize = "10485760", 65_536..=1 << 30;
        /// The largest number of statements that a request may send to the database.
        statements: usize = "200", 20..=100_000;
        /// The largest number of database connections that a request may use at a time.
        request_connections: usize = "4", 2..=64;
        /// How many seconds a request may take. Its statement is cancelled then.
        request_seconds: u32 = "30", 1..=600;
        /// Under how many names (aliases) a selection set may select one field.
        aliases: usize = "50", 10..=5_000;
        /// How many seconds a full-text search may take.
        search_seconds: u32 = "2", 1..=30;
    }
}

section! {
    /// Logs, which are written to standard error.
    pub struct LogConfig in "log." {
        /// The format of the log: `text`, or `json` for one object a line.
        format: LogFormat = "text";
        /// The events to log: a level such as `info`, or levels by module such as
        /// `info,ticketwire=debug` (the syntax of the `tracing` library's `EnvFilter`).
        filter: String = "info";
    }
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}
