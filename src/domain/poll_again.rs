//! Futures that wake themselves while they are polled.

use std::{
    future::{self, Future},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// The future is not being polled.
const WAITS: u8 = 0;
/// It is being polled.
const POLLED: u8 = 1;
/// It is being polled, and was woken meanwhile.
const WOKEN: u8 = 2;

/// Wakes the task of a future, unless the future is being polled.
#[derive(Default)]
struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = |state| (state != WAITS).then_some(WOKEN);
        if self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, woken).is_err() {
            self.task.wake();
        }
    }
}

/// Polls a future again at once if it was woken while it was polled, but no more than once in a row.
///
/// `FuturesUnordered` wakes its task whenever it has polled all of its futures, although none of them may
/// be ready. The runtime then polls the whole task again, and wakes another thread to share what seems to
/// be much to do. Both together cost more than the statement that the task waits for.
pub async fn poll_again<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    future::poll_fn(move |task| {
        wakes.task.register(task.waker());
        for _ in 0..2 {
            wakes.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
            if wakes.state.swap(WAITS, Ordering::AcqRel) == POLLED {
                return Poll::Pending;
            }
        }
        // It yields, or others keep it busy: they must not starve the other tasks.
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::{StreamExt as _, stream::FuturesUnordered, task::noop_waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often a future wakes its task when it is polled once.
    fn wakes(future: impl Future) -> usize {
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        assert!(pin!(future).poll(&mut Context::from_waker(&waker)).is_pending());
        count.0.load(Ordering::Relaxed)
    }

    fn waiting() -> FuturesUnordered<future::Pending<()>> {
        FuturesUnordered::from_iter([future::pending()])
    }

    #[test]
    fn futures_that_wait_do_not_wake_their_task() {
        assert_eq!(wakes(waiting().next()), 1);
        assert_eq!(wakes(poll_again(waiting().next())), 0);
    }

    #[test]
    fn a_future_that_yields_wakes_its_task() {
        let yields = future::poll_fn(|task| {
            task.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(wakes(poll_again(yields)), 1);
    }

    #[test]
    fn a_wake_between_two_polls_reaches_the_task() {
        let count = Arc::<Count>::default();
        let (task, inner) = (Waker::from(Arc::clone(&count)), AtomicWaker::new());
        let mut polls = 0;
        let future = future::poll_fn(|context| {
            inner.register(context.waker());
            polls += 1;
            if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut future = pin!(poll_again(future));
        assert!(future.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
        inner.wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(future.poll(&mut Context::from_waker(&noop_waker())).is_ready());
    }
}
