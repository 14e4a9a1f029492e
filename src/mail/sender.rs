//! Sends planned mails.
//!
//! A sender claims one delivery at a time. The claim is a lease, committed before anything is
//! sent. The sender then composes and sends the mail outside any transaction, and records the
//! outcome. If the process dies in between, the lease expires and the mail is sent again with the
//! same Message-ID.
//!
//! When a failed mail is tried again, and when it is given up, is decided by
//! [`Delivery::retry_at`] in `domain/delivery.rs`.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use chrono::TimeDelta;
use lettre::Message;
use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::{
    compose::{ComposeError, Composer},
    error::SendError,
    hold::{Cause, Hold},
    transport::MailTransport,
};
use crate::{
    db::{Blame, Database, DbError, delivery},
    domain::{
        account::EmailAddress,
        clock::{Ambient, Timestamp},
        delivery::{Delivery, DeliveryState},
    },
    events::survive_panics,
    metrics::{Counted, Metrics},
};

/// How often a sender looks for mails that it was not woken for: those planned by another node,
/// due for a retry, or left by a sender that died.
const POLL: Duration = Duration::from_millis(500);
/// The pause after the database has failed. The retry time of a mail is `Delivery::retry_at`.
const DATABASE_RETRY_AFTER: Duration = Duration::from_millis(500);
/// The pause of a sender that could not claim a mail: longer than [`DATABASE_RETRY_AFTER`], so that others,
/// also of other nodes, can record first what they have sent while the database was away.
const CLAIM_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// How long composing a mail is tried while the database fails, if the claim lasts twice as long.
const COMPOSE_FOR: TimeDelta = TimeDelta::seconds(30);
/// How long shutdown waits for a mail that is being claimed and sent.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// The length, in characters, to which recorded errors are truncated.
const MAX_ERROR_LENGTH: usize = 1_000;

pub(super) struct Sender {
    pub(super) database: Database,
    pub(super) ambient: Ambient,
    pub(super) composer: Composer,
    pub(super) transport: MailTransport,
    /// How long a delivery is claimed for, and claimed again while an attempt lasts, so that two senders
    /// never send the same mail at the same time.
    pub(super) lease: TimeDelta,
    /// Holds all senders of this node back.
    pub(super) hold: Hold,
    /// Wakes the sender when this node's planner has planned mails.
    pub(super) planned: Arc<Notify>,
    pub(super) stop: CancellationToken,
    pub(super) metrics: Metrics,
    /// How many mails of this node are under way or sent, and the database is away, which must know of
    /// them. Their claims may have ended, so this node claims no mail meanwhile: it could be one of them.
    pub(super) unrecorded: AtomicUsize,
}

/// A mail that the database must know of and does not.
struct Unrecorded<'s> {
    count: &'s AtomicUsize,
    _shown: Counted,
}

impl<'s> Unrecorded<'s> {
    fn new(Sender { unrecorded: count, metrics, .. }: &'s Sender) -> Self {
        count.fetch_add(1, Relaxed);
        Self { count, _shown: metrics.mail_unrecorded() }
    }
}

impl Drop for Unrecorded<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
    }
}

