//! Categories.

use super::{Desk, ServiceError, authorise};
use crate::{
    db::category,
    domain::{
        actor::Actor,
        category::Category,
        ids::CategoryId,
        policy::{Action, Resource},
    },
};

/// The categories that take new tickets, in the installation's order.
///
/// # Errors
/// Nobody is signed in.
pub async fn list(actor: &Actor, desk: &Desk) -> Result<Vec<Category>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let mut all = category::all(&mut *desk.database.read().await?).await?;
    all.retain(|category| category.retired_at.is_none());
    Ok(all)
}

/// The categories of some ids, retired ones too, in the installation's order.
///
/// # Errors
/// Nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    desk: &Desk,
    ids: &[CategoryId],
) -> Result<Vec<Category>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    Ok(category::by_ids(&mut *desk.database.read().await?, ids).await?)
}
