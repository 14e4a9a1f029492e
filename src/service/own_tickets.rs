//! The pages on which customers see their own tickets, kept in memory.
//!
//! A page that is kept is shown only after the database has confirmed its state: that it has the
//! same tickets, unchanged. Pages that are asked for at the same time are confirmed by one statement
//! (`grouping.rs`), which returns a few hundred bytes for each.

pub(super) mod cache;

use std::{iter, sync::Arc};

use self::cache::{Kept, KeptPage, OwnList};
use super::{
    ServiceError, Services,
    grouping::{Turn, Waiting, submit},
};
use crate::{
    db::{
        DbError,
        ticket::{
            list,
            state::{self, OwnPage, OwnPageState},
        },
    },
    domain::{
        budget::RequestBudget, cursor::Cursor, page::Slice, policy::TicketScope, ticket::Ticket,
        ticket_filter::TicketListFilter,
    },
};

/// Returns a page of an account's tickets: the one that is kept, if it is still true. `began` is the
/// position of the feed when the request began.
///
/// # Errors
/// The database failed, or the request has exceeded its budget.
pub(super) async fn page(
    services: &Services,
    list: OwnList,
    began: Cursor,
) -> Result<Slice<Arc<Ticket>>, ServiceError> {
    let mut is_kept = true;
    match services.own_tickets.get(&list).as_deref() {
        Some(Kept::ManyShared) => is_kept = false,
        Some(Kept::Page(kept)) if kept.epoch == began.epoch => match state(services, list).await? {
            Some(OwnPageState::Known(state)) if state == kept.state => {
                return Ok(kept.tickets.clone());
            }
            Some(OwnPageState::ManyShared) => {
                is_kept = false;
                services.own_tickets.insert(list, Kept::ManyShared);
            }
            Some(OwnPageState::Known(_)) | None => {}
        },
        _ => {}
    }
    let mut connection = services.database.read().await?;
    let (scope, all) = (TicketScope::Of(list.account), TicketListFilter::default());
    let (tickets, state) =
        list::page(&mut connection, scope, &all, list.order, &list.page()).await?;
    let tickets = tickets.map(Arc::new);
    if is_kept {
        let kept = KeptPage { state, epoch: began.epoch, tickets: tickets.clone() };
        services.own_tickets.insert(list, Kept::Page(kept));
    }
    Ok(tickets)
}

/// Returns the state of a page, read together with others. `None` if that failed.
async fn state(services: &Services, list: OwnList) -> Result<Option<OwnPageState>, ServiceError> {
    if let Some(budget) = RequestBudget::current() {
        budget.add_statement().map_err(DbError::from)?;
    }
    let all = services.clone();
    submit(&services.own_lists, list, move |group, turn| confirm(all.clone(), group, turn)).await
}

async fn confirm(services: Services, group: Vec<Waiting<OwnList>>, mut turn: Turn<OwnList>) {
    turn.wait().await;
    let (newest_first, oldest_first): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|waiting| waiting.call.reads_newest_first());
    let halves = [(true, newest_first), (false, oldest_first)].into_iter();
    let mut halves = halves.filter(|(_, lists)| !lists.is_empty()).peekable();
    while let Some((newest_first, lists)) = halves.next() {
        let page =
            |list: &OwnList| OwnPage { account: list.account, limit: list.page().fetch_limit() };
        let pages = lists.iter().map(|waiting| page(&waiting.call)).collect::<Vec<_>>();
        let states = match services.database.read().await {
            Ok(mut db) => state::of_own_pages(&mut db, newest_first, &pages).await,
            Err(error) => Err(error),
        };
        let states = states.unwrap_or_else(|error| {
            tracing::warn!(%error, "confirming pages of tickets failed; they are read one by one");
            vec![]
        });
        if halves.peek().is_none() {
            turn.end().await;
        }
        let states = states.into_iter().map(Some).chain(iter::repeat(None));
        for (waiting, state) in lists.into_iter().zip(states) {
            waiting.answer(Ok(state));
        }
    }
}
