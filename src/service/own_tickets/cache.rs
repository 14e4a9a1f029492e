//! The pages of customers' own tickets that are kept in memory, and which pages they are.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use super::super::grouping::Call;
use crate::{
    db::ticket::state::{OwnPageState, PageState},
    domain::{
        ids::AccountId,
        page::{Direction, Page, Slice},
        policy::TicketScope,
        ticket::Ticket,
        ticket_filter::TicketListFilter,
        ticket_list::{TicketKey, TicketListOrder, TicketSort},
    },
};

/// About how many bytes all pages take at most.
const MAX_BYTES: u64 = 64 << 20;
/// The largest page that is kept, in bytes.
const MAX_PAGE_BYTES: usize = 256 << 10;
/// How long a page is kept at most.
const MAX_AGE: Duration = Duration::from_hours(1);

/// A page from one end of the list of all tickets that an account opened or takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::service) struct OwnList {
    pub(super) account: AccountId,
    pub(super) order: TicketListOrder,
    direction: Direction,
    limit: usize,
}

/// What is kept for a list.
pub(super) enum Kept {
    /// A page.
    Page(KeptPage),
    /// Nothing, since its pages cannot be confirmed: see [`OwnPageState::ManyShared`].
    ManyShared,
}

/// A page as it was read.
pub(super) struct KeptPage {
    pub(super) state: PageState,
    /// The epoch of the feed: after a restore, rows may have the same versions again.
    pub(super) epoch: i32,
    pub(super) tickets: Slice<Arc<Ticket>>,
}

/// The pages that are kept. Clones share them.
#[derive(Clone)]
pub(in crate::service) struct OwnTicketsCache(Cache<OwnList, Arc<Kept>>);

impl OwnTicketsCache {
    pub(super) fn get(&self, list: &OwnList) -> Option<Arc<Kept>> {
        self.0.get(list)
    }

    /// Keeps a page, unless it is very large.
    pub(super) fn insert(&self, list: OwnList, kept: Kept) {
        if kept.size() <= MAX_PAGE_BYTES {
            self.0.insert(list, Arc::new(kept));
        }
    }
}

impl Default for OwnTicketsCache {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MAX_BYTES).time_to_live(MAX_AGE);
        let weight = |kept: &Kept| u32::try_from(kept.size()).unwrap_or(u32::MAX);
        Self(cache.weigher(move |_, kept: &Arc<Kept>| weight(kept)).build())
    }
}

impl Kept {
    /// Returns about how many bytes this takes.
    fn size(&self) -> usize {
        let Self::Page(page) = self else { return size_of::<Self>() };
        let tickets = page.tickets.items.iter().map(|ticket| ticket.size());
        size_of::<Self>() + page.state.size() + tickets.sum::<usize>()
    }
}

impl OwnList {
    /// Returns the list, if it is one of all tickets of an account in the order in which they were
    /// opened, from one of its ends. In any other order, all of an account's tickets are read.
    pub(in crate::service) fn of(
        scope: TicketScope,
        filter: &TicketListFilter,
        order: TicketListOrder,
        page: &Page<TicketKey>,
    ) -> Option<Self> {
        let (TicketScope::Of(account), None, None) = (scope, page.after, page.before) else {
            return None;
        };
        let Page { direction, limit, .. } = *page;
        let is_kept = filter.is_empty() && order.sort == TicketSort::CreatedAt;
        is_kept.then_some(Self { account, order, direction, limit })
    }

    /// Returns whether the tickets that were opened last are read first.
    pub(super) fn reads_newest_first(&self) -> bool {
        self.order.reads_descending(self.direction)
    }

    /// Returns the page that the list is read by.
    pub(super) fn page(&self) -> Page<TicketKey> {
        Page { direction: self.direction, after: None, before: None, limit: self.limit }
    }
}

impl Call for OwnList {
    /// `None` if it could not be read.
    type Answer = Option<OwnPageState>;
}
