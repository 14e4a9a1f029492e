//! The pages of customers' own tickets that are kept in memory, and which pages they are.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use super::super::grouping::Call;
use crate::{
    db::ticket::state::PageState,
    domain::{
        ids::AccountId,
        page::{Direction, Page, Slice},
        policy::TicketScope,
        ticket::Ticket,
        ticket_filter::TicketListFilter,
        ticket_list::{TicketKey, TicketListOrder},
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
    pub(super) direction: Direction,
    limit: usize,
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
pub(in crate::service) struct OwnTicketsCache(Cache<OwnList, Arc<KeptPage>>);

impl OwnTicketsCache {
    pub(super) fn get(&self, list: &OwnList) -> Option<Arc<KeptPage>> {
        self.0.get(list)
    }

    /// Keeps a page, unless it is very large.
    pub(super) fn insert(&self, list: OwnList, page: KeptPage) {
        if page.size() <= MAX_PAGE_BYTES {
            self.0.insert(list, Arc::new(page));
        }
    }
}

impl Default for OwnTicketsCache {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MAX_BYTES).time_to_live(MAX_AGE);
        let weight = |page: &KeptPage| u32::try_from(page.size()).unwrap_or(u32::MAX);
        Self(cache.weigher(move |_, page: &Arc<KeptPage>| weight(page)).build())
    }
}

impl KeptPage {
    /// Returns about how many bytes the page takes.
    fn size(&self) -> usize {
        let of = |ticket: &Arc<Ticket>| {
            let accounts = ticket.participant_ids.len() + ticket.past_participant_ids.len();
            let texts = ticket.summary.len() + ticket.description.len();
            size_of::<Ticket>() + texts + accounts * size_of::<AccountId>()
        };
        size_of::<Self>() + self.state.size() + self.tickets.items.iter().map(of).sum::<usize>()
    }
}

impl OwnList {
    /// Returns the list, if it is one of all tickets of an account, from one of its ends.
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
        filter.is_empty().then_some(Self { account, order, direction, limit })
    }

    /// Returns the page that the list is read by.
    pub(super) fn page(&self) -> Page<TicketKey> {
        Page { direction: self.direction, after: None, before: None, limit: self.limit }
    }
}

impl Call for OwnList {
    type Answer = Option<PageState>;
}
