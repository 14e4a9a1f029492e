//! Finding people by name or address, for pickers.

use async_graphql::{Context, Object};

use super::{
    account::Account, context::ContextExt as _, error::Failure, executor::List, pagination::cost,
};
use crate::{
    domain::{page::MAX_PAGE, search::SearchText},
    service,
};

/// The default of `first`.
const DEFAULT_PEOPLE: i32 = 10;

#[derive(Default)]
pub struct PeopleQuery;

#[Object]
impl PeopleQuery {
    /// The people whose name or e-mail address matches a text, best match first: for picking
    /// an assignee or a customer as you type. Staff only.
    ///
    /// People whose name or address starts with the text come first, then those with a later
    /// part of the name that does, then those whose name or address is spelled similarly.
    /// Letter case and accents do not matter. Disabled accounts are left out, and a text without letters
    /// or digits matches nobody. `accounts` lists all accounts, for admins.
    #[graphql(complexity = "cost(Some(first), None, child_complexity)")]
    async fn people(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A name or an e-mail address, or its beginning: 1 to 255 characters.")]
        text: String,
        #[graphql(
            desc = "True returns only staff, to whom tickets can be assigned; false only customers; null both."
        )]
        is_staff: Option<bool>,
        #[graphql(
            desc = "Return at most this many people: 0 to 100.",
            default_with = "DEFAULT_PEOPLE"
        )]
        first: i32,
    ) -> Result<List<Account>, Failure> {
        service::ticket::require_staff(ctx.actor()?)?;
        let text = SearchText::parse(&text).map_err(|error| {
            Failure::bad_request(format!("`text` {error}. Send a name or an e-mail address."))
        })?;
        let limit = usize::try_from(first).ok().filter(|&first| first <= MAX_PAGE);
        if limit.is_none() {
            return Err(Failure::bad_request(format!("`first` must be between 0 and {MAX_PAGE}.")));
        }
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let found = service::people::find(actor, services, &text, is_staff, first.into()).await?;
        Ok(found.into_iter().map(Account::new).collect())
    }
}
