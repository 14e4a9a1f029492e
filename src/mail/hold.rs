//! Holds this node's senders back while the mail server cannot be reached, or refuses the sender, the
//! session or the day's quota: that is about all mails, so none of them is refused for it.
//!
//! The hold is kept in the memory of each node. A mail that met it is queued again without
//! counting the attempt, so nothing is lost if another node, or this one after a restart, has to
//! learn of the verdict again.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use chrono::TimeDelta;
use parking_lot::Mutex;

use crate::{domain::clock::Timestamp, metrics::Metrics};

/// The first pause. Short, so that a code can still be used after a verdict of a moment.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(10);
/// How long before a pause began a time may be without being a sign that the clock was set back: several
/// senders look at the clock, one after the other.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(1);
/// The longest pause while the mail server cannot be reached: trying costs nobody anything.
const LONGEST_UNREACHABLE: TimeDelta = TimeDelta::minutes(1);

/// Why the senders are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The mail server cannot be reached.
    Unreachable,
    /// The mail server refuses the sender, the session or more mail for today.
    Verdict,
}

/// The hold of one node's senders.
pub(super) struct Hold {
    longest: TimeDelta,
    /// How long an attempt may take.
    attempt: TimeDelta,
    metrics: Metrics,
    current: Mutex<Option<Pause>>,
    /// Whether a mail has got through since the last pause began.
    accepted: AtomicBool,
}

/// A pause. Until a mail gets through, or those who met it have tried again, the next pause is longer.
/// A clock that is set back ends it: the pause would last as long as the step.
#[derive(Clone, Copy)]
struct Pause {
    began: Timestamp,
    ends: Timestamp,
    length: TimeDelta,
    /// When those who met it have tried again, unless another node has sent their mail.
    is_over_at: Timestamp,
}

impl Pause {
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.is_over_at || now < self.began - CLOCK_TOLERANCE
    }
}

impl Hold {
    /// Creates a hold that is open. `longest` bounds the pauses, which double. An attempt takes at most
    /// `attempt`.
    pub(super) fn new(longest: TimeDelta, attempt: TimeDelta, metrics: Metrics) -> Self {
        let accepted = AtomicBool::default();
        Self { longest, attempt, metrics, current: Mutex::default(), accepted }
    }

    /// Returns whether no mail may be sent at `now`.
    pub(super) fn is_on(&self, now: Timestamp) -> bool {
        let mut current = self.current.lock();
        if current.is_some_and(|pause| pause.is_over(now)) {
            *current = None;
            self.metrics.mail_held(false);
        }
        current.is_some_and(|pause| now < pause.ends)
    }

    /// Returns whether a mail has got through since the last pause began. `false` until one has.
    pub(super) fn has_accepted(&self) -> bool {
        self.accepted.load(Relaxed)
    }

    /// Holds the senders back after an attempt that began at `attempt`. Returns when they may try
    /// again. Senders that fail at the same time cause one pause, not one each.
    pub(super) fn begin(
        &self,
        cause: Cause,
        (attempt, now): (Timestamp, Timestamp),
        error: &str,
    ) -> Timestamp {
        let mut current = self.current.lock();
        if current.is_some_and(|pause| now < pause.began - CLOCK_TOLERANCE) {
            *current = None;
        }
        if let Some(pause) = current.filter(|pause| attempt <= pause.began) {
            return pause.ends;
        }
        let longest = match cause {
            Cause::Unreachable => self.longest.min(LONGEST_UNREACHABLE),
            Cause::Verdict => self.longest,
        };
        let length = current.map_or(FIRST_PAUSE, |pause| pause.length * 2).min(longest);
        let ends = now + length;
        self.accepted.store(false, Relaxed);
        *current = Some(Pause { began: now, ends, length, is_over_at: ends + self.attempt });
        self.metrics.mail_held(true);
        tracing::warn!(
            error,
            seconds = length.num_seconds(),
            "{}; no mail is sent for now",
            match cause {
                Cause::Unreachable => "the mail server cannot be reached",
                Cause::Verdict => "the mail server refuses the sender or the session",
            }
        );
        ends
    }

