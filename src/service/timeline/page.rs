//! Pages of timelines.

use std::sync::Arc;

use crate::domain::{
    comment::Comment,
    event::FeedEvent,
    ids::{AccountId, EventId, TicketId},
    page::{Page, Slice},
};

/// A ticket whose timeline is read.
#[derive(Clone, Copy)]
pub struct TimelineOf<'t> {
    /// The ticket.
    pub id: TicketId,
    /// The customer who opened it.
    pub reporter: AccountId,
    /// Its participants.
    pub participants: &'t [AccountId],
    /// How many events it has.
    pub events: i64,
}

/// A page of a ticket's timeline.
#[derive(Debug)]
pub struct TimelinePage {
    /// The events that the actor may see, oldest first.
    pub events: Slice<Arc<FeedEvent>>,
    /// The comments of these events, if they were requested.
    pub comments: Vec<Arc<Comment>>,
}

/// Which page of a timeline is requested.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineRequest {
    /// The page.
    pub page: Page<EventId>,
    /// Whether the comments are requested too.
    pub comments: bool,
    /// Whether the events' positions in the feed are requested.
    pub cursors: bool,
}
