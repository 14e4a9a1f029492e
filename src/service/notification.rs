//! The bell: what somebody was told of, and what of it they have read.

use super::{ServiceError, Services, authorise};
use crate::{
    db::{feed, notification},
    domain::{
        actor::Actor,
        event::FeedEvent,
        ids::{AccountId, NotificationId},
        notification::Notification,
        page::{Page, Slice},
        policy::{self, Action, Resource},
    },
};

/// A page of the actor's notifications, newest first.
///
/// # Errors
/// Nobody is signed in.
pub async fn page(
    actor: &Actor,
    services: &Services,
    unread_only: bool,
    page: &Page<i64>,
) -> Result<Slice<Notification>, ServiceError> {
    let account = reader(actor)?;
    let mut connection = services.database.read().await?;
    Ok(notification::page(&mut connection, account, unread_only, page).await?)
}

/// How many the actor has not read.
///
/// # Errors
/// Nobody is signed in.
pub async fn unread(actor: &Actor, services: &Services) -> Result<i64, ServiceError> {
    let account = reader(actor)?;
    Ok(notification::unread(&mut *services.database.read().await?, account).await?)
}

/// Notes that the actor has read some of their notifications, or all (`None`);
/// gives how many are left unread.
///
/// # Errors
/// Nobody is signed in.
pub async fn mark_read(
    actor: &Actor,
    services: &Services,
    ids: Option<&[NotificationId]>,
) -> Result<i64, ServiceError> {
    let account = reader(actor)?;
    let mut connection = services.database.read().await?;
    notification::mark_read(&mut connection, account, ids, services.ambient.now()).await?;
    Ok(notification::unread(&mut connection, account).await?)
}

/// The events at some positions of the feed that the actor may see, in no order.
///
/// # Errors
/// Nobody is signed in.
pub async fn events(
    actor: &Actor,
    services: &Services,
    positions: &[i64],
) -> Result<Vec<FeedEvent>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let mut found = feed::at(&mut *services.database.read().await?, positions).await?;
    found.retain(|event| policy::sees_event(actor, &event.event));
    Ok(found)
}

fn reader(actor: &Actor) -> Result<AccountId, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    actor.account_id().ok_or(ServiceError::Unauthenticated)
}
