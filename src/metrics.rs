//! Metrics: counters, gauges and histograms of one server. Each server has its own registry, which
//! is passed to its parts on creation.

mod snapshot;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

pub use snapshot::{Snapshot, to_text_format};

/// The names and values of `N` labels.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// How attempts to send a mail end.
const MAIL_OUTCOMES: [&str; 8] =
    ["sent", "held", "deferred", "refused", "given_up", "unbuildable", "expired", "cancelled"];

/// The outcomes of operations that the server failed to perform: codes of errors.
const OPERATION_FAILURES: [&str; 3] = ["INTERNAL", "TIMEOUT", "UNAVAILABLE"];

/// The metrics of one server. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    published: Counter,
    subscribers: Family<Labels<1>, Gauge>,
    delivered: Family<Labels<1>, Counter>,
    overflows: Counter,
    resyncs: Family<Labels<1>, Counter>,
    revocations: Counter,
    slow_consumers: Counter,
    refusals: Family<Labels<1>, Counter>,
    replay_reads: Family<Labels<1>, Counter>,
    replays: Family<Labels<1>, Gauge>,
    shared_response_bytes: Gauge,
    mails: Family<Labels<1>, Counter>,
    mail_held: Gauge,
    mails_unrecorded: Gauge,
    sign_ins: Family<Labels<1>, Counter>,
    set_aside: Family<Labels<1>, Counter>,
    requests: Family<HttpLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
    response_bytes: Family<RouteLabel, Counter>,
    rejections: Family<Labels<1>, Counter>,
    failed_operations: Family<Labels<1>, Counter>,
    handshake_failures: Family<Labels<1>, Counter>,
    nodes: Gauge,
    node_differences: Family<Labels<1>, Gauge>,
    clock_offset: Gauge<f64, AtomicU64>,
    storage_free_bytes: Family<Labels<0>, Gauge>,
    storage_up: Family<Labels<0>, Gauge>,
    certificate_expires: Gauge,
    certificate_failures: Counter,
}

/// The route and the class of the status code.
type HttpLabels = Vec<(&'static str, String)>;
type RouteLabel = [(&'static str, String); 1];

/// The kind of a live stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// The events of one ticket.
    Ticket,
    /// The events of all tickets that a person may see.
    Inbox,
    /// The events of the staff's queue.
    Queue,
    /// The notifications of a person.
    Notifications,
    /// The people who have a ticket open.
    Presence,
}

impl StreamKind {
    const ALL: [Self; 5] =
        [Self::Ticket, Self::Inbox, Self::Queue, Self::Notifications, Self::Presence];

    fn label(self) -> Labels<1> {
        let name = match self {
            Self::Ticket => "ticket",
            Self::Inbox => "inbox",
            Self::Queue => "queue",
            Self::Notifications => "notifications",
            Self::Presence => "presence",
        };
        [("stream", name)]
    }
}

/// The source that a page of a replay is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaySource {
    /// The memory of this node.
    Memory,
    /// The database.
    Database,
}

/// The state of a replay that needs the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// The replay waits for its turn.
    Waiting,
    /// The replay reads from the database.
    Reading,
}

/// The outcome of the first step of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// The person is signed in.
    SignedIn,
    /// A second factor is required.
    SecondFactor,
    /// The address or password is wrong.
    WrongCredentials,
    /// There were too many attempts.
    RateLimited,
    /// The server failed.
    Failed,
}

/// A limit that refuses what exceeds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Open connections.
    Connections,
    /// Open connections of one network address.
    ConnectionsPerAddress,
    /// Connections of one network address without a request.
    Handshakes,
    /// The time for the headers of the first request.
    HeaderTime,
    /// The rate of a body.
    BodyRate,
    /// The time for a body.
    UploadTime,
    /// Requests whose files are being received, and bytes that a customer uploads in a day.
    Uploads,
    /// Files of one account that are not attached to anything.
    UnusedFiles,
    /// Requests under way of one account or network address.
    Requests,
    /// Websockets of one account or network address.
    Sockets,
    /// The time in which a websocket must sign in.
    SocketTime,
    /// Streams of one account.
    Streams,
    /// Tickets that one account opens.
    Tickets,
    /// Comments that one account adds.
    Comments,
    /// Changes of tickets and preferences that one account makes.
    Changes,
    /// Calls of one service token.
    MachineCalls,
    /// Guesses of passwords, codes and links.
    Guesses,
}

