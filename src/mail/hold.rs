//! Holds this node's senders back while the mail server refuses the sender, the session or the
//! day's quota: such a verdict is about all mails, so none of them is refused for it.
//!
//! The hold is kept in the memory of each node. A mail that met it is queued again without
//! counting the attempt, so nothing is lost if another node, or this one after a restart, has to
//! learn of the verdict again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;

use crate::{domain::clock::Timestamp, metrics::Metrics};

/// The first pause. Short, so that a code can still be used after a verdict of a moment.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(10);

/// The hold of one node's senders.
pub(super) struct Hold {
    longest: TimeDelta,
    metrics: Metrics,
    current: Mutex<Option<Pause>>,
}

/// A pause after a verdict. It stays until a mail gets through, so that the next pause is longer.
#[derive(Clone, Copy)]
struct Pause {
    began: Timestamp,
    ends: Timestamp,
    length: TimeDelta,
}

impl Hold {
    /// Creates a hold that is open. `longest` bounds the pauses, which double.
    pub(super) fn new(longest: TimeDelta, metrics: Metrics) -> Self {
        Self { longest, metrics, current: Mutex::default() }
    }

    /// Returns whether no mail may be sent at `now`.
    pub(super) fn is_on(&self, now: Timestamp) -> bool {
        self.current().is_some_and(|pause| now < pause.ends)
    }

    /// Holds the senders back after an attempt that began at `attempt`. Returns when they may try
    /// again. Senders that fail at the same time cause one pause, not one each.
    pub(super) fn begin(&self, attempt: Timestamp, now: Timestamp, error: &str) -> Timestamp {
        let mut current = self.current();
        if let Some(pause) = current.filter(|pause| attempt <= pause.began) {
            return pause.ends;
        }
        let length = current.map_or(FIRST_PAUSE, |pause| pause.length * 2).min(self.longest);
        let ends = now + length;
        *current = Some(Pause { began: now, ends, length });
        self.metrics.mail_held(true);
        tracing::warn!(
            error,
            seconds = length.num_seconds(),
            "the mail server refuses the sender or the session; no mail is sent for now"
        );
        ends
    }

    /// Ends the hold, because the mail server has accepted the sender in an attempt that began at
    /// `attempt`. Does nothing if the hold is newer.
    pub(super) fn end(&self, attempt: Timestamp) {
        let mut current = self.current();
        if current.is_some_and(|pause| pause.began < attempt) {
            *current = None;
            self.metrics.mail_held(false);
            tracing::info!("the mail server accepts mail again");
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Pause>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_mail_got_through() {
        let hold = Hold::new(TimeDelta::seconds(60), Metrics::default());
        let mut now = Timestamp::default() + TimeDelta::seconds(1);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let ends = hold.begin(now, now, "550 5.4.5 daily limit");
            // Another sender, whose attempt began before the verdict, adds nothing.
            assert_eq!(hold.begin(now, now + TimeDelta::seconds(1), "550"), ends);
            assert!(hold.is_on(now) && !hold.is_on(ends));
            pauses.push((ends - now).num_seconds());
            now = ends + TimeDelta::seconds(1);
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        hold.end(Timestamp::default());
        assert!(hold.is_on(now - TimeDelta::seconds(2)), "an older success does not end it");
        hold.end(now);
        assert!(!hold.is_on(now - TimeDelta::seconds(2)));
        assert_eq!((hold.begin(now, now, "421") - now).num_seconds(), 10);
    }
}
