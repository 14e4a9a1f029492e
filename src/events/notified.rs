//! Which notification streams of this node new notifications concern.
//!
//! A stream is woken only if there may be a notification for its account, so that an event costs
//! nothing for the streams of everybody else. Waking is a hint: a stream reads what is stored, and
//! also does so before each timed checkpoint.

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
    streams: HashMap<AccountId, watch::Sender<()>>,
}

/// Wakes one stream when there may be notifications for its account.
pub(super) struct NotificationWaker {
    accounts: Arc<NotifiedAccounts>,
    account: AccountId,
    /// `Some` until this is dropped.
    woken: Option<watch::Receiver<()>>,
}

impl NotifiedAccounts {
    /// `up_to` is the position up to which notifications are stored.
    pub(super) fn new(up_to: i64) -> Self {
        Self(Mutex::new(State { up_to, streams: HashMap::new() }))
    }

    /// Returns a waker for a stream of an account. The stream must read what is stored after this.
    pub(super) fn watch(self: &Arc<Self>, account: AccountId) -> NotificationWaker {
        let mut state = self.lock();
        let sender = state.streams.entry(account).or_default();
        NotificationWaker { accounts: Arc::clone(self), account, woken: Some(sender.subscribe()) }
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
        match accounts {
            None => state.streams.values().for_each(|stream| stream.send_modify(|()| {})),
            Some(accounts) => {
                let concerned = accounts.iter().filter_map(|account| state.streams.get(account));
                concerned.for_each(|stream| stream.send_modify(|()| {}));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotificationWaker {
    /// Waits until there may be notifications that were not there when this was last called.
    pub(super) async fn woken(&mut self) {
        // The sender exists as long as this does.
        if let Some(woken) = &mut self.woken {
            let _ = woken.changed().await;
        }
    }
}

impl Drop for NotificationWaker {
    fn drop(&mut self) {
        let mut state = self.accounts.lock();
        // Before others count the receivers.
        drop(self.woken.take());
        let last = state.streams.get(&self.account).is_some_and(|it| it.receiver_count() == 0);
        if last {
            state.streams.remove(&self.account);
        }
    }
}
