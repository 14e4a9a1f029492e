//! A clock that tests move.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use ticketwire::domain::clock::Clock;

/// Starts at noon of 1 January 2026, goes on by a millisecond with each look, so
/// that what happens later is later, and by as much as it is told.
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
