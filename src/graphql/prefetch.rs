//! Loads what the items of a page need before their fields ask for it, one by one.

use async_graphql::{
    Context,
    parser::types::{Selection, SelectionSet},
};

use super::{context::ContextExt as _, error::Failure};
use crate::{
    domain::{ids::AccountId, ticket::Ticket},
    service::{self, account::AccountsState},
};

/// Whether a field of a connection's items is selected, by its path. Asked for each ticket of a page, so
/// it allocates nothing.
pub(super) fn selects(ctx: &Context<'_>, path: &[&str]) -> bool {
    let connection = &ctx.item.node.selection_set.node;
    let items: [&[&str]; 2] = [&["nodes"], &["edges", "node"]];
    items.into_iter().any(|items| has_field(ctx, connection, items.iter().chain(path).copied()))
}

fn has_field<'p>(
    ctx: &Context<'_>,
    set: &SelectionSet,
    path: impl Iterator<Item = &'p str> + Clone,
) -> bool {
    let mut below = path.clone();
    let Some(name) = below.next() else { return true };
    set.items.iter().any(|selection| match &selection.node {
        Selection::Field(field) => {
            let set = &field.node.selection_set.node;
            field.node.name.node == name && has_field(ctx, set, below.clone())
        }
        Selection::InlineFragment(fragment) => {
            has_field(ctx, &fragment.node.selection_set.node, path.clone())
        }
        Selection::FragmentSpread(spread) => {
            let fragment = ctx.query_env.fragments.get(&spread.node.fragment_name.node);
            fragment.is_some_and(|fragment| {
                has_field(ctx, &fragment.node.selection_set.node, path.clone())
            })
        }
    })
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
