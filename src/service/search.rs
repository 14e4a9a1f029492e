//! Full-text search of tickets.

use super::{ServiceError, Services, authorise};
use crate::{
    db::search,
    domain::{
        actor::Actor,
        page::{Page, Slice},
        policy::{self, Action, Resource},
        search::{Found, FoundKey, SearchQuery},
    },
};

/// Returns a page of the tickets that match, best match first. Searches only the tickets and
/// texts that the actor may see.
///
/// # Errors
/// Returns an error if nobody is signed in, or if the search takes too long.
pub async fn page(
    actor: &Actor,
    services: &Services,
    search_query: &SearchQuery,
    page: &Page<FoundKey>,
) -> Result<Slice<Found>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let (scope, internal) = (policy::ticket_scope(actor), policy::sees_internal(actor));
    let limit = services.settings.search_timeout;
    let found = services
        .database
        .read_within(limit, async |db| search::page(db, scope, internal, search_query, page).await);
    Ok(found.await?)
}
