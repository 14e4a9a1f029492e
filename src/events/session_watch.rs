//! Tells when a session has ended, for sockets on which nothing else is going on.

use std::sync::Arc;

use tokio::time;

use super::{
    EventLog,
    hub::{ControlSignal, SubscriberBuffer, Topic},
    subscription::{Registration, revokes},
};
use crate::{
    db::{DbError, session},
    domain::{actor::Identity, clock::Timestamp},
};

/// Watches over one session.
pub struct SessionWatch {
    log: EventLog,
    identity: Identity,
    expires_at: Timestamp,
    registration: Registration,
    /// The role that the session has was looked at after this position.
    authorised_at: i64,
}

impl EventLog {
    /// Begins to watch over a session; `None` where it has ended.
    ///
    /// # Errors
    /// The database failed.
    pub async fn watch_session(
        &self,
        identity: &Identity,
    ) -> Result<Option<SessionWatch>, DbError> {
        // Registered first: an end that is committed after the look is heard of.
        let topics = vec![Topic::Account(identity.id)];
        let registration =
            Registration::new(&self.hub, topics, Arc::new(SubscriberBuffer::default()));
        let authorised_at = self.hub.cursor().pos;
        let mut connection = self.database.read().await?;
        let now = self.ambient.now();
        let live = session::live_by_id(&mut connection, identity.session, now).await?;
        Ok(live.map(|live| SessionWatch {
            log: self.clone(),
            identity: live.identity,
            expires_at: live.expires_at,
            registration,
            authorised_at,
        }))
    }
}

impl SessionWatch {
    /// Resolves when the session has ended.
    pub async fn ended(self) {
        loop {
            while let Some(signal) = self.registration.buffer().take_signal() {
                if let ControlSignal::Account(event) = signal
                    && revokes(&self.identity, self.authorised_at, &event)
                {
                    return;
                }
            }
            let left = (self.expires_at - self.log.ambient.now()).to_std().unwrap_or_default();
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.registration.buffer().filled() => {}
                () = time::sleep(left) => {}
            }
        }
    }
}
