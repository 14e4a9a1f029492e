//! Takes planned mails in hand and sends them. A mail is claimed in a statement of
//! its own, which gives this sender a lease on it; then it is composed and sent,
//! outside any transaction; then what became of it is written down. Whoever dies in
//! between leaves a lease that ends, and the mail goes out again with the same
//! Message-ID.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

use super::{
    compose::{ComposeError, Composer},
    transport::{MailTransport, SendError},
};
use crate::{
    db::{Database, DbError, delivery},
    domain::{
        clock::Ambient,
        delivery::{Delivery, DeliveryState},
    },
    metrics::Metrics,
};

/// Mails that were planned on another node, put back or left behind are looked for
/// this often.
const POLL: Duration = Duration::from_millis(500);
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long the end of the server waits for a mail that is being sent.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// Errors are kept up to this length, in characters.
const LONGEST_ERROR: usize = 1_000;

pub(super) struct Sender {
    pub(super) database: Database,
    pub(super) ambient: Ambient,
    pub(super) composer: Composer,
    pub(super) transport: MailTransport,
    /// Longer than an attempt may take, so that a mail has one sender at a time.
    pub(super) lease: TimeDelta,
    pub(super) planned: Arc<Notify>,
    pub(super) stop: CancellationToken,
    pub(super) metrics: Metrics,
}

impl Sender {
    /// Sends mail after mail until the server stops.
    pub(super) async fn run(&self, priority_only: bool) {
        while !self.stop.is_cancelled() {
            match self.send_next(priority_only).await {
                Ok(true) => {}
                Ok(false) => self.wait().await,
                Err(error) => {
                    tracing::warn!(%error, "a sender failed and goes on");
                    time::sleep(RETRY_AFTER).await;
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

    /// Sends the first mail that is due; `false` where none is.
    async fn send_next(&self, priority_only: bool) -> Result<bool, DbError> {
        let now = self.ambient.now();
        let claimed = {
            let mut connection = self.database.read().await?;
            delivery::claim(&mut connection, priority_only, 1, now, now + self.lease).await?
        };
        let Some(claimed) = claimed.into_iter().next() else { return Ok(false) };
        let patience = async {
            self.stop.cancelled().await;
            time::sleep(FINISH_WITHIN).await;
        };
        tokio::select! {
            done = self.deliver(&claimed) => done.map(|()| true),
            () = patience => Ok(false),
        }
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<(), DbError> {
        let now = self.ambient.now();
        if delivery.expires_at.is_some_and(|end| end <= now) {
            return self.finish(delivery, DeliveryState::Expired, None).await;
        }
        let composed = {
            let mut connection = self.database.read().await?;
            self.composer.compose(&mut connection, delivery, now).await
        };
        let message = match composed {
            Ok(Some(message)) => message,
            Ok(None) => return self.finish(delivery, DeliveryState::Cancelled, None).await,
            Err(ComposeError::Database(error)) => return Err(error),
            Err(ComposeError::Unbuildable(error)) => {
                tracing::error!(?delivery, error, "a mail can't be built");
                return self.finish(delivery, DeliveryState::Unbuildable, Some(&error)).await;
            }
        };
        match self.transport.send(delivery, message).await {
            Ok(()) => self.finish(delivery, DeliveryState::Sent, None).await,
            Err(error) => self.failed(delivery, &error).await,
        }
    }

    async fn failed(&self, delivery: &Delivery, error: &SendError) -> Result<(), DbError> {
        let (now, [jitter]) = (self.ambient.now(), self.ambient.bytes());
        tracing::warn!(?delivery, %error, "a mail could not be sent");
        let text = shortened(&error.to_string());
        match error {
            SendError::Refused(_) => {
                self.finish(delivery, DeliveryState::Refused, Some(&text)).await
            }
            SendError::Failed(_) => match delivery.retry_at(now, jitter) {
                None => self.finish(delivery, DeliveryState::GivenUp, Some(&text)).await,
                Some(at) => {
                    self.metrics.mail_attempt("put_off");
                    let mut connection = self.database.read().await?;
                    delivery::requeue(&mut connection, delivery, at, Some(&text)).await
                }
            },
        }
    }

    /// Writes down what became of a mail. Tried until the lease ends: a mail that
    /// was sent and not written down goes out again.
    async fn finish(
        &self,
        delivery: &Delivery,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<(), DbError> {
        self.metrics.mail_attempt(outcome(state));
        let error = error.map(shortened);
        let until = self.ambient.now() + self.lease;
        loop {
            let written = async {
                let mut connection = self.database.read().await?;
                let now = self.ambient.now();
                delivery::finish(&mut connection, delivery.id, state, error.as_deref(), now).await
            };
            match written.await {
                Err(cause) if self.ambient.now() < until => {
                    tracing::warn!(?delivery, %cause, "what became of a mail is not written down yet");
                    time::sleep(RETRY_AFTER).await;
                }
                written => return written,
            }
        }
    }
}

/// What the metrics call a state that a mail ends in.
fn outcome(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Queued | DeliveryState::Sending => "put_off",
        DeliveryState::Sent => "sent",
        DeliveryState::Refused => "refused",
        DeliveryState::GivenUp => "given_up",
        DeliveryState::Unbuildable => "unbuildable",
        DeliveryState::Expired => "expired",
        DeliveryState::Cancelled => "cancelled",
    }
}

fn shortened(error: &str) -> String {
    error.replace(char::is_control, " ").chars().take(LONGEST_ERROR).collect()
}
