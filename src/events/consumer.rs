//! Runs the consumers of the feed, and keeps one bad event from stopping them.
//!
//! A runner works on every node. The lock on the consumer's offset makes them take turns, and the
//! offset moves in the transaction that stores the results, so each event is processed once.
//!
//! If a batch fails, its events are processed one by one. An event that fails alone as well is set
//! aside: recorded with its error, counted, and skipped until somebody requests another attempt.
//! Only an error that other events do not share sets an event aside. An outage sets nothing aside:
//! the runner waits and repeats, also for a lock. What else fails slowly may be either, so it is
//! repeated a few times, and set aside if one of the events after it succeeds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio::{sync::watch, time};
use tracing::Instrument as _;

use super::{hub::Hub, log::EventLog, task::survive_panics};
use crate::{
    db::{
        Blame, Connection, Database, DbError, consumer, feed, savepoint,
        set_aside::{self, NewSetAside},
    },
    domain::{
        clock::Ambient,
        event::FeedEvent,
        ids::{EventId, SetAsideId},
    },
    metrics::Metrics,
};

/// The largest number of events that are processed in one transaction.
const PAGE: usize = 200;
/// How often the feed is read without a hint. Hints can be lost.
const POLL: Duration = Duration::from_secs(1);
/// The pause after a failure. It doubles with each further one, up to the maximum.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(4);
/// An unclear error that took this long may be a timeout or a deadlock. Postgres needs at least a
/// second to report one.
const TOO_LONG: Duration = Duration::from_millis(900);
/// For how long events that were set aside are tried again while new ones wait.
const RETRY_FOR: Duration = Duration::from_millis(500);
/// From how many such failures of an event on another one is tried, to see what is at fault: the event
/// or the database.
const SLOW_FAILURES: u32 = 3;
/// How many of the events after it are tried, one after each failure: the next one may be of the same
/// ticket, and fail too.
const OTHERS: u32 = 8;

/// A reader of the feed that processes each event once.
pub trait Consumer: Send + Sync {
    /// Returns the name of the consumer's offset.
    fn name(&self) -> &'static str;

    /// Returns how long to wait between two batches that are not full, so that events which come
    /// one by one share a batch.
    fn pause(&self) -> Duration;

    /// Processes events, in order, in the transaction of `db`. They may be fewer than the last
    /// time, and include one that failed before.
    fn process<'a>(
        &'a self,
        db: &'a mut Connection,
        events: &'a [Arc<FeedEvent>],
    ) -> BoxFuture<'a, Result<(), DbError>>;

    /// Called after the events up to a position were processed, by this node if `processed`, or
    /// else by another one. Called again with the same position if it fails. Does nothing by default.
    fn advanced(&self, _up_to: i64, _processed: bool) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Runs a consumer.
pub struct ConsumerRunner {
    database: Database,
    ambient: Ambient,
    metrics: Metrics,
    hub: Arc<Hub>,
    /// Changes when the feed has grown.
    head: watch::Receiver<i64>,
    consumer: Box<dyn Consumer>,
    slow: SlowFailures,
}

/// The position of the event that failed slowly, and how often.
#[derive(Default)]
struct SlowFailures {
    pos: AtomicI64,
    count: AtomicU32,
}

/// How far a step of a consumer came.
#[derive(Clone, Copy)]
struct Progress {
    /// The consumer's offset.
    up_to: i64,
    /// The number of events that were processed or set aside.
    processed: usize,
}

/// The result of processing one event alone. If it failed, nothing of it is stored, and the
/// transaction can continue.
enum Attempt {
    Done,
    /// The event is to blame.
    Failed(DbError),
    /// It took so long that something else may be to blame.
    FailedSlowly(DbError),
}

/// An event that failed alone.
struct Failed {
    event_id: EventId,
    error: DbError,
}

impl ConsumerRunner {
    /// Creates the runner of a consumer on this node.
    pub fn new(log: &EventLog, consumer: Box<dyn Consumer>) -> Self {
        log.metrics.consumer(consumer.name());
        Self {
            database: log.background.clone(),
            ambient: log.ambient.clone(),
            metrics: log.metrics.clone(),
            hub: Arc::clone(&log.hub),
            head: log.watch_head(),
            consumer,
            slow: SlowFailures::default(),
        }
    }

    /// Processes events until the future is dropped.
    pub async fn run(self) {
        let span = tracing::info_span!("consumer", consumer = self.consumer.name());
        self.process_forever().instrument(span).await;
    }

