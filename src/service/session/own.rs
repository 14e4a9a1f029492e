//! The actor's own sessions: listing them and ending them remotely.

use super::{append_session_ended, end_sessions, ensure_unchanged};
use crate::{
    db::{account, session},
    domain::{
        actor::{Actor, Identity},
        ids::SessionId,
        policy::{Action, Resource},
        session::Session,
    },
    service::{ServiceError, Services, UserError, UserErrorCode, authorise},
};

/// How many sessions are listed at most.
const MAX_LISTED: i64 = 100;

/// Returns the actor's live sessions, most recently used first, at most 100.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn all(actor: &Actor, services: &Services) -> Result<Vec<Session>, ServiceError> {
    let owner = owner(actor)?;
    let now = services.ambient.now();
    let idle = services.settings.session_idle;
    let mut connection = services.database.read().await?;
    let mut found =
        session::of_account(&mut connection, owner.id, now, now - idle, MAX_LISTED).await?;
    for session in &mut found {
        session.expires_at = session.expires_at.min(session.last_used_at + idle);
    }
    Ok(found)
}

/// Ends one of the actor's sessions and its live streams.
///
/// # Errors
/// Returns an error if nobody is signed in, and a user error if the actor has no such live
/// session.
pub async fn revoke(
    actor: &Actor,
    services: &Services,
    id: Option<SessionId>,
) -> Result<SessionId, ServiceError> {
    let owner = owner(actor)?;
    let unknown = || {
        let message = "You have no such session, or it has already ended.";
        ServiceError::from(UserError::new("id", UserErrorCode::NotFound, message))
    };
    let id = id.ok_or_else(unknown)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            account::lock(db, owner.id).await?;
            ensure_unchanged(actor, db, now).await?;
            if !session::revoke(db, owner.id, id, now).await? {
                return Err(unknown());
            }
            append_session_ended(services, db, owner.id, &[id], Some(owner.id), now).await?;
            Ok(id)
        })
        .await
}

/// Ends all of the actor's sessions and their live streams, except the current one. Returns
/// how many sessions ended.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn revoke_others(actor: &Actor, services: &Services) -> Result<usize, ServiceError> {
    let owner = owner(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            account::lock(db, owner.id).await?;
            ensure_unchanged(actor, db, now).await?;
            Ok(end_sessions(services, db, owner.id, Some(owner.session), actor, now).await?)
        })
        .await
}

/// Returns the actor's identity if they may manage their own sessions.
fn owner(actor: &Actor) -> Result<Identity, ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    actor.identity().copied().ok_or(ServiceError::Unauthenticated)
}
