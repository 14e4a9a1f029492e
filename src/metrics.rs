//! What an operator watches: counters and gauges of one server. Each server has a
//! registry of its own, which its parts are handed when they are made.

use std::{fmt, sync::Arc, time::Duration};

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

/// The names and values of a metric's labels.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// One server's metrics. Clones are the same metrics.
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
    replay_reads: Family<Labels<1>, Counter>,
    replays: Family<Labels<1>, Gauge>,
    mails: Family<Labels<1>, Counter>,
    sign_ins: Family<Labels<1>, Counter>,
    requests: Family<HttpLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
}

/// Route and class of status.
type HttpLabels = Vec<(&'static str, String)>;
type RouteLabel = [(&'static str, String); 1];

/// What a stream is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// One ticket's events.
    Ticket,
    /// The events of all tickets that somebody may see.
    Inbox,
    /// The events of the staff's queue.
    Queue,
    /// Somebody's notifications.
    Notifications,
}

impl StreamKind {
    const ALL: [Self; 4] = [Self::Ticket, Self::Inbox, Self::Queue, Self::Notifications];

    fn label(self) -> Labels<1> {
        let name = match self {
            Self::Ticket => "ticket",
            Self::Inbox => "inbox",
            Self::Queue => "queue",
            Self::Notifications => "notifications",
        };
        [("stream", name)]
    }
}

/// Where a page of a replay is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaySource {
    /// The node's own memory.
    Memory,
    /// The database.
    Database,
}

/// How far a replay is that needs the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// It waits for its turn.
    Waiting,
    /// It reads.
    Reading,
}

/// What the first step of a sign-in came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// A session began.
    SignedIn,
    /// A second factor was asked for.
    SecondFactor,
    /// Address or password were wrong.
    WrongCredentials,
    /// There were too many attempts before.
    RateLimited,
    /// It could not be tried.
    Failed,
}

/// A stream, counted as long as this lives, and what it is given.
pub struct CountedStream {
    _open: Counted,
    delivered: Counter,
}

impl CountedStream {
    /// Notes that it was given something.
    pub fn delivered(&self) {
        self.delivered.inc();
    }
}

/// One more in a gauge as long as this lives.
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
            replay_reads: Family::default(),
            replays: Family::default(),
            mails: Family::default(),
            sign_ins: Family::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
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
        registry.register("build_info", "Which version runs", build);
        let help = "Events of the feed that this node has published to its subscribers";
        registry.register("events_published", help, self.published.clone());
        let help = "Streams that are open on this node";
        registry.register("subscribers", help, self.subscribers.clone());
        let help = "Events and notifications that were given to streams";
        registry.register("events_delivered", help, self.delivered.clone());
        let help = "Mailboxes of streams that were dropped since they were not emptied in time";
        registry.register("subscriber_buffer_overflows", help, self.overflows.clone());
        let help = "Streams that ended since they could not be continued without a gap";
        registry.register("resyncs", help, self.resyncs.clone());
        let help = "Streams that ended with their session or its rights";
        registry.register("revocations", help, self.revocations.clone());
        let help = "Clients that were hung up on since they did not take what was sent";
        registry.register("slow_consumers_closed", help, self.slow_consumers.clone());
        let help = "Pages that were read to replay what streams had missed";
        registry.register("replay_reads", help, self.replay_reads.clone());
        let help = "Replays that read the database, or wait for their turn to";
        registry.register("replays", help, self.replays.clone());
        let help = "Attempts to send a mail, by what came of them";
        registry.register("mail_attempts", help, self.mails.clone());
        let help = "First steps of signing in, by what came of them";
        registry.register("sign_ins", help, self.sign_ins.clone());
        let help = "HTTP requests that were answered";
        registry.register("http_requests", help, self.requests.clone());
        let help = "How long HTTP requests took to be answered";
        registry.register("http_request_duration_seconds", help, self.durations.clone());
        // There from the start, so that the first one is seen as an increase.
        for kind in StreamKind::ALL {
            drop(self.subscribers.get_or_create_owned(&kind.label()));
            drop(self.delivered.get_or_create_owned(&kind.label()));
        }
        for source in ["memory", "database"] {
            drop(self.replay_reads.get_or_create_owned(&[("source", source)]));
        }
        for state in ["waiting", "reading"] {
            drop(self.replays.get_or_create_owned(&[("state", state)]));
        }
    }
}

