//! Lists of tickets, and the tickets in the lists of staff, kept in memory.
//!
//! A list of staff is read as entries of the queue, which are narrow. A ticket that is kept is shown
//! only if its entry has the version that was read with it.

pub(super) mod cache;

use std::{collections::HashMap, sync::Arc};

use self::cache::TicketState;
use super::{
    ServiceError, Services, authorise,
    own_tickets::{self, cache::OwnList},
};
use crate::{
    db::ticket::list::{self, PageEntries},
    domain::{
        account::AccountChangeCount,
        actor::Actor,
        cursor::Cursor,
        page::{Page, Slice},
        policy::{self, Action, Resource, TicketScope},
        ticket::Ticket,
        ticket_filter::TicketListFilter,
        ticket_list::{TicketKey, TicketListOrder},
    },
};

/// Returns a page of the tickets that the actor may see. `began` is the position of the feed when
/// the request began.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn page(
    actor: &Actor,
    services: &Services,
    selection: &TicketListFilter,
    order: TicketListOrder,
    page: &Page<TicketKey>,
    began: Cursor,
) -> Result<Slice<Arc<Ticket>>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let scope = policy::ticket_scope(actor);
    if let Some(list) = OwnList::of(scope, selection, order, page) {
        return own_tickets::page(services, list, began).await;
    }
    if scope == TicketScope::All
        && list::has_entries(selection, order.sort)
        && let Some(found) = kept_page(services, selection, order, page, began).await?
    {
        return Ok(found);
    }
    let read = async |db: &mut _| list::page(db, scope, selection, order, page).await;
    let (tickets, _) = match &selection.search {
        Some(_) => services.database.read_within(services.settings.search_timeout, read).await?,
        None => read(&mut *services.database.read().await?).await?,
    };
    Ok(tickets.map(Arc::new))
}

/// Reads the entries of a page of all tickets, and those of the tickets that are not kept. `None` if a
/// ticket has changed between the two: a page must not have tickets of two moments.
async fn kept_page(
    services: &Services,
    selection: &TicketListFilter,
    order: TicketListOrder,
    page: &Page<TicketKey>,
    began: Cursor,
) -> Result<Option<Slice<Arc<Ticket>>>, ServiceError> {
    let mut db = services.database.read().await?;
    let PageEntries { tickets: entries, account_changes } =
        list::entries(&mut db, selection, order, page).await?;
    let state = |version| TicketState { version, epoch: began.epoch };
    let kept = |&(id, version)| Some((id, services.tickets.get(id, state(version))?));
    let mut found = entries.iter().filter_map(kept).collect::<HashMap<_, _>>();
    let missing = entries.iter().filter(|(id, _)| !found.contains_key(id));
    let missing = missing.copied().collect::<HashMap<_, _>>();
    if !missing.is_empty() {
        let ids = missing.keys().copied().collect::<Vec<_>>();
        for (ticket, version) in list::with_versions(&mut db, &ids).await? {
            let ticket = Arc::new(ticket);
            services.tickets.insert(Arc::clone(&ticket), state(version));
            if missing.get(&ticket.id) == Some(&version) {
                found.insert(ticket.id, ticket);
            }
        }
    }
    let read_now = |ticket| read_with(ticket, account_changes);
    let tickets = entries.iter().map(|(id, _)| found.remove(id).map(read_now));
    let tickets = tickets.collect::<Option<Vec<_>>>();
    Ok(tickets.map(|tickets| page.slice(tickets)))
}

/// Returns a ticket as if it had been read now, when accounts had changed so often.
fn read_with(ticket: Arc<Ticket>, account_changes: Option<AccountChangeCount>) -> Arc<Ticket> {
    if ticket.account_changes == account_changes {
        return ticket;
    }
    Arc::new(Ticket { account_changes, ..Ticket::clone(&ticket) })
}
