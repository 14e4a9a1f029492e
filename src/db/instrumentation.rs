//! Counts, traces and watches the statements of connections.

use std::{
    fmt::{self, Display, Write},
    future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use parking_lot::Mutex;
use tokio::time;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Span, field::Empty};

use crate::domain::{budget::RequestBudget, request::RequestRecord};

/// How much of a statement's text is read for its summary, in bytes.
const READ: usize = 2_048;

/// What a database handle has done since it was created. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    events: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The figures of an [`Activity`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// How many events there were.
    pub events: u64,
    /// How long all of them took.
    pub took: Duration,
}

impl Activity {
    /// Counts an event that took this long.
    pub(super) fn add(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.events.fetch_add(1, Ordering::Relaxed);
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Returns the figures so far.
    pub fn figures(&self) -> Figures {
        let took = Duration::from_nanos(self.0.nanoseconds.load(Ordering::Relaxed));
        Figures { events: self.0.events.load(Ordering::Relaxed), took }
    }
}

/// How long a statement of one connection goes without the beginning of an answer. Clones share it.
#[derive(Clone)]
pub(super) struct Watch {
    /// When the statement under way began. One that was abandoned stays until the next one starts.
    began: Arc<Mutex<Option<Instant>>>,
    limit: Option<Duration>,
}

/// The longest that a statement may go without an answer. Postgres ends it earlier if it can
/// (`statement_timeout`).
const LIMIT: Duration = Duration::from_secs(45);
/// How often that is checked.
const CHECK_EVERY: Duration = Duration::from_secs(5);

impl Watch {
    pub(super) fn new() -> Self {
        Self { began: Arc::default(), limit: Some(LIMIT) }
    }

    pub(super) fn unlimited() -> Self {
        Self { began: Arc::default(), limit: None }
    }

    fn start(&self) {
        *self.began.lock() = Some(Instant::now());
    }

    /// Returns when the statement began that has ended.
    fn finish(&self) -> Option<Instant> {
        self.began.lock().take()
    }

    /// Waits until a statement has exceeded the limit. Returns when it began.
    pub(super) async fn exceeded(&self) -> Instant {
        let Some(limit) = self.limit else { return future::pending().await };
        loop {
            time::sleep(CHECK_EVERY).await;
            let began = *self.began.lock();
            if let Some(began) = began.filter(|began| began.elapsed() > limit) {
                return began;
            }
        }
    }
}

/// Counts, traces and watches the statements of one connection.
pub(super) struct Statements {
    activity: Activity,
    watch: Watch,
    /// Closes the connection's socket with it, whatever is under way.
    _driver: AbortOnDropHandle<()>,
    /// The span of the statement under way, as long as the watch has its beginning.
    running: Option<Span>,
}

impl Statements {
    pub(super) fn new(activity: Activity, watch: Watch, driver: AbortOnDropHandle<()>) -> Self {
        Self { activity, watch, _driver: driver, running: None }
    }

    /// Counts a statement against the budget of the request that sends it. Beyond the limit, the
    /// request ends.
    fn start(&mut self, statement: &dyn Display) {
        if let Some(record) = RequestRecord::current() {
            record.add_statement();
        }
        if let Some(budget) = RequestBudget::current() {
            let _ = budget.add_statement();
        }
        self.watch.start();
        self.running = Some(span(statement));
    }

    fn finish(&mut self, failed: bool) {
        let (Some(began), Some(span)) = (self.watch.finish(), self.running.take()) else { return };
        self.activity.add(began.elapsed());
        if failed {
            span.record("otel.status_code", "ERROR");
        }
    }
}

impl Instrumentation for Statements {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { query, .. } => self.start(&query),
            InstrumentationEvent::FinishQuery { error, .. } => self.finish(error.is_some()),
            _ => {}
        }
    }
}

/// Returns the span of a statement. It does nothing if traces are off.
fn span(statement: &dyn Display) -> Span {
    let span = tracing::trace_span!(
        target: "otel",
        "statement",
        otel.name = Empty,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "postgresql",
        db.query.summary = Empty,
    );
    if !span.is_disabled() {
        let summary = summary(statement);
        span.record("otel.name", summary.as_str());
        span.record("db.query.summary", summary.as_str());
    }
    span
}

/// Returns the first word of a statement and the first table that it names: nothing that depends on
/// values.
fn summary(statement: &dyn Display) -> String {
    let mut start = Start(String::new());
    // It fails once enough was written.
    let _ = write!(start, "{statement}");
    let text = start.0.split(" -- binds").next().unwrap_or_default();
    let mut words = text.split(|c: char| c.is_whitespace() || "(),;".contains(c));
    let first = words.find(|word| !word.is_empty()).unwrap_or_default().to_uppercase();
    let first = first.chars().take_while(char::is_ascii_alphabetic).collect::<String>();
    let mut names_table = first == "UPDATE";
    let table = words.filter(|word| !word.is_empty()).find(|word| {
        let is_next = std::mem::replace(
            &mut names_table,
            ["FROM", "INTO", "UPDATE"].iter().any(|before| word.eq_ignore_ascii_case(before)),
        );
        is_next && is_table(word)
    });
    match table {
        Some(table) => format!("{first} {}", table.replace('"', "")),
        None => first,
    }
}

fn is_table(word: &str) -> bool {
    let is_name = word.bytes().all(|byte| byte.is_ascii_lowercase() || b"_\"".contains(&byte));
    is_name && word.len() <= 63
}

/// The start of a text.
struct Start(String);

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = READ.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_no_values() {
        for (statement, expected) in [
            (
                "SELECT \"tickets\".\"id\" FROM \"tickets\" WHERE a = $1 -- binds: [7]",
                "SELECT tickets",
            ),
            (
                "INSERT INTO \"comments\" (\"id\") VALUES ($1) -- binds: [\"x FROM y\"]",
                "INSERT comments",
            ),
            ("UPDATE \"tickets\" SET a = 1", "UPDATE tickets"),
            ("DELETE  FROM \"sessions\"", "DELETE sessions"),
            ("WITH a AS (SELECT 1 FROM deliveries) SELECT", "WITH deliveries"),
            ("SELECT count(*) FROM (SELECT FROM events) e", "SELECT events"),
            ("BEGIN", "BEGIN"),
            ("", ""),
        ] {
            assert_eq!(summary(&statement), expected, "{statement}");
        }
        let long = format!("SELECT '{}' FROM secret", "x".repeat(READ));
        assert_eq!(summary(&long), "SELECT");
    }
}