impl Limit {
    const ALL: [Self; 17] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Handshakes,
        Self::HeaderTime,
        Self::BodyRate,
        Self::UploadTime,
        Self::Uploads,
        Self::UnusedFiles,
        Self::Requests,
        Self::Sockets,
        Self::SocketTime,
        Self::Streams,
        Self::Tickets,
        Self::Comments,
        Self::Changes,
        Self::MachineCalls,
        Self::Guesses,
    ];

    fn label(self) -> Labels<1> {
        let name = match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Handshakes => "handshakes",
            Self::HeaderTime => "header_time",
            Self::BodyRate => "body_rate",
            Self::UploadTime => "upload_time",
            Self::Uploads => "uploads",
            Self::UnusedFiles => "unused_files",
            Self::Requests => "requests",
            Self::Sockets => "sockets",
            Self::SocketTime => "socket_time",
            Self::Streams => "streams",
            Self::Tickets => "tickets",
            Self::Comments => "comments",
            Self::Changes => "changes",
            Self::MachineCalls => "machine_calls",
            Self::Guesses => "guesses",
        };
        [("limit", name)]
    }
}

/// Why a request is rejected before its route is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is not HTTP/1, or a header is malformed.
    Malformed,
    /// Its target or its headers are too large.
    TooLarge,
    /// The connection begins with HTTP/2.
    Http2,
    /// It came without TLS.
    PlainHttp,
}

impl Rejection {
    const ALL: [Self; 4] = [Self::Malformed, Self::TooLarge, Self::Http2, Self::PlainHttp];

    /// Returns its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Http2 => "http2",
            Self::PlainHttp => "plain_http",
        }
    }

    fn label(self) -> Labels<1> {
        [("reason", self.name())]
    }
}

/// Why a TLS handshake failed. One that takes too long is a refusal ([`Limit::HeaderTime`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client closed the connection.
    Closed,
    /// The client does not trust the certificate.
    CertificateRefused,
    /// Client and server share no version, cipher suite or protocol.
    Incompatible,
    /// What the client sent is not TLS, or breaks its rules.
    Malformed,
    /// Another reason.
    Other,
}

impl HandshakeFailure {
    const ALL: [Self; 5] =
        [Self::Closed, Self::CertificateRefused, Self::Incompatible, Self::Malformed, Self::Other];

    /// Returns its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::CertificateRefused => "certificate_refused",
            Self::Incompatible => "incompatible",
            Self::Malformed => "malformed",
            Self::Other => "other",
        }
    }

    fn label(self) -> Labels<1> {
        [("reason", self.name())]
    }
}

/// Counts a stream as open until it is dropped, and counts the items delivered to it.
pub struct CountedStream {
    _open: Counted,
    delivered: Counter,
}

impl CountedStream {
    /// Counts an item that was delivered to the stream.
    pub fn delivered(&self) {
        self.delivered.inc();
    }
}

