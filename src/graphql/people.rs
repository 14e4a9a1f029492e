//! Finding people, for whoever picks one.

use async_graphql::{Context, Object};

use super::{account::Account, context::ContextExt as _, error::Failure, pagination::cost};
use crate::{
    domain::{page::MAX_PAGE, search::SearchText},
    service,
};

/// So many people where the caller doesn't say.
const DEFAULT_PEOPLE: i32 = 10;

#[derive(Default)]
pub struct PeopleQuery;

#[Object]
impl PeopleQuery {
    /// The people that a text fits best, for staff who pick an assignee or a customer: those
    /// whose name or e-mail address begins with it, then those one of whose names does, then
    /// those that differ in a letter. Disabled accounts are left out.
    #[graphql(complexity = "cost(Some(first), None, child_complexity)")]
    async fn people(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A name or an e-mail address, or how it begins: 1 to 255 characters.")]
        text: String,
        #[graphql(
            desc = "True: only staff, whom tickets can be assigned to. False: only customers."
        )]
        is_staff: Option<bool>,
        #[graphql(desc = "So many at most, 0 to 100.", default_with = "DEFAULT_PEOPLE")] first: i32,
    ) -> Result<Vec<Account>, Failure> {
        service::ticket::require_staff(ctx.actor()?)?;
        let text = SearchText::parse(&text).map_err(|error| {
            Failure::bad_request(format!("`text` {error}. Give a name or an e-mail address."))
        })?;
        let limit = usize::try_from(first).ok().filter(|&first| first <= MAX_PAGE);
        if limit.is_none() {
            return Err(Failure::bad_request(format!("`first` takes 0 to {MAX_PAGE}.")));
        }
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let found = service::people::find(actor, services, &text, is_staff, first.into()).await?;
        Ok(found.into_iter().map(Account::new).collect())
    }
}
