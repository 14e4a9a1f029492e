//! A read whose result those share who ask for it at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::db::DbError;

/// A read of which one at a time is under way, however many ask for its result. Nobody receives a
/// result of a read that had begun before they asked.
pub(super) struct SharedRead<T> {
    /// The number of reads that have begun.
    begun: AtomicU64,
    /// The number and the result of the latest read, or `None` if the database was away.
    latest: Mutex<(u64, Option<T>)>,
}

impl<T: Copy> SharedRead<T> {
    /// Returns the result of a read that begins after this call: `read`, or that of another caller.
    ///
    /// # Errors
    /// The database failed. If it is away, those who wait meanwhile don't ask it again.
    pub(super) async fn get(
        &self,
        read: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut latest = self.latest.lock().await;
        if latest.0 > begun {
            let away = || DbError::Unavailable("a read that others share has failed".into());
            return latest.1.ok_or_else(away);
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let result = read.await;
        match &result {
            Ok(value) => *latest = (number, Some(*value)),
            Err(DbError::Unavailable(_)) => *latest = (number, None),
            // The next caller reads what this one could not: its connection may be a good one.
            Err(_) => {}
        }
        result
    }
}

impl<T> Default for SharedRead<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), latest: Mutex::new((0, None)) }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn those_who_ask_while_a_read_is_under_way_share_the_next_one() {
        let shared = SharedRead::<i32>::default();
        let (answer, answered) = oneshot::channel();
        let mut first = Box::pin(shared.get(async { Ok(answered.await.unwrap()) }));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(shared.get(async { Ok(2) }));
        let mut third = Box::pin(shared.get(async { Ok(3) }));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        answer.send(1).unwrap();
        // The first read may not contain what had changed before the others asked.
        assert_eq!((first.await.unwrap(), second.await.unwrap(), third.await.unwrap()), (1, 2, 2));
        assert_eq!(shared.get(async { Ok(4) }).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_read_that_fails_or_is_dropped_holds_up_nobody() {
        let shared = SharedRead::<i32>::default();
        let mut dropped = shared.get(std::future::pending()).boxed();
        assert!((&mut dropped).now_or_never().is_none());
        let (away, failed) = (DbError::Unavailable("away".into()), DbError::Panicked);
        let mut first = shared.get(async { Err(failed) }).boxed();
        let mut second = shared.get(async { Err(away) }).boxed();
        let mut third = shared.get(async { Ok(3) }).boxed();
        for waiting in [&mut first, &mut second, &mut third] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(dropped);
        assert!(matches!(first.await, Err(DbError::Panicked)));
        assert!(second.await.is_err_and(|error| error.is_unavailable()));
        assert!(third.await.is_err_and(|error| error.is_unavailable()), "it was asked meanwhile");
        assert_eq!(shared.get(async { Ok(4) }).await.unwrap(), 4);
    }
}
