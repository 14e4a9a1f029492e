//! Attachments: finding, linking and reading them. `upload` creates them.

use axum::body::Bytes;
use chrono::TimeDelta;
use futures_util::{StreamExt as _, stream::BoxStream};

use super::{ServiceError, Services, authorise};
use crate::{
    crypto::signing,
    db::{
        attachment::{self as attachments, Found, Requested},
        session,
    },
    domain::{
        actor::Actor,
        attachment::{Attachment, Link},
        ids::{AttachmentId, CommentId, TicketId},
        policy::{self, Action, Resource},
    },
    storage::StorageError,
};

/// How long a link to an attachment is valid.
const LINK_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Returns the attachments with these ids that the actor may see, in no particular order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[AttachmentId],
) -> Result<Vec<Attachment>, ServiceError> {
    visible(actor, services, Requested::Ids(ids)).await
}

/// Returns the attachments of these tickets' descriptions that the actor may see. Those of the
/// same ticket are in order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of_tickets(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<Attachment>, ServiceError> {
    visible(actor, services, Requested::OfTickets(ids)).await
}

/// Returns the attachments of these comments that the actor may see. Those of the same comment
/// are in order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of_comments(
    actor: &Actor,
    services: &Services,
    ids: &[CommentId],
) -> Result<Vec<Attachment>, ServiceError> {
    visible(actor, services, Requested::OfComments(ids)).await
}

async fn visible(
    actor: &Actor,
    services: &Services,
    requested: Requested<'_>,
) -> Result<Vec<Attachment>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let found = attachments::find(&mut *services.database.read().await?, requested).await?;
    let visible = found.into_iter().filter(|found| {
        let Found { reporter, participants, visibility, .. } = found;
        let ticket = Resource::Ticket { reporter: *reporter, participants };
        authorise(actor, Action::ViewTicket, ticket).is_ok()
            && visibility.is_none_or(|visibility| policy::sees_comment(actor, visibility))
    });
    Ok(visible.map(|found| found.attachment).collect())
}

/// Returns a link to an attachment. It is valid for 10 minutes, while the actor's session lasts.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub fn link(actor: &Actor, services: &Services, id: AttachmentId) -> Result<String, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let identity = actor.identity().ok_or(ServiceError::Unauthenticated)?;
    let link = Link {
        attachment: id,
        account: identity.id,
        session: identity.session,
        expires_at: services.ambient.now() + LINK_LIFETIME,
    };
    let base = services.settings.base_url.as_deref().unwrap_or_default().trim_end_matches('/');
    Ok(format!("{base}/attachments/{}", signing::sign_link(&services.keys, &link)))
}

/// Returns the content of a link, without a look at the database.
///
/// # Errors
/// Returns [`ServiceError::NotFound`] if the link is forged, and [`ServiceError::Unauthenticated`] if it
/// has expired.
pub fn read_link(services: &Services, token: &str) -> Result<Link, ServiceError> {
    let link = signing::verify_link(&services.keys, token).ok_or(ServiceError::NotFound)?;
    if link.expires_at <= services.ambient.now() {
        return Err(ServiceError::Unauthenticated);
    }
    Ok(link)
}

/// Returns the attachment that a link refers to.
///
/// # Errors
/// Returns [`ServiceError::Unauthenticated`] if the session that requested the link has ended, and
/// [`ServiceError::NotFound`] if the person who requested it may no longer see the attachment.
pub async fn follow(services: &Services, link: &Link) -> Result<Attachment, ServiceError> {
    let now = services.ambient.now();
    let mut connection = services.database.read().await?;
    let live = session::live_by_id(&mut connection, link.session, now).await?;
    drop(connection);
    let identity = live.map(|live| live.identity).filter(|who| who.id == link.account);
    let actor = Actor::Account(identity.ok_or(ServiceError::Unauthenticated)?);
    let found = by_ids(&actor, services, &[link.attachment]).await?;
    found.into_iter().next().ok_or(ServiceError::NotFound)
}

/// Returns a range of the bytes of an attachment. Call [`follow`] first, which checks that the
/// caller may read it.
///
/// # Errors
/// Returns an error if the storage failed.
pub async fn read(
    services: &Services,
    attachment: &Attachment,
    range: std::ops::Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, ServiceError> {
    let storage = services.storage.as_ref().ok_or(ServiceError::NotFound)?;
    let bytes = storage.read(attachment.id, range).await?;
    Ok(bytes.map(|chunk| chunk.map_err(StorageError::from)).boxed())
}
