//! Which notification streams of this node new notifications and read marks concern.
//!
//! A stream is woken only if there may be a notification for its account or the account has read
//! something, so that an event costs nothing for the streams of everybody else. Waking is a hint: a
//! stream reads what is stored, and also does so before each checkpoint. Nobody announces
//! read marks to other nodes: their streams find them there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::domain::ids::AccountId;

/// The accounts with a notification stream on this node.
pub(super) struct NotifiedAccounts(Mutex<State>);

struct State {
    /// Notifications up to this position have been announced.
    up_to: i64,
    streams: HashMap<AccountId, watch::Sender<Wakes>>,
}

/// How often the streams of an account were woken, by reason.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Wakes {
    notified: u64,
    read: u64,
}

/// Why a stream is woken.
pub(super) struct Woken {
    /// There may be notifications.
    pub(super) is_notified: bool,
    /// The account has read something.
    pub(super) has_read: bool,
}

/// Wakes one stream when there may be notifications for its account, or its account has read some.
pub(super) struct NotificationWaker {
    accounts: Arc<NotifiedAccounts>,
    account: AccountId,
    /// What the stream was woken for.
    seen: Wakes,
    /// `Some` until this is dropped.
    wakes: Option<watch::Receiver<Wakes>>,
}

impl NotifiedAccounts {
    /// `up_to` is the position up to which notifications are stored.
    pub(super) fn new(up_to: i64) -> Self {
        Self(Mutex::new(State { up_to, streams: HashMap::new() }))
    }

    /// Returns a waker for a stream of an account. The stream must read what is stored after this.
    pub(super) fn watch(self: &Arc<Self>, account: AccountId) -> NotificationWaker {
        let mut state = self.lock();
        let wakes = state.streams.entry(account).or_default().subscribe();
        let seen = *wakes.borrow();
        NotificationWaker { accounts: Arc::clone(self), account, seen, wakes: Some(wakes) }
    }

    /// Returns the position up to which notifications have been announced, all of which are stored.
    pub(super) fn up_to(&self) -> i64 {
        self.lock().up_to
    }

    /// Returns the position up to which notifications have been announced. `None` if there is no
    /// stream to wake.
    pub(super) fn announced(&self) -> Option<i64> {
        let state = self.lock();
        (!state.streams.is_empty()).then_some(state.up_to)
    }

    /// Wakes the streams of these accounts, or all streams if `accounts` is `None`: notifications
    /// up to a position are stored.
    pub(super) fn announce(&self, up_to: i64, accounts: Option<&[AccountId]>) {
        let mut state = self.lock();
        state.up_to = up_to;
        let wake = |stream: &watch::Sender<Wakes>| stream.send_modify(|wakes| wakes.notified += 1);
        match accounts {
            None => state.streams.values().for_each(wake),
            Some(accounts) => {
                accounts.iter().filter_map(|account| state.streams.get(account)).for_each(wake);
            }
        }
    }

    /// Wakes the streams of an account that has read something.
    pub(super) fn announce_read(&self, account: AccountId) {
        if let Some(stream) = self.lock().streams.get(&account) {
            stream.send_modify(|wakes| wakes.read += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotificationWaker {
    /// Waits until there is something that was not there when this was last called.
    pub(super) async fn woken(&mut self) -> Woken {
        let before = self.seen;
        if let Some(wakes) = &mut self.wakes {
            // The sender exists as long as this does.
            let _ = wakes.changed().await;
            self.seen = *wakes.borrow_and_update();
        }
        Woken {
            is_notified: self.seen.notified != before.notified,
            has_read: self.seen.read != before.read,
        }
    }
}

impl Drop for NotificationWaker {
    fn drop(&mut self) {
        let mut state = self.accounts.lock();
        // Before others count the receivers.
        drop(self.wakes.take());
        let last = state.streams.get(&self.account).is_some_and(|it| it.receiver_count() == 0);
        if last {
            state.streams.remove(&self.account);
        }
    }
}
