//! Every key of the configuration, by section. A key that is not declared here is refused.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::{
    keys::{Key, section},
    secret::Secret,
};

/// A proxy that checks every two seconds has noticed by then, also if two checks must fail.
const PROXY_GRACE_SECONDS: u32 = 5;

section! {
    /// The whole configuration.
    pub struct Config in "" {
        /// The address and port that the server listens on. Port 0 picks a free port. The flag
        /// `--listen` sets it too.
        listen: SocketAddr = "127.0.0.1:8080";
        /// The folder of the embedded database and its keys, mails and attachments, and with any
        /// database of the ledger of erasures, unless `storage.erasure_ledger` is set. When the
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
        /// When the server stops, `/readyz` answers 503 for this many seconds before it refuses
        /// connections, so that proxies send it no more requests. Longer than your proxy needs to
        /// notice. By default, 5 with `trusted_proxies`, otherwise 0.
        drain_grace_seconds: Option<u32>, 0..=600;
        /// Whether the portal for customers is served at `/`.
        portal: bool = "true";
        /// Whether the desk for staff is served at `/desk`.
        desk: bool = "true";
        /// Whether the playground is served at `/playground`.
        playground: bool = "true";
    }
    with {
        /// TLS of the server's own.
        tls: TlsConfig;
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
        /// How long data is kept.
        retention: RetentionConfig;
        /// Second factors.
        second_factor: SecondFactorConfig;
        /// Encryption.
        security: SecurityConfig;
        /// Links to the server and to your own pages.
        links: LinksConfig;
        /// What portals show about your company.
        branding: BrandingConfig;
        /// Mail.
        mail: MailConfig;
        /// Limits of attachments.
        attachments: AttachmentsConfig;
        /// Storage of attachments.
        storage: StorageConfig;
        /// Limits of what one request, account or network address may use.
        limits: LimitsConfig;
        /// The GraphQL endpoint.
        graphql: GraphqlConfig;
        /// Logs.
        log: LogConfig;
        /// Traces.
        tracing: TracingConfig;
    }
}

impl Config {
    /// Whether the server runs the embedded database, which comes with demo data: no other
    /// database is configured.
    pub fn embeds_database(&self) -> bool {
        self.database.url.is_none()
    }

    /// Whether the server itself speaks TLS.
    pub fn speaks_tls(&self) -> bool {
        self.tls.certificate_file.is_some()
    }

    /// Returns for how many seconds a stopping server still accepts requests.
    pub fn drain_grace_seconds(&self) -> u32 {
        let default = if self.trusted_proxies > 0 { PROXY_GRACE_SECONDS } else { 0 };
        self.drain_grace_seconds.unwrap_or(default)
    }
}

