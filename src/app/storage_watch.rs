//! What a node knows about the storage of attachments. It is read by one call at a time: each
//! call on a shared folder whose server does not answer blocks a thread.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::Mutex as AsyncMutex,
    task::{JoinHandle, spawn_blocking},
    time,
};
use uuid::Uuid;

use super::{error::StartError, storage};
use crate::{
    config::Config,
    domain::{attachment::OwnStorage, clock::Ambient},
    metrics::Metrics,
    storage::{Storage, StorageError},
};

/// How long a call may take until the state is unknown.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the storage. Clones share it.
#[derive(Clone)]
pub struct StorageWatch(Arc<Inner>);

struct Inner {
    storage: Option<Storage>,
    /// Creates the id of a storage that has none. `None` for a command, which changes nothing.
    ambient: Option<Ambient>,
    metrics: Metrics,
    call: SingleCall<Reading>,
    known: Mutex<Known>,
}

/// What the last call found.
#[derive(Default)]
struct Known {
    id: Option<Uuid>,
    problem: Option<String>,
    is_unreadable: bool,
}

/// What was found.
struct Reading {
    /// What was expected.
    expected: OwnStorage,
    id: Result<Option<Uuid>, StorageError>,
    /// The free bytes of a folder.
    free: Option<u64>,
}

impl StorageWatch {
    /// Watches the configured storage. Nothing is read yet.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub(super) fn new(
        config: &Config,
        ambient: &Ambient,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        Self::watch(config, Some(ambient.clone()), metrics.clone())
    }

    fn watch(
        config: &Config,
        ambient: Option<Ambient>,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        Ok(Self(Arc::new(Inner {
            storage: storage::set_up(config)?,
            ambient,
            metrics,
            call: SingleCall::default(),
            known: Mutex::default(),
        })))
    }

    /// Watches the configured storage for a command, which exposes no metrics and changes nothing: a
    /// storage that no server has used stays without an id.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub fn for_command(config: &Config) -> Result<Self, StartError> {
        Self::watch(config, None, Metrics::default())
    }

    /// Whether attachments are accepted.
    pub fn is_configured(&self) -> bool {
        self.0.storage.is_some()
    }

    /// Returns the id of the storage. `None` if there is none, or if [`problem`](Self::problem) says why.
    pub fn id(&self) -> Option<Uuid> {
        self.0.known.lock().id
    }

    /// Returns why the storage could not be read, or is not that of the installation.
    pub fn problem(&self) -> Option<String> {
        self.0.known.lock().problem.clone()
    }

    /// Whether the [`problem`](Self::problem) is that the storage cannot be read. Otherwise it is not that
    /// of the installation.
    pub fn is_unreadable(&self) -> bool {
        self.0.known.lock().is_unreadable
    }

    /// Reads the state, for at most five seconds. A problem is logged when it begins. The storage must be
    /// the expected one; it gets an id only if that of the installation is not known.
    pub async fn refresh(&self, expected: OwnStorage) {
        let Some(storage) = self.0.storage.clone() else { return };
        let new = self.0.ambient.as_ref().map(Ambient::uuid);
        let reading = self.0.call.run(TIMEOUT, || read(storage, expected.clone(), new)).await;
        let (id, free, is_unreadable) = match reading {
            // It had begun before, and answers another question.
            Ok(reading) if reading.expected != expected => return,
            Ok(Reading { id, free, .. }) => {
                let is_unreadable = id.as_ref().is_err_and(|error| !error.is_of_another());
                (id.map_err(|error| error.to_string()), free, is_unreadable)
            }
            Err(failure) => (Err(failure.to_string()), None, true),
        };
        self.0.metrics.set_storage_free_bytes(free);
        self.0.metrics.set_storage_up(id.is_ok());
        let mut known = self.0.known.lock();
        // A storage that hangs has one reason while it is waited for, and others when that ends.
        let is_same = known.problem.is_some() && known.is_unreadable && is_unreadable;
        if let Err(problem) = &id
            && known.problem.as_ref() != Some(problem)
            && !is_same
        {
            tracing::warn!(problem, "the attachment storage cannot be used");
        }
        let (id, problem) = (id.as_ref().ok().copied().flatten(), id.err());
        *known = Known { id, problem, is_unreadable };
    }
}

/// Reads the id of the expected storage. If it is not known, the storage gets `new` if it has none yet.
async fn read(storage: Storage, expected: OwnStorage, new: Option<Uuid>) -> Reading {
    let folder = storage.folder().map(ToOwned::to_owned);
    let free = spawn_blocking(move || storage::free_bytes(&folder?)).await;
    let id = async {
        storage.require(&expected).await?;
        match (&expected, new) {
            (OwnStorage::Id(id), _) => Ok(Some(*id)),
            (_, Some(new)) => storage.identity(new).await.map(Some),
            (_, None) => storage.known_identity().await,
        }
    }
    .await;
    Reading { expected, id, free: free.ok().flatten() }
}

/// Why a call has found nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum CallFailure {
    /// It has not ended within its limit.
    #[error("the attachment storage does not answer")]
    NoAnswer,
    /// It has panicked.
    #[error("reading the attachment storage failed: see the log of this node for a panic")]
    Panicked,
}

/// Work of which one call at most is in flight.
struct SingleCall<T>(AsyncMutex<Option<JoinHandle<T>>>);

impl<T> Default for SingleCall<T> {
    fn default() -> Self {
        Self(AsyncMutex::new(None))
    }
}

impl<T: Send + 'static> SingleCall<T> {
    /// Starts a call, unless an earlier one has not ended, and returns what it finds.
    ///
    /// # Errors
    /// It panics, or does not end within the limit; it stays in flight then.
    async fn run<F>(&self, limit: Duration, start: impl FnOnce() -> F) -> Result<T, CallFailure>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut call = self.0.lock().await;
        let running = call.get_or_insert_with(|| tokio::spawn(start()));
        let ended = time::timeout(limit, running).await.map_err(|_| CallFailure::NoAnswer)?;
        *call = None;
        ended.map_err(|_| CallFailure::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_call_that_hangs_is_the_only_one_until_it_ends() {
        let call = SingleCall::<u8>::default();
        let (answer, answered) = oneshot::channel();
        let hung = call.run(Duration::ZERO, || async { answered.await.unwrap() });
        assert_eq!(hung.await, Err(CallFailure::NoAnswer));
        for _ in 0..3 {
            let second = call.run(Duration::ZERO, || async { panic!("a second call") });
            assert_eq!(second.await, Err(CallFailure::NoAnswer));
        }
        answer.send(1).unwrap();
        let minute = Duration::from_mins(1);
        assert_eq!(call.run(minute, || async { panic!("a second call") }).await, Ok(1));
        assert_eq!(call.run(minute, || async { 2 }).await, Ok(2));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_told_from_one_that_hangs_and_the_next_one_starts() {
        let call = SingleCall::<u8>::default();
        let minute = Duration::from_mins(1);
        let failed = call.run(minute, || async { panic!("a bug") });
        assert_eq!(failed.await, Err(CallFailure::Panicked));
        assert_eq!(call.run(minute, || async { 1 }).await, Ok(1));
    }
}
