//! The session of a stream's caller, and the events that end its streams.

use std::time::Duration;

use super::error::SubscribeError;
use crate::{
    db::{Connection, DbError, session},
    domain::{
        actor::{Actor, Identity},
        clock::Timestamp,
        event::{FeedEvent, SessionEffect},
    },
};

/// The live session of a stream's caller.
pub(super) struct StreamSession {
    identity: Identity,
    expires_at: Timestamp,
    /// A position of the feed that was read before the role. The role includes all changes up to
    /// it, so those do not end the stream.
    authorised_at: i64,
}

impl StreamSession {
    /// Reads a session. Returns `None` if it has ended. `authorised_at` is a position of the feed
    /// that was read before.
    pub(super) async fn read(
        db: &mut Connection,
        identity: &Identity,
        now: Timestamp,
        authorised_at: i64,
    ) -> Result<Option<Self>, DbError> {
        let live = session::live_by_id(db, identity.session, now).await?;
        Ok(live.map(|live| Self {
            identity: live.identity,
            expires_at: live.expires_at,
            authorised_at,
        }))
    }

    /// Reads a session as [`read`](Self::read) does, and checks that its role has not changed.
    ///
    /// # Errors
    /// [`SubscribeError::Unauthenticated`] if the session has ended or its role has changed; the
    /// database failed.
    pub(super) async fn authorise(
        db: &mut Connection,
        identity: &Identity,
        now: Timestamp,
        authorised_at: i64,
    ) -> Result<Self, SubscribeError> {
        let session = Self::read(db, identity, now, authorised_at).await?;
        session
            .filter(|session| session.identity.role == identity.role)
            .ok_or(SubscribeError::Unauthenticated)
    }

    /// Returns the caller.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns whether the session has expired.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// Returns the time until the session expires, or zero if it has expired.
    pub(super) fn time_left(&self, now: Timestamp) -> Duration {
        (self.expires_at - now).to_std().unwrap_or_default()
    }

    /// Returns whether an event ends the session, or changes the role that its streams were
    /// authorised for.
    pub(super) fn is_ended_by(&self, event: &FeedEvent) -> bool {
        match event.event.account().map(|account| account.event.session_effect()) {
            Some(SessionEffect::Ended(session)) => session == self.identity.session,
            Some(SessionEffect::RoleChanged(role)) => {
                event.cursor.pos > self.authorised_at && role != self.identity.role
            }
            Some(SessionEffect::Unchanged) | None => false,
        }
    }
}

/// Returns the caller of a stream.
///
/// # Errors
/// [`SubscribeError::Unauthenticated`] if nobody is signed in;
/// [`SubscribeError::SecondFactorMissing`] if the session can only configure a second factor.
pub(super) fn require_identity(actor: &Actor) -> Result<&Identity, SubscribeError> {
    match actor.identity() {
        None => Err(SubscribeError::Unauthenticated),
        Some(identity) if identity.confined => Err(SubscribeError::SecondFactorMissing),
        Some(identity) => Ok(identity),
    }
}