section! {
    /// TLS of the server's own. Without it, the server speaks plain HTTP.
    pub struct TlsConfig in "tls." {
        /// A file with the server's certificate and those of its issuers (PEM), the server's first.
        /// With it, the server speaks TLS. It reads the file again every minute and on SIGHUP;
        /// open connections continue with the former certificate.
        certificate_file: Option<PathBuf>;
        /// A file with the private key of the certificate (PEM, not encrypted).
        key_file: Option<PathBuf>;
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
        /// Whether the server applies pending migrations when it starts. With `false`, it and the
        /// commands start only if none is pending, and `ticketwire migrate` applies them. The flag
        /// `--no-migrate` of `ticketwire serve` sets `false`.
        migrate: bool = "true";
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
    /// How long data is kept. Expired data is deleted every hour.
    #[expect(clippy::struct_field_names, reason = "each key names its unit")]
    pub struct RetentionConfig in "retention." {
        /// How many days after a session ended it is deleted, once its network address and device
        /// are (see `retention.origin_days`). The last session of each account stays, because new
        /// devices are recognised by it. With 0, sessions stay.
        ended_session_days: u32 = "90", 0..=36_500;
        /// How many days after the last use of a session its network address and device are
        /// deleted. The audit trail shows them until then. A device that was not used for longer
        /// counts as new. With 0, they stay, and so do their sessions.
        origin_days: u32 = "180", 0..=36_500;
        /// How many days after a mail was sent or failed its delivery is deleted, with its
        /// recipient's address. The deliveries of tickets that are not closed stay, because later
        /// mails refer to them. With 0, all stay.
        delivery_days: u32 = "365", 0..=36_500;
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
    /// What portals show about your company, by the query `branding`.
    pub struct BrandingConfig in "branding." {
        /// The name of your help desk: 1 to 60 characters.
        name: String = "Ticketwire";
        /// The URL of your logo. Browsers load it from there.
        logo: Option<String>;
        /// The color of buttons and links, as `#rrggbb`.
        color: Option<String>;
        /// The URL of your imprint.
        imprint: Option<String>;
        /// The URL of your privacy policy.
        privacy: Option<String>;
    }
}

section! {
    /// Links to the server and to your own pages.
    pub struct LinksConfig in "links." {
        /// The public URL of the server, such as `https://support.example.com`. Links in mails,
        /// sign-in links and the URLs of attachments start with it. Required to send mail with your
        /// own database. Without it, links start with the address that the server listens on, and
        /// the URLs of attachments are paths. Like all links, it may name no user and no password.
        base_url: Option<String>;
        /// The URL of a ticket in your portal, with `{number}` in place of the ticket number.
        /// Without it, mails link to the built-in portal, or have no link to the ticket if that is
        /// disabled.
        ticket: Option<String>;
        /// The URL of your page for setting a new password, with `{token}` in place of the token
        /// that it passes to `resetPassword`. Without it, mails link to a built-in page.
        reset_password: Option<String>;
        /// The URL of your page for unsubscribing from a ticket's mails, with `{token}` in place of
        /// the token that it sends by POST to `/unsubscribe?token=…`. Without it, mails link to a
        /// built-in page. The button of mail programs (RFC 8058) always leads to `links.base_url`.
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
        /// `smtps://user:password@host` (TLS from the start). `smtp://` with a password requires
        /// `tls`, unless the mail server runs on this machine. The first node with it switches the
        /// installation's mail on (see `ticketwire mail disable`). A node without it sends no mail
        /// and leaves that to the others; with the embedded database, mails are written to files
        /// and shown at `/mailbox`.
        smtp_url: Option<Secret>;
        /// The sender of all mails: `Example Support <support@example.com>`. Required to send mail
        /// with your own database.
        from: Option<String>;
        /// The key that signs links in mails: at least 32 characters, the same on all nodes.
        /// Required to send mail with your own database; the embedded one creates a key.
        signing_key: Option<Secret>;
        /// How many seconds a mail about a ticket waits for further events to join it. All nodes
        /// use the value of the node with a mail server that started last.
        window_seconds: u32 = "30", 0..=3_600;
        /// How many seconds an attempt to send a mail may take until the mail server accepts its data. The
        /// server then has ten minutes for its answer.
        timeout_seconds: u32 = "60", 1..=600;
        /// How many mails are sent at the same time. One more sender is reserved for priority mail:
        /// codes, links and security notices.
        senders: usize = "4", 1..=64;
        /// The longest pause, in seconds, after the mail server has refused the sender, the session
        /// or more mail for the day. No mail is sent or refused meanwhile. The first pause is ten
        /// seconds; each further one is twice as long.
        max_hold_seconds: u32 = "900", 10..=86_400;
        /// The addresses that are notified of new tickets, by the category's slug:
        /// `sales=sales@example.com, *=support@example.com`. `*` stands for all other categories.
        /// All nodes use the value of the node with a mail server that started last.
        staff_addresses: String = "";
        /// The language of those mails: `en` or `ru`.
        staff_locale: LocaleName = "en";
        /// A folder whose files replace the built-in templates of the same name.
        templates_dir: Option<PathBuf>;
        /// A file with a certificate (PEM) to trust for the mail server, in addition to those of
        /// the system: that of an authority, or the mail server's own if it has CA:FALSE.
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
        /// The largest size of a file, in bytes.
        max_file_bytes: u64 = "26214400", 1..=5 << 30;
        /// The largest number of files in one request.
        max_files: usize = "10", 1..=50;
        /// The largest size of all files in one request, in bytes: not less than
        /// `attachments.max_file_bytes`.
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
        /// The folder that records which accounts were erased, so that a restored backup does not
        /// bring them back. Keep it out of the backups of the database, on a disk that lasts. Each
        /// node has one of its own or all share one. Without it, it is `erasures` in the data folder.
        erasure_ledger: Option<PathBuf>;
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
    /// Limits of what one request, account or network address may use of one node. A network
    /// address is an IPv4 address or the /64 network of an IPv6 address.
    pub struct LimitsConfig in "limits." {
        /// The largest size of a response, in bytes. A message of a subscription has at most
        /// 1048576 of them. A request may load twice as much text from the database.
        response_bytes: usize = "10485760", 65_536..=1 << 30;
        /// The largest number of statements that a request may send to the database.
        statements: usize = "200", 20..=100_000;
        /// The largest number of database connections that a request may use at a time.
        request_connections: usize = "2", 2..=64;
        /// How many seconds a request may take; its statement is cancelled then. Before, it may wait as long
        /// for its turn behind other requests of the same caller.
        request_seconds: u32 = "30", 1..=600;
        /// Under how many names (aliases) a selection set may select one field.
        aliases: usize = "50", 10..=5_000;
        /// How many seconds a full-text search may take.
        search_seconds: u32 = "2", 1..=30;
        /// The largest number of open connections. Each needs a file descriptor: `ticketwire doctor`
        /// compares.
        connections: usize = "16000", 16..=1_000_000;
        /// The largest number of open connections of one network address. Not applied with
        /// `trusted_proxies`, where all connections are those of your proxies: limit them there.
        connections_per_address: usize = "6000", 1..=1_000_000;
        /// The largest number of connections of one network address that have not sent a request
        /// yet. Not applied with `trusted_proxies`.
        handshakes_per_address: usize = "500", 1..=1_000_000;
        /// How many seconds a new connection has to send the headers of its first request.
        header_seconds: u32 = "10", 1..=3_600;
        /// How many seconds after a response a connection waits for the headers of the next request
        /// before it is closed. Longer than your proxy keeps idle connections.
        idle_seconds: u32 = "75", 1..=3_600;
        /// The slowest rate in bytes a second at which the body of a request may arrive, as a mean
        /// over `limits.body_window_seconds`.
        body_bytes_per_second: u64 = "1024", 1..=1 << 30;
        /// Over how many seconds the rate of a body is measured.
        body_window_seconds: u32 = "30", 1..=3_600;
        /// How many seconds the body of a request may take, files included. The default fits 100 MiB
        /// at 1 Mbit/s.
        upload_seconds: u32 = "900", 1..=86_400;
        /// The largest number of requests whose files are being received.
        uploads: usize = "100", 1..=100_000;
        /// The same for one account.
        uploads_per_account: usize = "5", 1..=100_000;
        /// The largest number of files of one account that are being received or are not attached to
        /// anything yet, on all nodes. Not less than `attachments.max_files`. Files of `uploadFile`
        /// count only while they are being received: an account keeps at most 100 of them.
        unused_files_per_account: u32 = "50", 1..=100_000;
        /// The largest total size of the files that one customer uploads at once, in bytes, on all nodes.
        /// The same size becomes free again within 24 hours, evenly. Files that are deleted count too.
        /// With 0, there is no limit.
        customer_upload_bytes_per_day: u64 = "10737418240", 0..=1 << 50;
        /// The largest number of requests of one network address that are processed at the same
        /// time without being signed in.
        anonymous_requests_per_address: usize = "500", 1..=1_000_000;
        /// How many of these requests are executed at the same time. The others wait for them, in
        /// the order of their arrival. By default, half of `database.pool_size`, at least 2.
        anonymous_parallel_requests_per_address: Option<usize>, 1..=1_000_000;
        /// The largest number of operations, other than streams, that one customer may run at the
        /// same time.
        customer_requests: usize = "50", 1..=1_000_000;
        /// How many of these operations are executed at the same time. The others wait for them, in
        /// the order of their arrival. An operation counts until its response was sent. By default,
        /// an eighth of `database.pool_size`, at least 2.
        customer_parallel_requests: Option<usize>, 1..=1_000_000;
        /// The same for one member of staff, and for one service token.
        staff_requests: usize = "200", 1..=1_000_000;
        /// How many of these operations are executed at the same time. By default, half of
        /// `database.pool_size`, at least 2.
        staff_parallel_requests: Option<usize>, 1..=1_000_000;
        /// The largest number of websockets of one customer.
        customer_sockets: usize = "30", 1..=1_000_000;
        /// The same for one member of staff, and for one service token.
        staff_sockets: usize = "200", 1..=1_000_000;
        /// The largest number of websockets of one network address that are not signed in.
        anonymous_sockets_per_address: usize = "100", 1..=1_000_000;
        /// How many seconds after it was opened a websocket that is not signed in is closed.
        anonymous_socket_seconds: u32 = "60", 1..=86_400;
        /// The largest number of streams (subscriptions) of one customer.
        customer_streams: usize = "60", 1..=1_000_000;
        /// The same for one member of staff, and for one service token.
        staff_streams: usize = "2000", 1..=1_000_000;
        /// How many bytes of responses larger than 1 MiB, and of messages of streams larger than 16 KiB,
        /// are executed for one customer in a second. Those beyond it come later.
        customer_bytes_per_second: u64 = "4194304", 65_536..=1 << 40;
        /// How many tickets one account may open a minute, on all nodes. With 0, there is no limit.
        tickets_per_minute: u32 = "20", 0..=100_000;
        /// How many comments one customer may add or edit a minute, on all nodes. With 0, there is no
        /// limit.
        customer_comments_per_minute: u32 = "60", 0..=100_000;
        /// The same for one member of staff.
        staff_comments_per_minute: u32 = "300", 0..=100_000;
        /// How often one customer may call `updatePreferences` and, if that changes something,
        /// `updateTicket` and `setTicketMail` a minute, on all nodes. `markTicketRead` and
        /// `markNotificationsRead` count apart, up to five times as often. With 0, there is no limit.
        customer_changes_per_minute: u32 = "60", 0..=100_000;
        /// How many customers and handoff links one service token may create or update a minute, on
        /// all nodes. With 0, there is no limit.
        service_token_calls_per_minute: u32 = "1200", 0..=1_000_000;
        /// How many passwords and codes together may be guessed for one account in an hour, from
        /// everywhere. Half of them may be guessed at once. Guesses from addresses that the owner
        /// has signed in from before are counted separately.
        guesses_per_hour: u32 = "60", 4..=10_000;
        /// The largest total size of the responses that are executed once and shared by several
        /// streams, in bytes. A response that no longer fits is executed again for streams that are
        /// late.
        shared_response_bytes: usize = "33554432", 0..=1 << 40;
        /// The largest total size of the timelines and comments that are kept in memory, in bytes.
        /// They are not read from the database again until something happens to their ticket.
        timeline_cache_bytes: usize = "67108864", 0..=1 << 40;
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
    /// Logs, which are written to standard error.
    pub struct LogConfig in "log." {
        /// The format of the log: `text`, or `json` for one object a line.
        format: LogFormat = "text";
        /// The events to log: a level such as `info`, or levels by module such as
        /// `info,ticketwire=debug` (the syntax of the `tracing` library's `EnvFilter`). A word alone
        /// must be a level.
        filter: String = "info";
    }
}

section! {
    /// Traces in the format of OpenTelemetry.
    pub struct TracingConfig in "tracing." {
        /// The URL of an OpenTelemetry collector that receives OTLP over HTTP, such as
        /// `http://127.0.0.1:4318`. Traces of requests, statements and mails are sent to
        /// `/v1/traces` below it. Without it, there are no traces.
        otlp_endpoint: Option<String>;
        /// The share of traces that are sent, from 0 to 1. A request whose `traceparent` header says
        /// whether its trace is sampled follows it.
        sample_ratio: f64 = "0.1";
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
