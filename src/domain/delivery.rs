//! Deliveries: mails to be sent, their states, and when a failed one is tried again.

use std::fmt;

use chrono::TimeDelta;

use super::{
    account::Locale,
    clock::Timestamp,
    ids::{AccountId, DeliveryId, TicketId},
};

/// A mail that was not sent this long after it was planned is given up.
pub const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(72);
/// The pause after the first failed attempt, and the longest. The pauses double.
const RETRY_DELAYS: (TimeDelta, TimeDelta) = (TimeDelta::minutes(1), TimeDelta::hours(6));
/// The same for priority mail, of which codes are of use for minutes only.
const PRIORITY_RETRY_DELAYS: (TimeDelta, TimeDelta) = (TimeDelta::seconds(10), TimeDelta::hours(1));

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It is waiting for its first or next attempt.
    Queued,
    /// A sender has claimed it.
    Sending,
    /// The mail server accepted it.
    Sent,
    /// The mail server rejected it permanently.
    Refused,
    /// The mail server was unreachable, or rejected it temporarily, for 72 hours.
    GivenUp,
    /// It cannot be composed, for example because its address is invalid.
    Unbuildable,
    /// It was not sent in time: within 72 hours, or within the lifetime of its code or link.
    Expired,
    /// It must not be sent any more, for example because its recipient has unsubscribed.
    Cancelled,
}

/// A mail to be sent to one recipient.
#[derive(Clone)]
pub struct Delivery {
    /// Its id. The Message-ID contains it.
    pub id: DeliveryId,
    /// Its position in the order in which mails were planned.
    pub seq: i64,
    /// The recipient's address. It is checked only when the mail is composed, so that an invalid
    /// one does not block other mails.
    pub address: String,
    /// The recipient's account, or `None` for a staff address and for priority mail.
    pub account_id: Option<AccountId>,
    /// The ticket that it is about, or `None` for priority mail.
    pub ticket_id: Option<TicketId>,
    /// Its language. A priority mail is in the language of the recipient's account instead.
    pub locale: Locale,
    /// Whether it is a priority mail. Its first attempt goes ahead of other mails if it is of use
    /// for an hour at most, and one sender is reserved for all priority mail.
    pub priority: bool,
    /// Its state.
    pub state: DeliveryState,
    /// The number of attempts that were started.
    pub attempts: i32,
    /// When it expires, or `None` if that is [`GIVE_UP_AFTER`] after it was planned. An expired
    /// mail is not sent.
    pub expires_at: Option<Timestamp>,
    /// The sealed content of a priority mail, or `None` for a mail about a ticket and once the
    /// state is final.
    pub payload: Option<Vec<u8>>,
    /// The error of the last attempt, or `None` if it did not fail.
    pub last_error: Option<String>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When its state became final, or `None` if it can still be sent.
    pub finished_at: Option<Timestamp>,
}

// Leaves out the address, which is personal data and must not be logged.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({}, {:?}, attempt {})", self.id.0, self.state, self.attempts)
    }
}

impl DeliveryState {
    /// The states in which a mail was not sent and can be queued again. A cancelled mail must not
    /// be sent.
    pub const FAILED: [Self; 4] = [Self::Refused, Self::GivenUp, Self::Unbuildable, Self::Expired];
}

impl Delivery {
    /// Returns when the mail is not sent any more.
    pub fn deadline(&self) -> Timestamp {
        self.expires_at.unwrap_or(self.created_at + GIVE_UP_AFTER)
    }

    /// Returns the final state of a mail that is still unfinished after its deadline.
    pub fn overdue_state(&self) -> DeliveryState {
        let failed = !self.priority && self.last_error.is_some();
        if failed { DeliveryState::GivenUp } else { DeliveryState::Expired }
    }

    /// Returns when to try again after an attempt that has failed at `now`, or `None` to give up.
    ///
    /// The pauses of a priority mail double from ten seconds to an hour, those of other mails from
    /// one minute to six hours. `jitter` is a random byte: it shortens a pause by up to a half, so
    /// that mails that failed together are not tried again together. No attempt is later than
    /// [`GIVE_UP_AFTER`], counted from when the mail was queued, or queued again by hand.
    pub fn retry_at(&self, now: Timestamp, jitter: u8) -> Option<Timestamp> {
        // A priority mail that would be too late expires while it waits.
        let (delays, deadline) = if self.priority {
            (PRIORITY_RETRY_DELAYS, self.created_at + GIVE_UP_AFTER)
        } else {
            (RETRY_DELAYS, self.deadline())
        };
        let at = now + retry_delay(delays, self.attempts, jitter);
        (at <= deadline).then_some(at)
    }
}

/// Returns the pause after this many attempts, between the first and the longest.
fn retry_delay((first, longest): (TimeDelta, TimeDelta), attempts: i32, jitter: u8) -> TimeDelta {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(10);
    let delay = (first * 2_i32.pow(doublings)).min(longest);
    delay - delay * i32::from(jitter) / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(priority: bool, attempts: i32) -> Delivery {
        Delivery {
            id: DeliveryId(uuid::Uuid::nil()),
            seq: 1,
            address: String::new(),
            account_id: None,
            ticket_id: None,
            locale: Locale::En,
            priority,
            state: DeliveryState::Sending,
            attempts,
            expires_at: None,
            payload: None,
            last_error: None,
            created_at: Timestamp::default(),
            finished_at: None,
        }
    }

    /// The pauses of a mail that always fails, in seconds.
    fn delays(priority: bool) -> Vec<i64> {
        let (mut now, mut attempts, mut delays) = (Timestamp::default(), 1, Vec::new());
        while let Some(at) = delivery(priority, attempts).retry_at(now, 0) {
            delays.push((at - now).num_seconds());
            (now, attempts) = (at, attempts + 1);
        }
        assert!(now <= Timestamp::default() + GIVE_UP_AFTER);
        assert!(now > Timestamp::default() + GIVE_UP_AFTER - TimeDelta::hours(6));
        delays
    }

    #[test]
    fn retry_delays_double_from_a_minute_to_six_hours_for_three_days() {
        let minutes = delays(false).into_iter().map(|seconds| seconds / 60).collect::<Vec<_>>();
        assert_eq!(minutes[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360]);
    }

    #[test]
    fn priority_mail_is_tried_again_after_ten_seconds_and_then_ever_more_rarely() {
        let delays = delays(true);
        assert_eq!(delays[..11], [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]);
        assert!(delays.len() < 100, "{}", delays.len());
    }

    #[test]
    fn jitter_shortens_a_retry_delay_by_up_to_a_half() {
        let start = Timestamp::default();
        for (priority, seconds) in [(false, 60), (true, 10)] {
            let mail = delivery(priority, 1);
            let delay = |jitter| (mail.retry_at(start, jitter).unwrap() - start).num_seconds();
            assert_eq!(delay(0), seconds);
            assert!((seconds / 2..=seconds / 2 + 1).contains(&delay(255)));
        }
    }
}