    /// Keeps the pause until a mail that met it has been tried again at `at`.
    pub(super) fn keep_until(&self, at: Timestamp) {
        if let Some(pause) = &mut *self.current.lock() {
            pause.is_over_at = pause.is_over_at.max(at + self.attempt);
        }
    }

    /// Ends the hold, because the mail server has accepted the sender in an attempt that began at
    /// `attempt`. Does nothing if the hold is newer.
    pub(super) fn end(&self, attempt: Timestamp) {
        let mut current = self.current.lock();
        if current.is_some_and(|pause| attempt <= pause.began) {
            return;
        }
        self.accepted.store(true, Relaxed);
        if current.take().is_some() {
            self.metrics.mail_held(false);
            tracing::info!("the mail server accepts mail again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_mail_got_through() {
        let hold = Hold::new(TimeDelta::seconds(90), TimeDelta::seconds(60), Metrics::default());
        let begin =
            |cause, attempt, now| hold.begin(cause, (attempt, now), "550 5.4.5 daily limit");
        let mut now = Timestamp::default() + TimeDelta::seconds(1);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let ends = begin(Cause::Verdict, now, now);
            // Another sender, whose attempt began before the verdict, adds nothing.
            assert_eq!(begin(Cause::Verdict, now, now + TimeDelta::seconds(1)), ends);
            assert!(hold.is_on(now) && !hold.is_on(ends));
            pauses.push((ends - now).num_seconds());
            now = ends + TimeDelta::seconds(1);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 90]);
        assert_eq!((begin(Cause::Unreachable, now, now) - now).num_seconds(), 60);
        hold.end(Timestamp::default());
        assert!(hold.is_on(now + TimeDelta::seconds(59)), "an older success does not end it");
        hold.end(now + TimeDelta::seconds(1));
        assert!(!hold.is_on(now + TimeDelta::seconds(59)));
        assert_eq!((begin(Cause::Verdict, now, now) - now).num_seconds(), 10);
    }

    #[test]
    fn a_pause_is_over_when_those_who_met_it_have_tried_again() {
        let attempt = TimeDelta::seconds(60);
        let hold = Hold::new(TimeDelta::seconds(600), attempt, Metrics::default());
        let mut now = Timestamp::default();
        let mut pauses = Vec::new();
        // The attempts after a pause take as long as they may, and after the last there is none.
        for wait in [0, 0, 1] {
            let ends = hold.begin(Cause::Verdict, (now - attempt, now), "no answer");
            pauses.push((ends - now).num_seconds());
            now = ends + attempt + TimeDelta::seconds(wait);
            assert!(!hold.is_on(now - TimeDelta::seconds(1)));
        }
        assert!(!hold.is_on(now));
        let ends = hold.begin(Cause::Verdict, (now, now), "421");
        pauses.push((ends - now).num_seconds());
        // A mail that met it comes back later.
        hold.keep_until(ends + attempt);
        now = ends + attempt * 2 - TimeDelta::seconds(1);
        assert!(!hold.is_on(now));
        pauses.push((hold.begin(Cause::Verdict, (now, now), "421") - now).num_seconds());
        assert_eq!(pauses, [10, 20, 40, 10, 20]);
    }

    #[test]
    fn a_clock_that_is_set_back_ends_a_pause() {
        let new = || Hold::new(TimeDelta::seconds(600), TimeDelta::zero(), Metrics::default());
        let now = Timestamp::default() + TimeDelta::days(1);
        let back = now - TimeDelta::hours(1);
        let hold = new();
        hold.begin(Cause::Verdict, (now, now), "421");
        // Another sender has looked at the clock just before.
        assert!(hold.is_on(now - TimeDelta::milliseconds(500)));
        assert!(!hold.is_on(back) && !hold.is_on(now));
        // Nor does a mail wait for the end of a pause of the former clock.
        let hold = new();
        hold.begin(Cause::Verdict, (now, now), "421");
        let ends = hold.begin(Cause::Verdict, (back, back), "421");
        assert_eq!((ends - back).num_seconds(), 10);
        assert!(hold.is_on(back) && !hold.is_on(ends));
    }
}