/// Increases a gauge by one until it is dropped.
pub struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.5, 11));
        let mut inner = Inner {
            registry: Registry::with_prefix("ticketwire"),
            published: Counter::default(),
            subscribers: Family::default(),
            delivered: Family::default(),
            overflows: Counter::default(),
            resyncs: Family::default(),
            revocations: Counter::default(),
            slow_consumers: Counter::default(),
            refusals: Family::default(),
            replay_reads: Family::default(),
            replays: Family::default(),
            shared_response_bytes: Gauge::default(),
            mails: Family::default(),
            mail_held: Gauge::default(),
            mails_unrecorded: Gauge::default(),
            sign_ins: Family::default(),
            set_aside: Family::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            response_bytes: Family::default(),
            rejections: Family::default(),
            failed_operations: Family::default(),
            handshake_failures: Family::default(),
            nodes: Gauge::default(),
            node_differences: Family::default(),
            clock_offset: Gauge::default(),
            storage_free_bytes: Family::default(),
            storage_up: Family::default(),
            certificate_expires: Gauge::default(),
            certificate_failures: Counter::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let build = Family::<Labels<1>, Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("build_info", "Version of the server", build);
        let help = "Events that this node published to its streams";
        registry.register("events_published", help, self.published.clone());
        let help = "Streams open on this node";
        registry.register("subscribers", help, self.subscribers.clone());
        let help = "Events and notifications delivered to streams";
        registry.register("events_delivered", help, self.delivered.clone());
        let help = "Subscriber buffers discarded because they were full";
        registry.register("subscriber_buffer_overflows", help, self.overflows.clone());
        let help = "Streams ended because they could not continue without a gap";
        registry.register("resyncs", help, self.resyncs.clone());
        let help = "Streams ended because their session ended or lost access";
        registry.register("revocations", help, self.revocations.clone());
        let help = "Connections closed because the client read too slowly";
        registry.register("slow_consumers_closed", help, self.slow_consumers.clone());
        let help = "Connections, requests and inputs refused because of a limit";
        registry.register("refusals", help, self.refusals.clone());
        let help = "Pages read to replay events that streams missed";
        registry.register("replay_reads", help, self.replay_reads.clone());
        let help = "Replays that read the database or wait for their turn";
        registry.register("replays", help, self.replays.clone());
        let help = "Bytes of the responses that streams share";
        registry.register("shared_response_bytes", help, self.shared_response_bytes.clone());
        let help = "Attempts to send a mail, by outcome";
        registry.register("mail_attempts", help, self.mails.clone());
        let help = "1 while this node sends no mail because the mail server cannot be reached, or \
                    refuses the sender, the session or more mail for today, otherwise 0";
        registry.register("mail_held", help, self.mail_held.clone());
        let help = "Mails under way or sent that wait for the database to know of them. While there are \
                    any, this node sends no other mail";
        registry.register("mails_unrecorded", help, self.mails_unrecorded.clone());
        let help = "First steps of sign-ins, by outcome";
        registry.register("sign_ins", help, self.sign_ins.clone());
        let help = "Events that a consumer could not process and set aside";
        registry.register("set_aside", help, self.set_aside.clone());
        let help = "HTTP requests answered or cancelled";
        registry.register("http_requests", help, self.requests.clone());
        let help = "Time to answer HTTP requests";
        registry.register("http_request_duration_seconds", help, self.durations.clone());
        let help = "Bytes of the bodies of responses, without streams";
        registry.register("http_response_bytes", help, self.response_bytes.clone());
        let help = "HTTP requests rejected before their route is known, by reason";
        registry.register("http_rejected_requests", help, self.rejections.clone());
        let help = "GraphQL operations that the server failed to perform, by outcome";
        registry.register("failed_operations", help, self.failed_operations.clone());
        let help = "TLS handshakes that failed, by reason";
        registry.register("tls_handshake_failures", help, self.handshake_failures.clone());
        self.register_nodes();
        self.expose_labels();
    }

    fn register_nodes(&mut self) {
        let registry = &mut self.registry;
        registry.register("nodes", "Nodes seen within the last 30 seconds", self.nodes.clone());
        let help = "Other nodes that differ from this one although they must not";
        registry.register("node_differences", help, self.node_differences.clone());
        let help = "How far the clock of this node is ahead of that of the database";
        registry.register("clock_offset_seconds", help, self.clock_offset.clone());
        let help = "Free bytes on the disk of the folder of attachments";
        registry.register("storage_free_bytes", help, self.storage_free_bytes.clone());
        let help = "Whether the storage of attachments can be read and is that of the installation";
        registry.register("storage_up", help, self.storage_up.clone());
        let help = "When the first certificate of this node's chain expires, in Unix time, or 0 without TLS";
        registry.register("certificate_expires_seconds", help, self.certificate_expires.clone());
        let help = "Attempts to read the certificate again that failed";
        registry.register("certificate_reload_failures", help, self.certificate_failures.clone());
    }

    /// Exposes labels from the start, so that their first occurrence shows as an increase.
    fn expose_labels(&self) {
        for kind in StreamKind::ALL {
            drop(self.subscribers.get_or_create_owned(&kind.label()));
            drop(self.delivered.get_or_create_owned(&kind.label()));
        }
        for limit in Limit::ALL {
            drop(self.refusals.get_or_create_owned(&limit.label()));
        }
        for reason in Rejection::ALL {
            drop(self.rejections.get_or_create_owned(&reason.label()));
        }
        for outcome in OPERATION_FAILURES {
            drop(self.failed_operations.get_or_create_owned(&[("outcome", outcome)]));
        }
        for reason in HandshakeFailure::ALL {
            drop(self.handshake_failures.get_or_create_owned(&reason.label()));
        }
        for source in ["memory", "database"] {
            drop(self.replay_reads.get_or_create_owned(&[("source", source)]));
        }
        for kind in ["version", "configuration", "storage"] {
            drop(self.node_differences.get_or_create_owned(&[("kind", kind)]));
        }
        for outcome in MAIL_OUTCOMES {
            drop(self.mails.get_or_create_owned(&[("outcome", outcome)]));
        }
        for reason in ["history_rewound", "too_far_behind"] {
            drop(self.resyncs.get_or_create_owned(&[("reason", reason)]));
        }
        for state in ["waiting", "reading"] {
            drop(self.replays.get_or_create_owned(&[("state", state)]));
        }
    }
}

