//! A clock that tests control.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use ticketwire::domain::clock::Clock;

/// Starts at noon UTC on 1 January 2026. Each reading advances it by a millisecond, so that what
/// happens later has a later time; tests advance it further.
pub struct TestClock(AtomicI64);

impl Default for TestClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_767_268_800_000_000))
    }
}

impl TestClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_microseconds().unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.fetch_add(1_000, Ordering::SeqCst)).unwrap()
    }
}
