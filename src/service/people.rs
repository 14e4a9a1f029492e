//! Finding people, for whoever picks one.

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

/// The people that a text fits best, the best first. `staff`: only staff, or only others.
///
/// # Errors
/// Not staff.
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
