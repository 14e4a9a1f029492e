//! Notices the end of a session, for connections that have no stream at the moment.

use std::time::Duration;

use tokio::time;

use super::{
    buffer::ControlSignal, log::EventLog, registration::Registration, session::StreamSession,
    topic::Topic,
};
use crate::{db::DbError, domain::actor::Identity};

/// The pause after the database has failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Watches a session until it ends.
pub struct SessionWatch {
    log: EventLog,
    session: StreamSession,
    registration: Registration,
}

impl EventLog {
    /// Watches a session. Returns `None` if it has ended.
    ///
    /// # Errors
    /// The database failed.
    pub async fn watch_session(
        &self,
        identity: &Identity,
    ) -> Result<Option<SessionWatch>, DbError> {
        // Registered first, so that the end of the session is either read or received.
        let (registration, head) = Registration::new(&self.hub, vec![Topic::Account(identity.id)]);
        let mut connection = self.background.read().await?;
        let now = self.ambient.now();
        let session = StreamSession::read(&mut connection, identity, now, head.pos).await?;
        Ok(session.map(|session| SessionWatch { log: self.clone(), session, registration }))
    }
}

impl SessionWatch {
    /// Returns the owner of the session.
    pub(super) fn identity(&self) -> Identity {
        self.session.identity()
    }

    /// Waits until the session ends, expires or changes its role.
    pub async fn ended(mut self) {
        loop {
            while let Some(signal) = self.registration.buffer().take_signal() {
                let ended = match signal {
                    ControlSignal::AccountEvent(event) => self.session.is_ended_by(&event),
                    // Events of the new history may have been skipped.
                    // Boxed: each socket holds a watch, and this hardly ever happens.
                    ControlSignal::RewoundTo(_) => Box::pin(self.has_ended_meanwhile()).await,
                };
                if ended {
                    return;
                }
            }
            let left = self.session.time_left(self.log.ambient.now());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.registration.buffer().filled() => {}
                () = time::sleep(left) => {}
            }
        }
    }

    /// Reads the session again. Returns whether it has ended or its role has changed.
    async fn has_ended_meanwhile(&mut self) -> bool {
        loop {
            let identity = self.session.identity();
            match self.log.watch_session(&identity).await {
                Ok(None) => return true,
                Ok(Some(again)) => {
                    *self = again;
                    return self.session.identity().role != identity.role;
                }
                Err(error) => {
                    tracing::warn!(%error, "reading a session failed; retrying");
                    time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}