impl Sender {
    /// Sends mails, one after the other, until the server stops.
    pub(super) async fn run(&self, priority_only: bool) {
        while !self.stop.is_cancelled() {
            match survive_panics(self.send_next(priority_only)).await {
                Ok(true) => {}
                Ok(false) => self.wait().await,
                Err(error) => {
                    tracing::warn!(%error, "the mail sender could not use the database; retrying");
                    tokio::select! {
                        () = time::sleep(CLAIM_AGAIN_AFTER) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
            }
        }
    }

    async fn wait(&self) {
        tokio::select! {
            () = self.planned.notified() => {}
            () = time::sleep(POLL) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Sends the first mail that is due. Returns `false` if none is due, if the senders are held
    /// back, or if shutdown has interrupted the attempt. A claim that it interrupts ends with its lease.
    async fn send_next(&self, priority_only: bool) -> Result<bool, DbError> {
        if self.hold.is_on(self.ambient.now()) {
            return Ok(false);
        }
        let shutdown = async {
            self.stop.cancelled().await;
            time::sleep(SHUTDOWN_GRACE).await;
        };
        tokio::select! {
            sent = self.claim_and_deliver(priority_only) => sent,
            () = shutdown => Ok(false),
        }
    }

    /// Claims the first mail that is due and delivers it. Returns `false` if none is due.
    async fn claim_and_deliver(&self, priority_only: bool) -> Result<bool, DbError> {
        let claimed = {
            let mut connection = self.database.read().await?;
            if self.unrecorded.load(Relaxed) > 0 {
                return Ok(false);
            }
            let keys = self.composer.keys.ids();
            // The lease must not run while this waits for a connection.
            let now = self.ambient.now();
            let times = (now, now + self.lease);
            delivery::claim(&mut connection, priority_only, &keys, 1, times).await?
        };
        let Some(claimed) = claimed.into_iter().next() else { return Ok(false) };
        self.deliver_safely(&claimed).instrument(span(&claimed)).await?;
        Ok(true)
    }

    /// Delivers a claimed mail. One that panics is tried again like others that fail, and ends no
    /// sender.
    async fn deliver_safely(&self, delivery: &Delivery) -> Result<(), DbError> {
        // Boxed, since it is large.
        let done = survive_panics(Box::pin(self.deliver(delivery))).await;
        if !matches!(done, Err(DbError::Panicked)) {
            return done;
        }
        let error = "delivering this mail panicked";
        tracing::error!(?delivery, error);
        self.defer_until_retry(delivery, error).await
    }

    /// Has a mail tried again as one that failed is.
    async fn defer_until_retry(&self, delivery: &Delivery, error: &str) -> Result<(), DbError> {
        let [jitter] = self.ambient.bytes();
        self.defer(delivery, delivery.retry_at(self.ambient.now(), jitter), error).await
    }

    /// Composes and sends a claimed mail, and records the outcome.
    async fn deliver(&self, delivery: &Delivery) -> Result<(), DbError> {
        let now = self.ambient.now();
        if delivery.deadline() <= now {
            let error = delivery.last_error.as_deref();
            return self.finish(delivery, delivery.overdue_state(), error).await;
        }
        let message = match self.compose(delivery, now).await {
            Ok(Some(message)) => message,
            Ok(None) => return self.finish(delivery, DeliveryState::Cancelled, None).await,
            // Something that the mail is about cannot be read.
            Err(ComposeError::Database(error)) if error.blame() == Blame::Item => {
                let error = error.without_values();
                tracing::error!(?delivery, error, "composing a mail failed; trying it again later");
                return self.defer_until_retry(delivery, &error).await;
            }
            Err(ComposeError::Database(error)) => return Err(error),
            Err(error @ ComposeError::Newer) => {
                tracing::warn!(?delivery, %error, "leaving a mail to a node of a newer version");
                return self.defer_until_retry(delivery, &error.to_string()).await;
            }
            Err(ComposeError::Unbuildable(error)) => {
                tracing::error!(?delivery, error, "composing a mail failed permanently");
                return self.finish(delivery, DeliveryState::Unbuildable, Some(&error)).await;
            }
        };
        let sending = tracing::trace_span!(
            target: "otel",
            "smtp",
            otel.name = "send mail",
            otel.kind = "client",
            network.protocol.name = "smtp",
        );
        let recipients =
            message.envelope().to().iter().map(ToString::to_string).collect::<Vec<_>>();
        let attempt = self.transport.send(delivery, message).instrument(sending);
        match self.while_claimed(delivery, attempt).await {
            Ok(()) => {
                self.hold.end(now);
                self.finish(delivery, DeliveryState::Sent, None).await
            }
            Err(error) => self.handle_failure(delivery, &recipients, now, &error).await,
        }
    }

    /// Waits for an attempt, and keeps the claim meanwhile: the mail server may take longer with its
    /// verdict than a claim lasts.
    async fn while_claimed<T>(&self, delivery: &Delivery, attempt: impl Future<Output = T>) -> T {
        let mut attempt = pin!(attempt);
        let renew_every = (self.lease / 3).to_std().unwrap_or_default();
        let (mut pause, mut unrecorded) = (renew_every, None);
        loop {
            if let Ok(done) = time::timeout(pause, &mut attempt).await {
                return done;
            }
            let mut renewal = pin!(self.renew(delivery));
            pause = tokio::select! {
                done = &mut attempt => {
                    // A statement that is dropped halfway would be in the way of the next one.
                    let _ = renewal.await;
                    return done;
                }
                renewed = &mut renewal => match renewed {
                    Ok(()) => {
                        unrecorded = None;
                        renew_every
                    }
                    Err(error) => {
                        if error.is_unavailable() {
                            unrecorded.get_or_insert_with(|| Unrecorded::new(self));
                        }
                        DATABASE_RETRY_AFTER
                    }
                },
            };
        }
    }

    /// Renews the claim of a mail.
    async fn renew(&self, delivery: &Delivery) -> Result<(), DbError> {
        let until = self.ambient.now() + self.lease;
        let renewed = async {
            let mut connection = self.database.read().await?;
            delivery::renew(&mut connection, delivery, until).await
        };
        let renewed = renewed.await;
        if let Err(error) = &renewed {
            tracing::warn!(?delivery, %error, "keeping the claim of a mail failed; retrying");
        }
        renewed
    }

    /// Composes the mail of a delivery that was just claimed. Retries while the database fails: a code
    /// would expire before its claim does. Leaves half of the claim to the transport.
    async fn compose(
        &self,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<Message>, ComposeError> {
        let limit = (self.lease / 2).min(COMPOSE_FOR).to_std().unwrap_or_default();
        let composed = time::timeout(limit, async {
            loop {
                let composed = async {
                    let mut connection = self.database.read().await?;
                    self.composer.compose(&mut connection, delivery, now).await
                };
                match composed.await {
                    Err(ComposeError::Database(error)) if error.blame() != Blame::Item => {
                        tracing::warn!(?delivery, %error, "composing a mail failed; retrying");
                        time::sleep(DATABASE_RETRY_AFTER).await;
                    }
                    composed => return composed,
                }
            }
        });
        composed.await.unwrap_or_else(|_| Err(DbError::TimedOut(limit).into()))
    }

    /// Records the failure of an attempt that began at `began`.
    async fn handle_failure(
        &self,
        delivery: &Delivery,
        recipients: &[String],
        began: Timestamp,
        error: &SendError,
    ) -> Result<(), DbError> {
        let (now, [jitter]) = (self.ambient.now(), self.ambient.bytes());
        let text = truncated(&error.to_string());
        let logged = without_addresses(&text, &delivery.address, recipients);
        tracing::warn!(?delivery, error = logged, "sending a mail failed");
        let times = (began, now);
        match error {
            SendError::Permanent(_) => {
                self.hold.end(began);
                self.finish(delivery, DeliveryState::Refused, Some(&text)).await
            }
            // The schedule of retries is in `domain/delivery.rs`.
            SendError::Transient(_) => {
                self.defer(delivery, delivery.retry_at(now, jitter), &text).await
            }
            // Others have got through since its last attempt: this mail causes the verdict.
            SendError::Held { counts: true, .. }
                if delivery.attempts > 1 && self.hold.has_accepted() =>
            {
                self.defer(delivery, delivery.retry_at(now, jitter), &text).await
            }
            SendError::Held { counts: true, .. } => {
                // Later than the other mails, in case this one causes the verdict.
                let pause = self.hold.begin(Cause::Verdict, times, &logged) - now;
                let at = delivery.retry_at(now, jitter).map(|at| at + pause);
                if let Some(at) = at {
                    self.hold.keep_until(at);
                }
                self.defer(delivery, at, &text).await
            }
            SendError::Held { counts: false, .. } => {
                self.hold_back(delivery, Cause::Verdict, times, (&text, &logged)).await
            }
            SendError::Unreachable(_) => {
                self.hold_back(delivery, Cause::Unreachable, times, (&text, &logged)).await
            }
        }
    }

    /// Holds all senders back, and queues a mail again for then. The attempt does not count.
    async fn hold_back(
        &self,
        delivery: &Delivery,
        cause: Cause,
        times: (Timestamp, Timestamp),
        (error, logged): (&str, &str),
    ) -> Result<(), DbError> {
        let at = self.hold.begin(cause, times, logged);
        self.metrics.mail_attempt("held");
        let mut connection = self.database.read().await?;
        delivery::requeue(&mut connection, delivery, delivery.attempts - 1, at, error).await
    }

    /// Queues a mail again for the time that `domain/delivery.rs` has decided, or gives it up.
    async fn defer(
        &self,
        delivery: &Delivery,
        at: Option<Timestamp>,
        error: &str,
    ) -> Result<(), DbError> {
        let Some(at) = at else {
            return self.finish(delivery, DeliveryState::GivenUp, Some(error)).await;
        };
        self.metrics.mail_attempt("deferred");
        let mut connection = self.database.read().await?;
        delivery::requeue(&mut connection, delivery, delivery.attempts, at, error).await
    }

    /// Records the final state of a mail. Retries while the database is away, and otherwise until the
    /// lease expires, because a mail that was sent but not recorded is sent again.
    async fn finish(
        &self,
        delivery: &Delivery,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<(), DbError> {
        self.metrics.mail_attempt(outcome(state));
        let error = error.map(truncated);
        let until = self.ambient.now() + self.lease;
        let mut unrecorded = None;
        loop {
            let recorded = async {
                let mut connection = self.database.read().await?;
                let now = self.ambient.now();
                delivery::finish(&mut connection, delivery.id, state, error.as_deref(), now).await
            };
            match recorded.await {
                Err(error) if error.is_unavailable() => {
                    unrecorded.get_or_insert_with(|| Unrecorded::new(self));
                    tracing::warn!(
                        ?delivery, ?state, %error,
                        "recording the outcome of a mail failed; sending no other mail until it is recorded"
                    );
                    time::sleep(DATABASE_RETRY_AFTER).await;
                }
                Err(error) if self.ambient.now() < until => {
                    tracing::warn!(
                        ?delivery, ?state, %error,
                        "recording the outcome of a mail failed; retrying"
                    );
                    time::sleep(DATABASE_RETRY_AFTER).await;
                }
                recorded => return recorded,
            }
        }
    }
}

/// Returns the span of a delivery: its id is in every message of the log that concerns it.
fn span(delivery: &Delivery) -> Span {
    let Delivery { id, attempts, .. } = delivery;
    let log = tracing::info_span!("mail", delivery_id = %id.0, attempts);
    let trace = log.in_scope(|| {
        tracing::trace_span!(
            target: "otel",
            "mail",
            otel.name = "deliver mail",
            otel.kind = "consumer",
            ticketwire.delivery.id = %id.0,
        )
    });
    if trace.is_disabled() { log } else { trace }
}

/// The value of the metric's label `outcome` for a state.
pub(super) fn outcome(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Queued | DeliveryState::Sending => "deferred",
        DeliveryState::Sent => "sent",
        DeliveryState::Refused => "refused",
        DeliveryState::GivenUp => "given_up",
        DeliveryState::Unbuildable => "unbuildable",
        DeliveryState::Expired => "expired",
        DeliveryState::Cancelled => "cancelled",
    }
}

/// Returns an error of a mail server, which often repeats the recipient's address, without it: personal
/// data must not be logged. `recipients` are those of the message: the account may have had another
/// address when the mail was planned.
fn without_addresses(error: &str, planned: &str, recipients: &[String]) -> String {
    let spellings = EmailAddress::from_stored(planned.to_owned()).spellings();
    let of_text = spellings.iter().chain(recipients).filter(|it| !it.is_empty());
    of_text.fold(error.to_owned(), |error, it| error.replace(it, "the recipient"))
}

/// An error on one line, at most [`MAX_ERROR_LENGTH`] characters long.
fn truncated(error: &str) -> String {
    error.replace(char::is_control, " ").chars().take(MAX_ERROR_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_logged_without_the_recipients_address() {
        let error = "550 5.1.1 <anna@xn--mller-kva.example>: no such user";
        let (planned, sent_to) =
            ("anna@m\u{FC}ller.example", ["anna@xn--mller-kva.example".to_owned()]);
        let logged = "550 5.1.1 <the recipient>: no such user";
        assert_eq!(without_addresses(error, planned, &[]), logged);
        assert_eq!(without_addresses(error, "anna@former.example", &sent_to), logged);
        assert_eq!(without_addresses(error, "", &[]), error);
    }
}
