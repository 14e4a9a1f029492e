//! Events that a consumer of the log could not process, for admins.

use super::{ServiceError, Services, UserError, UserErrorCode, authorise};
use crate::{
    db::set_aside,
    domain::{
        actor::Actor,
        ids::SetAsideId,
        policy::{Action, Resource},
        set_aside::SetAsideEvent,
    },
};

/// The largest number of events that are listed, and that can be tried again by their ids at once.
pub const MAX_LISTED: usize = 100;

/// Returns the events that are set aside, in the order of the log, at most [`MAX_LISTED`].
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub async fn list(actor: &Actor, services: &Services) -> Result<Vec<SetAsideEvent>, ServiceError> {
    authorise(actor, Action::ManageSetAside, Resource::Desk)?;
    let limit = i64::try_from(MAX_LISTED).unwrap_or(i64::MAX);
    Ok(set_aside::first(&mut *services.database.read().await?, limit).await?)
}

/// Counts the events that are set aside.
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub async fn count(actor: &Actor, services: &Services) -> Result<i64, ServiceError> {
    authorise(actor, Action::ManageSetAside, Resource::Desk)?;
    Ok(set_aside::count(&mut *services.database.read().await?).await?)
}

/// Requests another attempt at some events, which their consumer makes soon. Returns the events.
///
/// # Errors
/// Returns an error if the actor is not an admin, and a user error if one of the events is not set
/// aside.
pub async fn retry(
    actor: &Actor,
    services: &Services,
    ids: &[SetAsideId],
) -> Result<Vec<SetAsideEvent>, ServiceError> {
    authorise(actor, Action::ManageSetAside, Resource::Desk)?;
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let (ids, now) = (ids.as_slice(), services.ambient.now());
    services
        .database
        .write(async |db| {
            if set_aside::request_retry(db, Some(ids), now).await? < ids.len() {
                return Err(not_set_aside());
            }
            Ok(set_aside::by_ids(db, ids).await?)
        })
        .await
}

/// Requests another attempt at all events that are set aside. Returns how many there are.
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub async fn retry_all(actor: &Actor, services: &Services) -> Result<usize, ServiceError> {
    authorise(actor, Action::ManageSetAside, Resource::Desk)?;
    let now = services.ambient.now();
    let requested = async |db: &mut _| set_aside::request_retry(db, None, now).await;
    Ok(services.database.write_without_events(requested).await?)
}

/// Returns the error for an id of an event that is not set aside.
pub fn not_set_aside() -> ServiceError {
    let message = "An event is not set aside, or was processed in the meantime. List them again.";
    UserError::new("ids", UserErrorCode::NotFound, message).into()
}
