//! Which notification streams of this node new notifications and read marks concern.
//!
//! A stream is woken only if there may be a notification for its account or the account has read
//! something, so that an event costs nothing for the streams of everybody else. Waking is a hint: a
//! stream reads what is stored, and also does so before each checkpoint. Nobody announces
//! read marks to other nodes: their streams find them there.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::ids::AccountId;

/// The accounts with a notification stream on this node.
pub(super) struct NotifiedAccounts(Mutex<State>);

struct State {
    /// Notifications up to this position have been announced.
    up_to: i64,
    /// How often the account has read something. Notifications wake its streams and change nothing.
    streams: HashMap<AccountId, watch::Sender<u64>>,
}

/// Wakes one stream when there may be notifications for its account, or the account has read something.
pub(super) struct NotificationWaker {
    accounts: Arc<NotifiedAccounts>,
    account: AccountId,
    /// How often the account had read something when the stream was last woken.
    reads: u64,
    /// `Some` until this is dropped.
    woken: Option<watch::Receiver<u64>>,
}

impl NotifiedAccounts {
    /// `up_to` is the position up to which notifications are stored.
    pub(super) fn new(up_to: i64) -> Self {
        Self(Mutex::new(State { up_to, streams: HashMap::new() }))
    }

    /// Returns a waker for a stream of an account. The stream must read what is stored after this.
    pub(super) fn watch(self: &Arc<Self>, account: AccountId) -> NotificationWaker {
        let mut state = self.0.lock();
        let woken = state.streams.entry(account).or_default().subscribe();
        let reads = *woken.borrow();
        NotificationWaker { accounts: Arc::clone(self), account, reads, woken: Some(woken) }
    }

    /// Returns the position up to which notifications have been announced, all of which are stored.
    pub(super) fn up_to(&self) -> i64 {
        self.0.lock().up_to
    }

    /// Returns the position up to which notifications have been announced. `None` if there is no
    /// stream to wake.
    pub(super) fn announced(&self) -> Option<i64> {
        let state = self.0.lock();
        (!state.streams.is_empty()).then_some(state.up_to)
    }

    /// Wakes the streams of these accounts, or all streams if `accounts` is `None`: notifications
    /// up to a position are stored.
    pub(super) fn announce(&self, up_to: i64, accounts: Option<&[AccountId]>) {
        let mut state = self.0.lock();
        state.up_to = up_to;
        let wake = |stream: &watch::Sender<u64>| stream.send_modify(|_| {});
        match accounts {
            None => state.streams.values().for_each(wake),
            Some(accounts) => {
                accounts.iter().filter_map(|account| state.streams.get(account)).for_each(wake);
            }
        }
    }

    /// Wakes the streams of an account that has read something.
    pub(super) fn announce_read(&self, account: AccountId) {
        if let Some(stream) = self.0.lock().streams.get(&account) {
            stream.send_modify(|reads| *reads += 1);
        }
    }
}

impl NotificationWaker {
    /// Waits until there may be something that was not there when this was last called. Returns
    /// whether the account has read something.
    pub(super) async fn woken(&mut self) -> bool {
        let before = self.reads;
        if let Some(woken) = &mut self.woken {
            // The sender exists as long as this does.
            let _ = woken.changed().await;
            self.reads = *woken.borrow_and_update();
        }
        self.reads != before
    }
}

impl Drop for NotificationWaker {
    fn drop(&mut self) {
        let mut state = self.accounts.0.lock();
        // Before others count the receivers.
        drop(self.woken.take());
        let last = state.streams.get(&self.account).is_some_and(|it| it.receiver_count() == 0);
        if last {
            state.streams.remove(&self.account);
        }
    }
}
