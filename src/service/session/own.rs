//! One's own sessions: seeing them, and ending them from afar.

use super::{end_sessions, tell_of_ends};
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

/// So many sessions are listed: the last used.
const LISTED: i64 = 100;

/// The actor's sessions that have not ended, the last used first.
///
/// # Errors
/// Nobody is signed in.
pub async fn all(actor: &Actor, services: &Services) -> Result<Vec<Session>, ServiceError> {
    let owner = owner(actor)?;
    let now = services.ambient.now();
    let idle_since = now - services.settings.session_idle;
    let mut connection = services.database.read().await?;
    let mut found = session::of_account(&mut connection, owner.id, now, idle_since, LISTED).await?;
    for session in &mut found {
        // Sooner, unless it is used.
        session.expires_at =
            session.expires_at.min(session.last_used_at + services.settings.session_idle);
    }
    Ok(found)
}

/// Ends one of the actor's sessions, and its live streams.
///
/// # Errors
/// Nobody is signed in; no such session of theirs, as a user error.
pub async fn revoke(
    actor: &Actor,
    services: &Services,
    id: Option<SessionId>,
) -> Result<SessionId, ServiceError> {
    let owner = owner(actor)?;
    let unknown = || {
        let message = "You have no such session, or it has ended.";
        ServiceError::from(UserError::new("id", UserErrorCode::NotFound, message))
    };
    let id = id.ok_or_else(unknown)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            account::lock(db, owner.id).await?;
            if !session::revoke(db, owner.id, id, now).await? {
                return Err(unknown());
            }
            tell_of_ends(services, db, owner.id, &[id], actor, now).await?;
            Ok(id)
        })
        .await
}

/// Ends all of the actor's sessions but the one that they act through, and their live
/// streams; gives how many ended.
///
/// # Errors
/// Nobody is signed in.
pub async fn revoke_others(actor: &Actor, services: &Services) -> Result<usize, ServiceError> {
    let owner = owner(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            Ok(end_sessions(services, db, owner.id, Some(owner.session), actor, now).await?)
        })
        .await
}

fn owner(actor: &Actor) -> Result<Identity, ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    actor.identity().copied().ok_or(ServiceError::Unauthenticated)
}