    async fn process_forever(mut self) {
        let mut pause = RETRY_AFTER;
        loop {
            match survive_panics(self.advance_and_announce()).await {
                Ok(progress) => {
                    pause = RETRY_AFTER;
                    if progress.processed < PAGE {
                        if progress.processed > 0 {
                            time::sleep(self.consumer.pause()).await;
                        }
                        let _ = time::timeout(POLL, self.head.changed()).await;
                    }
                }
                Err(error) => {
                    let consumer = self.consumer.name();
                    tracing::warn!(%error, consumer, "processing events failed; retrying");
                    time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_RETRY_AFTER);
                }
            }
        }
    }

    async fn advance_and_announce(&self) -> Result<Progress, DbError> {
        let progress = self.advance().await?;
        self.consumer.advanced(progress.up_to, progress.processed > 0).await?;
        Ok(progress)
    }

    /// Makes the requested attempts, and processes the next events.
    async fn advance(&self) -> Result<Progress, DbError> {
        // Checked first: an idle consumer locks nothing.
        let work = {
            let mut connection = self.database.read().await?;
            consumer::work(&mut connection, self.consumer.name()).await?
        };
        let retried = if work.retries { self.retry_requested(work.behind).await } else { 0 };
        if !work.behind {
            return Ok(Progress { up_to: work.pos, processed: retried });
        }
        match self.process_batch().await {
            Err(error) if error.blame() != Blame::Outage => {
                let consumer = self.consumer.name();
                let error = error.without_values();
                tracing::warn!(error, consumer, "a batch of events failed; processing them singly");
                self.process_singly().await
            }
            done => done,
        }
    }

    /// Processes a batch of events in one transaction.
    async fn process_batch(&self) -> Result<Progress, DbError> {
        let name = self.consumer.name();
        let process = async |db: &mut Connection| {
            let after = consumer::lock(db, name).await?;
            let events = self.following(db, after).await?;
            let Some(last) = events.last().map(|event| event.cursor.pos) else {
                return Ok(Progress { up_to: after, processed: 0 });
            };
            self.process(db, &events).await?;
            consumer::move_to(db, name, last).await?;
            Ok(Progress { up_to: last, processed: events.len() })
        };
        self.database.write_without_events(process).await
    }

    /// Returns the events of the next batch: those that this node has in memory if the database has
    /// them at the same positions, or else those in the database, which may have been restored since.
    async fn following(
        &self,
        db: &mut Connection,
        after: i64,
    ) -> Result<Vec<Arc<FeedEvent>>, DbError> {
        let events = self.hub.following(after, PAGE);
        if let Some(last) = events.last()
            && last.mark.is_some()
            && feed::mark_at(db, last.cursor.pos).await? == last.mark
        {
            return Ok(events);
        }
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let events = feed::following(db, after, limit).await?;
        Ok(events.into_iter().map(Arc::new).collect())
    }

    /// Processes as many events as a batch has, each in a transaction of its own.
    async fn process_singly(&self) -> Result<Progress, DbError> {
        let mut progress = self.process_next().await?;
        for _ in 1..PAGE {
            let next = self.process_next().await?;
            if next.processed == 0 {
                break;
            }
            progress = Progress { up_to: next.up_to, processed: progress.processed + 1 };
        }
        Ok(progress)
    }

    /// Processes the next event, or sets it aside.
    async fn process_next(&self) -> Result<Progress, DbError> {
        let name = self.consumer.name();
        let (id, now) = (SetAsideId(self.ambient.uuid()), self.ambient.now());
        let process = async |db: &mut Connection| {
            let after = consumer::lock(db, name).await?;
            let pos = after + 1;
            let Some(event_id) = feed::event_id_at(db, pos).await? else {
                return Ok((Progress { up_to: after, processed: 0 }, None));
            };
            let error = match self.attempt(db, pos).await? {
                Attempt::Done => None,
                Attempt::FailedSlowly(error)
                    if error.is_held_up() || !self.is_at_fault(db, pos).await? =>
                {
                    return Err(error);
                }
                Attempt::Failed(error) | Attempt::FailedSlowly(error) => Some(error),
            };
            if let Some(error) = &error {
                let new = NewSetAside { id, consumer: name, event_id, pos, error, now };
                set_aside::insert(db, &new).await?;
            }
            consumer::move_to(db, name, pos).await?;
            let failed = error.map(|error| Failed { event_id, error });
            Ok((Progress { up_to: pos, processed: 1 }, failed))
        };
        let (progress, failed) = self.database.write_without_events(process).await?;
        if let Some(Failed { event_id, error }) = failed {
            self.metrics.set_aside(name);
            tracing::error!(
                consumer = name,
                position = progress.up_to,
                event_id = event_id.0,
                error = error.without_values(),
                "an event could not be processed and was set aside; see `ticketwire outbox`"
            );
        }
        Ok(progress)
    }

    /// Makes the requested attempts and returns their number. A failure ends them until the next step,
    /// and holds up no new events. New events end them after [`RETRY_FOR`].
    async fn retry_requested(&self, is_behind: bool) -> usize {
        let (mut retried, began) = (0, Instant::now());
        let others_wait = || is_behind || self.head.has_changed().unwrap_or(true);
        while began.elapsed() < RETRY_FOR || !others_wait() {
            match self.retry_next().await {
                Ok(true) => retried += 1,
                Ok(false) => break,
                Err(error) => {
                    let consumer = self.consumer.name();
                    tracing::warn!(%error, consumer, "trying events again failed");
                    break;
                }
            }
        }
        retried
    }

    /// Makes the next requested attempt at an event that was set aside. Returns whether there was
    /// one.
    async fn retry_next(&self) -> Result<bool, DbError> {
        let (name, now) = (self.consumer.name(), self.ambient.now());
        let retry = async |db: &mut Connection| {
            consumer::lock(db, name).await?;
            let Some((id, pos)) = set_aside::requested(db, name).await? else { return Ok(None) };
            let error = match self.attempt(db, pos).await? {
                Attempt::Done => {
                    set_aside::delete(db, id).await?;
                    None
                }
                // Whatever is to blame: others do not wait for it.
                Attempt::Failed(error) | Attempt::FailedSlowly(error) => {
                    set_aside::record_failure(db, id, &error, now).await?;
                    Some(error)
                }
            };
            Ok(Some((pos, error)))
        };
        let Some((position, error)) = self.database.write_without_events(retry).await? else {
            return Ok(false);
        };
        let error = error.map(|error| error.without_values());
        match error {
            None => tracing::info!(consumer = name, position, "an event set aside was processed"),
            Some(error) => {
                tracing::warn!(consumer = name, position, error, "an event set aside failed again");
            }
        }
        Ok(true)
    }

    /// Processes one event in a savepoint.
    ///
    /// # Errors
    /// An outage. The transaction cannot continue.
    async fn attempt(&self, db: &mut Connection, pos: i64) -> Result<Attempt, DbError> {
        let began = Instant::now();
        savepoint::begin(db).await?;
        let Err(error) = self.process_at(db, pos).await else {
            savepoint::release(db).await?;
            return Ok(Attempt::Done);
        };
        let took = began.elapsed();
        // Always, so that the transaction itself can be rolled back after it.
        savepoint::roll_back(db).await?;
        match error.blame() {
            Blame::Item => Ok(Attempt::Failed(error)),
            Blame::Unclear => {
                set_aside::check_writable(db).await?;
                let attempt = if took < TOO_LONG { Attempt::Failed } else { Attempt::FailedSlowly };
                Ok(attempt(error))
            }
            Blame::Outage => Err(error),
        }
    }

    /// Counts a slow failure of the event at a position. Returns whether the event is at fault: it
    /// has failed often, and one after it can be processed.
    async fn is_at_fault(&self, db: &mut Connection, pos: i64) -> Result<bool, DbError> {
        let SlowFailures { pos: failing, count } = &self.slow;
        if failing.swap(pos, Relaxed) != pos {
            count.store(0, Relaxed);
        }
        let failures = count.fetch_add(1, Relaxed) + 1;
        let Some(nth) = failures.checked_sub(SLOW_FAILURES) else { return Ok(false) };
        let mut other = pos + 1 + i64::from(nth % OTHERS);
        if feed::event_id_at(db, other).await?.is_none() {
            other = pos + 1;
        }
        if feed::event_id_at(db, other).await?.is_none() {
            return Ok(false);
        }
        savepoint::begin(db).await?;
        let processed = self.process_at(db, other).await;
        savepoint::roll_back(db).await?;
        Ok(processed.is_ok())
    }

    async fn process_at(&self, db: &mut Connection, pos: i64) -> Result<(), DbError> {
        let events = feed::at(db, &[pos]).await?;
        self.process(db, &events.into_iter().map(Arc::new).collect::<Vec<_>>()).await
    }

    /// Has the consumer process events. A panic is an error like others, so that it does not end
    /// the runner.
    async fn process(&self, db: &mut Connection, events: &[Arc<FeedEvent>]) -> Result<(), DbError> {
        survive_panics(self.consumer.process(db, events)).await
    }
}
