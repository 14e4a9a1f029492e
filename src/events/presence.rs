//! Who has which ticket open.
//!
//! The state is in the memory of each node. A node announces what its callers do to all nodes, and
//! shows what it receives, its own announcements included, so that all nodes show the same in the
//! same order. An announcement can be lost. The next one, at most ten seconds later, makes up for it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};
use uuid::Uuid;

use super::task::survive_panics;
use crate::{
    db::{Database, DbError, presence},
    domain::{
        actor::Identity,
        clock::Ambient,
        event::{Event, SessionEffect},
        ids::{AccountId, TicketId},
        presence::{Activity, Announcement, ClientId, PresenceBoard},
    },
};

/// How often people who were not announced again are removed, and waiting announcements sent.
const TICK: Duration = Duration::from_millis(250);

/// Who has which ticket open, and the streams that show it.
pub(super) struct Presence {
    /// The id of this node in announcements.
    node: Uuid,
    ambient: Ambient,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    board: PresenceBoard,
    /// Wakes the streams of a ticket.
    streams: HashMap<TicketId, watch::Sender<()>>,
}

impl State {
    fn wake(&self, tickets: impl IntoIterator<Item = TicketId>) {
        let woken = tickets.into_iter().filter_map(|ticket| self.streams.get(&ticket));
        woken.for_each(|stream| stream.send_modify(|()| {}));
    }
}

impl Presence {
    pub(super) fn new(ambient: &Ambient) -> Self {
        let node = Uuid::from_bytes(ambient.bytes());
        Self { node, ambient: ambient.clone(), state: Mutex::default() }
    }

    /// Announces to all nodes what a client of a member of staff does with a ticket, at once or within
    /// five seconds.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn announce(
        &self,
        database: &Database,
        identity: &Identity,
        (ticket, client): (TicketId, Option<&str>),
        activity: Option<Activity>,
    ) -> Result<(), DbError> {
        let (account, session) = (identity.id, identity.session);
        let client = ClientId::new(session, client);
        let (node, sequence, age) = (self.node, 0, 0);
        let call = Announcement { node, ticket, account, session, client, activity, sequence, age };
        let begun = self.state.lock().board.begin_announcement(call, self.ambient.now());
        match begun {
            Some(announcement) => self.send(database, announcement).await,
            None => Ok(()),
        }
    }

    async fn send(&self, database: &Database, announcement: Announcement) -> Result<(), DbError> {
        let announced =
            async { presence::announce(&mut *database.read().await?, &announcement).await };
        announced.await.inspect_err(|_| self.state.lock().board.cancel_announcement(&announcement))
    }

    /// Receives an announcement of any node. One that this version cannot read is ignored.
    pub(super) fn receive(&self, payload: &str) {
        let Some(announcement) = Announcement::decode(payload) else { return };
        let (is_own, now) = (announcement.node == self.node, self.ambient.now());
        let mut state = self.state.lock();
        if state.board.receive(&announcement, is_own, now) {
            state.wake([announcement.ticket]);
        }
    }

    /// Removes the people whose session has ended or who are no longer staff.
    pub(super) fn on_event(&self, event: &Event) {
        let Some(account) = event.account() else { return };
        let mut state = self.state.lock();
        let tickets = match account.event.session_effect() {
            SessionEffect::Ended(session) => state.board.end_session(session),
            SessionEffect::RoleChanged(role) if !role.is_staff() => {
                state.board.remove_account(account.id)
            }
            SessionEffect::RoleChanged(_) | SessionEffect::Unchanged => return,
        };
        state.wake(tickets);
    }

    /// Removes people who were not announced again, and sends the announcements that had to wait, until
    /// the future is dropped.
    pub(super) async fn run(&self, database: &Database) {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let tick = async {
                for announcement in self.tick() {
                    // The next call makes up for one that could not be sent.
                    drop(self.send(database, announcement).await);
                }
                Ok(())
            };
            if let Err(error) = survive_panics(tick).await {
                tracing::warn!(%error, "keeping the presence of staff up to date failed");
            }
        }
    }

    /// Removes people who were not announced again. Returns the announcements that had to wait and
    /// must be sent now.
    fn tick(&self) -> Vec<Announcement> {
        let mut state = self.state.lock();
        if state.board.is_empty() {
            return vec![];
        }
        let now = self.ambient.now();
        let tickets = state.board.expire(now);
        state.wake(tickets);
        state.board.due(now)
    }

    /// Returns a waker for a stream of a ticket. The stream must read the people after this.
    pub(super) fn watch(self: &Arc<Self>, ticket: TicketId) -> PresenceWaker {
        let woken = self.state.lock().streams.entry(ticket).or_default().subscribe();
        PresenceWaker { presence: Arc::clone(self), ticket, woken }
    }
}

/// Wakes one stream when the people on its ticket may have changed.
pub(super) struct PresenceWaker {
    presence: Arc<Presence>,
    ticket: TicketId,
    woken: watch::Receiver<()>,
}

impl PresenceWaker {
    /// Returns the people on the ticket and what they do. Later changes wake the stream.
    pub(super) fn people(&mut self) -> Vec<(AccountId, Activity)> {
        self.woken.mark_unchanged();
        self.presence.state.lock().board.people(self.ticket)
    }

    /// Waits until the people may have changed since they were read.
    pub(super) async fn woken(&mut self) {
        // The sender exists as long as this does.
        let _ = self.woken.changed().await;
    }
}

impl Drop for PresenceWaker {
    fn drop(&mut self) {
        let mut state = self.presence.state.lock();
        let is_last = |stream: &watch::Sender<()>| stream.receiver_count() <= 1;
        if state.streams.get(&self.ticket).is_some_and(is_last) {
            state.streams.remove(&self.ticket);
        }
    }
}