impl Metrics {
    /// Counts published events.
    pub fn published(&self, count: u64) {
        self.0.published.inc_by(count);
    }

    /// Counts a stream as open until the returned guard is dropped.
    pub fn subscriber(&self, kind: StreamKind) -> CountedStream {
        CountedStream {
            _open: Counted::new(&self.0.subscribers.get_or_create(&kind.label())),
            delivered: self.0.delivered.get_or_create_owned(&kind.label()),
        }
    }

    /// Counts a subscriber buffer that was discarded because it was full.
    pub fn overflowed(&self) {
        self.0.overflows.inc();
    }

    /// Counts a stream that ended because it could not continue without a gap.
    pub fn resync(&self, reason: &'static str) {
        self.0.resyncs.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a stream that ended because its session ended or lost access.
    pub fn revoked(&self) {
        self.0.revocations.inc();
    }

    /// Counts a connection that was closed because the client read too slowly.
    pub fn slow_consumer_closed(&self) {
        self.0.slow_consumers.inc();
    }

    /// Counts what was refused because of a limit.
    pub fn refused(&self, limit: Limit) {
        self.0.refusals.get_or_create(&limit.label()).inc();
    }

    /// Counts a page that was read for a replay.
    pub fn replay_read(&self, source: ReplaySource) {
        let source = match source {
            ReplaySource::Memory => "memory",
            ReplaySource::Database => "database",
        };
        self.0.replay_reads.get_or_create(&[("source", source)]).inc();
    }

    /// Counts a replay that needs the database until the returned guard is dropped.
    pub fn replay(&self, state: ReplayState) -> Counted {
        let state = match state {
            ReplayState::Waiting => "waiting",
            ReplayState::Reading => "reading",
        };
        Counted::new(&self.0.replays.get_or_create(&[("state", state)]))
    }

    /// Sets how many bytes the shared responses take.
    pub fn set_shared_response_bytes(&self, bytes: usize) {
        self.0.shared_response_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts an attempt to send a mail.
    pub fn mail_attempt(&self, outcome: &'static str) {
        self.0.mails.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Exposes the events that a consumer sets aside from the start.
    pub fn consumer(&self, name: &'static str) {
        drop(self.0.set_aside.get_or_create_owned(&[("consumer", name)]));
    }

    /// Counts an event that a consumer set aside.
    pub fn set_aside(&self, consumer: &'static str) {
        self.0.set_aside.get_or_create(&[("consumer", consumer)]).inc();
    }

    /// Shows whether the senders are held back.
    pub fn mail_held(&self, held: bool) {
        self.0.mail_held.set(i64::from(held));
    }

    /// Counts a mail that waits for the database to know of it until the returned guard is dropped.
    pub fn mail_unrecorded(&self) -> Counted {
        Counted::new(&self.0.mails_unrecorded)
    }

    /// Counts the first step of a sign-in.
    pub fn sign_in(&self, outcome: SignInOutcome) {
        let outcome = match outcome {
            SignInOutcome::SignedIn => "signed_in",
            SignInOutcome::SecondFactor => "second_factor",
            SignInOutcome::WrongCredentials => "invalid_credentials",
            SignInOutcome::RateLimited => "rate_limited",
            SignInOutcome::Failed => "failed",
        };
        self.0.sign_ins.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts an answered request, how long it took, and the bytes of its response. `route` is the
    /// pattern of the path, not the path itself, so that clients cannot create labels.
    pub fn request(&self, route: &str, status: u16, took: Duration, bytes: u64) {
        let labels = vec![("route", route.to_owned()), ("status", format!("{}xx", status / 100))];
        self.0.requests.get_or_create(&labels).inc();
        let route = [("route", route.to_owned())];
        self.0.durations.get_or_create(&route).observe(took.as_secs_f64());
        self.0.response_bytes.get_or_create(&route).inc_by(bytes);
    }

    /// Counts a request whose client did not wait for the response, and how long it waited.
    pub fn cancelled(&self, route: &str, took: Duration) {
        let labels = vec![("route", route.to_owned()), ("status", "cancelled".to_owned())];
        self.0.requests.get_or_create(&labels).inc();
        let route = [("route", route.to_owned())];
        self.0.durations.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// Counts a request that was rejected before its route is known.
    pub fn rejected(&self, reason: Rejection) {
        self.0.rejections.get_or_create(&reason.label()).inc();
    }

    /// Counts an operation with this outcome if it is a failure of the server. Returns whether it is.
    pub fn operation_ended(&self, outcome: &str) -> bool {
        let failure = OPERATION_FAILURES.into_iter().find(|failure| *failure == outcome);
        let Some(failure) = failure else { return false };
        self.0.failed_operations.get_or_create(&[("outcome", failure)]).inc();
        true
    }

    /// Counts a TLS handshake that failed.
    pub fn handshake_failed(&self, reason: HandshakeFailure) {
        self.0.handshake_failures.get_or_create(&reason.label()).inc();
    }

    /// Sets how many nodes run, this one included.
    pub fn set_nodes(&self, count: usize) {
        self.0.nodes.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets how many other nodes differ from this one in one way.
    pub fn set_node_differences(&self, kind: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0.node_differences.get_or_create(&[("kind", kind)]).set(count);
    }

    /// Sets how many seconds the clock of this node is ahead of that of the database.
    pub fn set_clock_offset(&self, seconds: f64) {
        self.0.clock_offset.set(seconds);
    }

    /// Sets how many bytes are free on the disk of attachments. `None` exposes nothing.
    pub fn set_storage_free_bytes(&self, bytes: Option<u64>) {
        match bytes {
            None => self.0.storage_free_bytes.clear(),
            Some(bytes) => {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                self.0.storage_free_bytes.get_or_create(&[]).set(bytes);
            }
        }
    }

    /// Sets whether the storage of attachments can be read. Exposed once this was called.
    pub fn set_storage_up(&self, is_up: bool) {
        self.0.storage_up.get_or_create(&[]).set(is_up.into());
    }

    /// Sets when the first certificate of the chain in use expires, in seconds of Unix time.
    pub fn set_certificate_expiry(&self, expires_at: i64) {
        self.0.certificate_expires.set(expires_at);
    }

    /// Counts an attempt to read the certificate again that failed.
    pub fn certificate_not_reloaded(&self) {
        self.0.certificate_failures.inc();
    }

    /// Returns these metrics and those of the snapshot as text (`OpenMetrics` 1.0).
    ///
    /// # Errors
    /// Encoding failed, which is a bug.
    pub fn expose(&self, snapshot: &Snapshot) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode_registry(&mut text, &self.0.registry)?;
        text::encode_registry(&mut text, &snapshot.process)?;
        text::encode(&mut text, &snapshot.registry)?;
        Ok(text)
    }
}
