//! Deliveries: mails to be sent, their states, and when a failed one is retried.

use std::fmt;

use chrono::TimeDelta;

use super::{
    account::Locale,
    clock::Timestamp,
    ids::{AccountId, DeliveryId, TicketId},
};

/// How long a mail is retried before it is given up.
pub const RETRY_FOR: TimeDelta = TimeDelta::hours(72);
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(1);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(6);

/// The state of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// The mail waits for its first or next attempt.
    Queued,
    /// A sender is working on the mail.
    Sending,
    /// The mail server accepted the mail.
    Sent,
    /// The mail server rejected the mail permanently.
    Refused,
    /// The mail server could not be reached or rejected the mail temporarily for 72 hours.
    GivenUp,
    /// The mail could not be composed.
    Unbuildable,
    /// The mail expired before it could be sent.
    Expired,
    /// The mail is no longer wanted.
    Cancelled,
}

/// A mail to be sent.
#[derive(Clone)]
pub struct Delivery {
    /// The delivery's id. The Message-ID is derived from it.
    pub id: DeliveryId,
    /// The sequence number in the order of planning.
    pub seq: i64,
    /// The recipient's address. It is validated when the mail is composed, so that a malformed
    /// address does not block other mails.
    pub address: String,
    /// The recipient's account, or `None` for a staff address without an account.
    pub account_id: Option<AccountId>,
    /// The ticket that the mail is about, if any.
    pub ticket_id: Option<TicketId>,
    /// The language of the mail.
    pub locale: Locale,
    /// Whether the mail is sent ahead of all others.
    pub priority: bool,
    /// The state.
    pub state: DeliveryState,
    /// How many attempts were made.
    pub attempts: i32,
    /// The mail is not sent after this time.
    pub expires_at: Option<Timestamp>,
    /// The sealed content of priority mail.
    pub payload: Option<Vec<u8>>,
    /// The error of the last attempt.
    pub last_error: Option<String>,
    /// When the mail was planned.
    pub created_at: Timestamp,
    /// When the mail reached a final state.
    pub finished_at: Option<Timestamp>,
}

// An address is personal data and must not appear in logs.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({}, {:?}, attempt {})", self.id.0, self.state, self.attempts)
    }
}

/// The pause between attempts to send priority mail, which is useful for minutes only.
const PRIORITY_PAUSE: TimeDelta = TimeDelta::seconds(10);

impl Delivery {
    /// Returns when to retry the mail after a failure, or `None` to give it up.
    pub fn retry_at(&self, now: Timestamp, jitter: u8) -> Option<Timestamp> {
        if self.priority {
            let at = now + PRIORITY_PAUSE;
            return (at <= self.created_at + RETRY_FOR).then_some(at);
        }
        retry_at(self.created_at, now, self.attempts, jitter)
    }
}

/// Returns when to retry a mail after its `attempts`th failure, or `None` to give it up.
///
/// The pause doubles from one minute to six hours. It is shortened by up to half, depending on
/// the random byte `jitter`, so that mails that failed together are not retried together.
fn retry_at(created_at: Timestamp, now: Timestamp, attempts: i32, jitter: u8) -> Option<Timestamp> {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(10);
    let pause = (FIRST_PAUSE * 2_i32.pow(doublings)).min(LONGEST_PAUSE);
    let jittered = pause - pause * i32::from(jitter) / 512;
    let at = now + jittered;
    (at <= created_at + RETRY_FOR).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_minute_to_six_hours_for_three_days() {
        let start = Timestamp::default();
        let (mut now, mut attempts, mut pauses) = (start, 1, Vec::new());
        while let Some(at) = retry_at(start, now, attempts, 0) {
            pauses.push((at - now).num_minutes());
            (now, attempts) = (at, attempts + 1);
        }
        assert_eq!(pauses[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360]);
        assert!(now <= start + RETRY_FOR && now > start + RETRY_FOR - TimeDelta::hours(6));
    }

    #[test]
    fn jitter_shortens_a_pause_by_up_to_half() {
        let start = Timestamp::default();
        let pause = |jitter| (retry_at(start, start, 1, jitter).unwrap() - start).num_seconds();
        assert_eq!(pause(0), 60);
        assert!((30..=31).contains(&pause(255)));
    }
}
