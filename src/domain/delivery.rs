//! Mails on their way: their states, and when one is tried again.

use std::fmt;

use chrono::TimeDelta;

use super::{
    account::Locale,
    clock::Timestamp,
    ids::{AccountId, DeliveryId, TicketId},
};

/// A mail that is tried again for so long, then given up.
pub const RETRY_FOR: TimeDelta = TimeDelta::hours(72);
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(1);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(6);

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It waits for its turn, or for its next attempt.
    Queued,
    /// A sender has it in hand.
    Sending,
    /// The mail server took it.
    Sent,
    /// The mail server refused it for good.
    Refused,
    /// The mail server could not be reached, or put us off, for 72 hours.
    GivenUp,
    /// It can't be made into a mail.
    Unbuildable,
    /// Its time was over before it could be sent.
    Expired,
    /// It is not wanted any more.
    Cancelled,
}

/// A mail to be sent.
#[derive(Clone)]
pub struct Delivery {
    /// Its id: the Message-ID is made of it.
    pub id: DeliveryId,
    /// Its place among the mails that were planned.
    pub seq: i64,
    /// Where it goes, as it was planned: whether a mail can be addressed so is seen
    /// when it is built, so that a bad one holds up nothing else.
    pub address: String,
    /// To whom; none: an address of the staff's.
    pub account_id: Option<AccountId>,
    /// About which ticket.
    pub ticket_id: Option<TicketId>,
    /// In which language.
    pub locale: Locale,
    /// Goes ahead of everything else.
    pub priority: bool,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: i32,
    /// Not to be sent after this.
    pub expires_at: Option<Timestamp>,
    /// Sealed content of a mail that is not about a ticket.
    pub payload: Option<Vec<u8>>,
    /// What the last failure was.
    pub last_error: Option<String>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When its state became final.
    pub finished_at: Option<Timestamp>,
}

// An address is personal: it stays out of logs.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({}, {:?}, attempt {})", self.id.0, self.state, self.attempts)
    }
}

/// A mail that goes ahead of everything is worth something for minutes only.
const PRIORITY_PAUSE: TimeDelta = TimeDelta::seconds(10);

impl Delivery {
    /// When it is tried again after it has failed; `None`: not any more.
    pub fn retry_at(&self, now: Timestamp, jitter: u8) -> Option<Timestamp> {
        if self.priority {
            let at = now + PRIORITY_PAUSE;
            return (at <= self.created_at + RETRY_FOR).then_some(at);
        }
        retry_at(self.created_at, now, self.attempts, jitter)
    }
}

/// When a mail is tried again after its `attempts`th failure; `None`: not any more.
/// Pauses double from one minute to six hours and are jittered downwards by up to a
/// half (`jitter` is any byte), so that mails that failed together don't come back
/// together.
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
    fn jitter_takes_off_up_to_a_half() {
        let start = Timestamp::default();
        let pause = |jitter| (retry_at(start, start, 1, jitter).unwrap() - start).num_seconds();
        assert_eq!(pause(0), 60);
        assert!((30..=31).contains(&pause(255)));
    }
}
