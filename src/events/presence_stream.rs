//! A live stream of who has a ticket open. It has no cursor.

use std::future;

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{error::SubscribeError, log::EventLog, presence::PresenceWaker};
use crate::{
    db::DbError,
    domain::{
        actor::Identity,
        ids::{AccountId, TicketId},
        presence::Activity,
    },
    metrics::{CountedStream, StreamKind},
};

/// An item of a stream of presence.
#[derive(Debug)]
pub enum PresenceItem {
    /// The people on the ticket and what they do, in the order of their arrival.
    People(Vec<(AccountId, Activity)>),
    /// The session ended or its role changed, and the stream ends here.
    SessionEnded,
}

/// A stream of the people who have a ticket open.
pub struct PresenceStream {
    waker: PresenceWaker,
    /// Resolves when the session ends. `None` after the stream has ended.
    session_ended: Option<BoxFuture<'static, ()>>,
    /// The people that were delivered last.
    delivered: Option<Vec<(AccountId, Activity)>>,
    counted: CountedStream,
}

impl EventLog {
    /// Announces to all nodes what a client of a member of staff does with a ticket, or that it has left
    /// it if `activity` is `None`, at once or within five seconds. `client` is the name that the client
    /// gives itself. The caller must have been authorised.
    ///
    /// # Errors
    /// The database failed.
    pub async fn announce_presence(
        &self,
        identity: &Identity,
        (ticket, client): (TicketId, Option<&str>),
        activity: Option<Activity>,
    ) -> Result<(), DbError> {
        self.presence.announce(&self.database, identity, (ticket, client), activity).await
    }

    /// Begins a stream of the people who have a ticket open. The caller must have been authorised.
    ///
    /// # Errors
    /// The session has ended or its role has changed; the database failed.
    pub async fn presence(
        &self,
        identity: &Identity,
        ticket: TicketId,
    ) -> Result<PresenceStream, SubscribeError> {
        let waker = self.presence.watch(ticket);
        let session = self.watch_session(identity).await?;
        let session = session.filter(|session| session.identity().role == identity.role);
        let session = session.ok_or(SubscribeError::Unauthenticated)?;
        Ok(PresenceStream {
            waker,
            session_ended: Some(session.ended().boxed()),
            delivered: None,
            counted: self.metrics.subscriber(StreamKind::Presence),
        })
    }
}

impl PresenceStream {
    /// Waits for the next item: first the current state, then each change. Returns `None` after the
    /// stream has ended.
    pub async fn next(&mut self) -> Option<PresenceItem> {
        loop {
            let session_ended = self.session_ended.as_mut()?;
            let people = self.waker.people();
            let is_new = self.delivered.as_ref() != Some(&people);
            tokio::select! {
                biased;
                () = session_ended => {
                    self.session_ended = None;
                    return Some(PresenceItem::SessionEnded);
                }
                () = future::ready(()), if is_new => {
                    self.counted.delivered();
                    self.delivered = Some(people.clone());
                    return Some(PresenceItem::People(people));
                }
                () = self.waker.woken() => {}
            }
        }
    }
}
