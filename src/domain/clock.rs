//! The clock and the source of randomness. Both are injected, so that a test can move the clock
//! and repeat random values. `clippy.toml` bans the global ones.

use std::sync::Arc;

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use uuid::{Builder, Uuid};

/// A point in time, in UTC.
pub type Timestamp = DateTime<Utc>;

/// Returns whether the year has four digits, as RFC 3339 requires. Postgres can store each such time.
pub fn has_four_digit_year(time: Timestamp) -> bool {
    (0..=9999).contains(&time.year())
}

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time in whole microseconds, the precision of Postgres.
    fn now(&self) -> Timestamp;
}

/// A source of random bytes. It is cryptographically secure in production.
pub trait Randomness: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }
}

/// A clock and a source of randomness, passed down from the composition root.
#[derive(Clone)]
pub struct Ambient {
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
}

impl Ambient {
    /// Combines a clock and a source of randomness.
    pub fn new(clock: Arc<dyn Clock>, randomness: Arc<dyn Randomness>) -> Self {
        Self { clock, randomness }
    }

    /// Returns the same source of randomness with another clock.
    #[must_use]
    pub fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, randomness: Arc::clone(&self.randomness) }
    }

    /// Returns the current time in whole microseconds.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.randomness.fill(&mut bytes);
        bytes
    }

    /// Returns a random number from 0 to 1, both included.
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.bytes())) / f64::from(u32::MAX)
    }

    /// Returns a new `UUIDv7` (RFC 9562). Ids created in a later millisecond sort later.
    pub fn uuid(&self) -> Uuid {
        let millis = u64::try_from(self.now().timestamp_millis()).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }
}
