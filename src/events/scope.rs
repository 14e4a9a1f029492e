//! The scope of a stream: which events it is about, and where they are found.

use std::sync::Arc;

use super::{error::SubscribeError, topic::Topic};
use crate::{
    db::feed::ReplayScope,
    domain::{
        actor::Actor,
        ids::TicketId,
        policy::{self, TicketScope},
        ticket_filter::TicketFilter,
    },
    metrics::StreamKind,
};

/// The largest number of categories that a queue registers for. A queue with more of them
/// registers for all tickets.
const MAX_CATEGORY_TOPICS: usize = 100;

/// Which tickets a stream is about.
#[derive(Clone, Debug)]
pub enum StreamScope {
    /// One ticket.
    Ticket(TicketId),
    /// Every ticket that the caller may see.
    Inbox,
    /// The tickets that match a filter. For staff only.
    Queue(Arc<TicketFilter>),
}

impl StreamScope {
    /// Returns the kind of stream that has this scope.
    pub(super) fn kind(&self) -> StreamKind {
        match self {
            Self::Ticket(_) => StreamKind::Ticket,
            Self::Inbox => StreamKind::Inbox,
            Self::Queue(_) => StreamKind::Queue,
        }
    }

    /// Returns the filter of a queue.
    pub(super) fn filter(&self) -> Option<&Arc<TicketFilter>> {
        match self {
            Self::Queue(filter) => Some(filter),
            Self::Ticket(_) | Self::Inbox => None,
        }
    }

    /// Returns the topics under which a caller receives the events, and the scope in which the
    /// caller's replays find them. They may include more events than the caller may see.
    ///
    /// # Errors
    /// [`SubscribeError::Unauthenticated`] if callers of this kind have no such stream.
    pub(super) fn sources(
        &self,
        actor: &Actor,
    ) -> Result<(Vec<Topic>, ReplayScope), SubscribeError> {
        let internal = policy::sees_internal(actor);
        match (self, policy::ticket_scope(actor)) {
            (_, TicketScope::Nothing) | (Self::Queue(_), TicketScope::Of(_)) => {
                Err(SubscribeError::Unauthenticated)
            }
            (Self::Ticket(id), _) => {
                Ok((vec![Topic::Ticket(*id)], ReplayScope::Ticket { id: *id, internal }))
            }
            (Self::Inbox, TicketScope::Of(id)) => {
                Ok((vec![Topic::Customer(id)], ReplayScope::Customer(id)))
            }
            (Self::Inbox, TicketScope::All) => {
                Ok((vec![Topic::AllTickets], ReplayScope::AllTickets))
            }
            (Self::Queue(filter), TicketScope::All) => {
                Ok((queue_topics(filter), ReplayScope::AllTickets))
            }
        }
    }
}

/// Returns the topics of a queue: its categories if they are few, otherwise all tickets.
fn queue_topics(filter: &TicketFilter) -> Vec<Topic> {
    match filter.categories.as_deref() {
        Some(categories) if categories.len() <= MAX_CATEGORY_TOPICS => {
            let topics = categories.iter().copied().map(Topic::Category);
            topics.chain([Topic::UnknownCategory]).collect()
        }
        _ => vec![Topic::AllTickets],
    }
}
