//! Loads what the items of a page need before their fields ask for it, one by one.

use async_graphql::Context;

use super::{context::ContextExt as _, error::Failure};
use crate::{
    domain::{ids::AccountId, ticket::Ticket},
    service::{self, account::AccountsState},
};

/// Whether a field of a connection's items is selected, by its path.
pub(super) fn selects(ctx: &Context<'_>, path: &[&str]) -> bool {
    let connection = ctx.look_ahead();
    [connection.field("nodes"), connection.field("edges").field("node")]
        .into_iter()
        .any(|items| path.iter().fold(items, |selected, name| selected.field(name)).exists())
}

/// Loads accounts that a ticket or its timeline names: from memory if no account has changed since,
/// or else together. Those that the caller may not see are left out.
///
/// Only a query does so. The fields of a mutation and the messages of a stream are executed one
/// after the other, and each shows accounts as they are then.
pub(super) async fn accounts(
    ctx: &Context<'_>,
    ticket: &Ticket,
    ids: impl IntoIterator<Item = AccountId>,
) -> Result<(), Failure> {
    if !ctx.is_query() {
        return Ok(());
    }
    let (actor, services, loaders) = (ctx.actor()?, ctx.services()?, ctx.loaders()?);
    let state = AccountsState::of(ticket, ctx.cursor()?);
    let cached = |id| state.and_then(|state| service::account::cached(actor, services, id, state));
    let mut missing = Vec::new();
    for id in ids {
        if loaders.knows(&id) || missing.contains(&id) {
            continue;
        }
        match cached(id) {
            Some(account) => loaders.add([(id, account)]),
            None => missing.push(id),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    // A failed look-up is left to the fields, which report it.
    let loaded = loaders.load(&missing).await.unwrap_or_default();
    if let Some(state) = state {
        for account in &loaded {
            service::account::keep(services, state, account);
        }
    }
    Ok(())
}