impl Metrics {
    /// Notes events that were published.
    pub fn published(&self, count: u64) {
        self.0.published.inc_by(count);
    }

    /// Notes a stream, as long as what this gives lives.
    pub fn subscriber(&self, kind: StreamKind) -> CountedStream {
        CountedStream {
            _open: Counted::new(&self.0.subscribers.get_or_create(&kind.label())),
            delivered: self.0.delivered.get_or_create_owned(&kind.label()),
        }
    }

    /// Notes that a mailbox was dropped.
    pub fn overflowed(&self) {
        self.0.overflows.inc();
    }

    /// Notes that a stream ended since it could not be continued.
    pub fn resync(&self, reason: &'static str) {
        self.0.resyncs.get_or_create(&[("reason", reason)]).inc();
    }

    /// Notes that a stream ended with its session or its rights.
    pub fn revoked(&self) {
        self.0.revocations.inc();
    }

    /// Notes that a client was hung up on since it did not take what was sent.
    pub fn slow_consumer_closed(&self) {
        self.0.slow_consumers.inc();
    }

    /// Notes that a page of a replay was read.
    pub fn replay_read(&self, source: ReplaySource) {
        let source = match source {
            ReplaySource::Memory => "memory",
            ReplaySource::Database => "database",
        };
        self.0.replay_reads.get_or_create(&[("source", source)]).inc();
    }

    /// Notes a replay that needs the database, as long as what this gives lives.
    pub fn replay(&self, state: ReplayState) -> Counted {
        let state = match state {
            ReplayState::Waiting => "waiting",
            ReplayState::Reading => "reading",
        };
        Counted::new(&self.0.replays.get_or_create(&[("state", state)]))
    }

    /// Notes what came of an attempt to send a mail.
    pub fn mail_attempt(&self, outcome: &'static str) {
        self.0.mails.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Notes what the first step of a sign-in came to.
    pub fn sign_in(&self, outcome: SignInOutcome) {
        let outcome = match outcome {
            SignInOutcome::SignedIn => "signed_in",
            SignInOutcome::SecondFactor => "second_factor",
            SignInOutcome::WrongCredentials => "wrong",
            SignInOutcome::RateLimited => "limited",
            SignInOutcome::Failed => "failed",
        };
        self.0.sign_ins.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Notes a request that was answered; `route` is the pattern of its path, so that
    /// callers can't make up labels.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        let labels = vec![("route", route.to_owned()), ("status", format!("{}xx", status / 100))];
        self.0.requests.get_or_create(&labels).inc();
        let route = [("route", route.to_owned())];
        self.0.durations.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// The metrics as text (OpenMetrics 1.0), with what was looked at just now.
    ///
    /// # Errors
    /// They can't be written, which is a fault in here.
    pub fn expose(&self, looked: &Snapshot) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode_registry(&mut text, &self.0.registry)?;
        text::encode(&mut text, &looked.registry)?;
        Ok(text)
    }
}

/// Gauges that are looked at when somebody asks, for this once.
pub struct Snapshot {
    registry: Registry,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { registry: Registry::with_prefix("ticketwire") }
    }
}

impl Snapshot {
    /// Adds a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: i64) {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    /// Adds a gauge of seconds.
    pub fn seconds(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    /// Adds a gauge for each value of a label.
    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (String, i64)>,
    ) {
        let family = Family::<[(&'static str, String); 1], Gauge>::default();
        for (of, value) in values {
            family.get_or_create(&[(label, of)]).set(value);
        }
        self.registry.register(name, help, family);
    }
}
