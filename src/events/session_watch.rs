//! Notices the end of a session, for connections that have no stream at the moment.

use tokio::time;

use super::{
    buffer::ControlSignal, log::EventLog, registration::Registration, session::StreamSession,
    topic::Topic,
};
use crate::{db::DbError, domain::actor::Identity};

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
    /// Waits until the session ends, expires or changes its role.
    pub async fn ended(self) {
        loop {
            while let Some(signal) = self.registration.buffer().take_signal() {
                if let ControlSignal::AccountEvent(event) = signal
                    && self.session.is_ended_by(&event)
                {
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
}
