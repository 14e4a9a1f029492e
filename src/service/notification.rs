//! Notifications, and which of them have been read.

use super::{
    ServiceError, Services, authorise, rate_limit,
    ticket_writes::{CountedWrite, Write},
};
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

/// What marking notifications as read has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// How many unread ones are left.
    pub unread: i64,
    /// Whether there were unread ones among them.
    pub has_changed: bool,
}

/// Returns a page of the actor's notifications about tickets that the actor sees, newest first. If
/// `unread_only` is true, only unread ones.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn page(
    actor: &Actor,
    services: &Services,
    unread_only: bool,
    page: &Page<i64>,
) -> Result<Slice<Notification>, ServiceError> {
    let (account, scope) = (recipient(actor)?, policy::ticket_scope(actor));
    let mut connection = services.database.read().await?;
    Ok(notification::page(&mut connection, account, scope, unread_only, page).await?)
}

/// Returns how many unread notifications the actor has about tickets that the actor sees.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn unread(actor: &Actor, services: &Services) -> Result<i64, ServiceError> {
    let (account, scope) = (recipient(actor)?, policy::ticket_scope(actor));
    Ok(notification::unread(&mut *services.database.read().await?, account, scope).await?)
}

/// Marks some of the actor's notifications as read, or all of them if `ids` is `None`.
///
/// # Errors
/// Returns an error if nobody is signed in, and [`ServiceError::TooFrequent`] if a customer has set too
/// many marks within a minute.
pub async fn mark_read(
    actor: &Actor,
    services: &Services,
    ids: Option<&[NotificationId]>,
) -> Result<Marked, ServiceError> {
    let (account, scope) = (recipient(actor)?, policy::ticket_scope(actor));
    let mut connection = services.database.read().await?;
    let counted = CountedWrite { kind: Write::Mark, actor: *actor, account };
    rate_limit::count_write(services, &mut connection, counted).await?;
    let now = services.ambient.now();
    let has_changed = notification::mark_read(&mut connection, account, ids, now).await?;
    if !has_changed {
        rate_limit::uncount_write(services, &mut connection, counted).await?;
    }
    let unread = notification::unread(&mut connection, account, scope).await?;
    Ok(Marked { unread, has_changed })
}

/// Returns the events at these positions of the feed that the actor may see, in no particular
/// order.
///
/// # Errors
/// Returns an error if nobody is signed in.
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

fn recipient(actor: &Actor) -> Result<AccountId, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    actor.account_id().ok_or(ServiceError::Unauthenticated)
}
