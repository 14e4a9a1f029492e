//! Finding people by name or e-mail address, for staff who choose one.

use super::{ServiceError, Services, authorise};
use crate::{
    db::people,
    domain::{
        account::Account,
        actor::Actor,
        policy::{Action, Resource},
        search::SearchText,
    },
};

/// Returns the people who match a text best, best match first, at most `limit`. If `staff` is
/// true, only staff. If it is false, only customers.
///
/// # Errors
/// Returns an error if the actor is not staff.
pub async fn find(
    actor: &Actor,
    services: &Services,
    text: &SearchText,
    staff: Option<bool>,
    limit: i64,
) -> Result<Vec<Account>, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    Ok(people::find(&mut *services.database.read().await?, text, staff, limit).await?)
}
