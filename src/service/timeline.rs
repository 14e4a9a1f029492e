//! The timeline of a ticket, read from the event log.

pub(super) mod cache;
mod page;

use std::{collections::HashMap, sync::Arc};

use self::cache::{CommentKey, PageKey};
pub use self::page::{TimelineOf, TimelinePage, TimelineRequest};
use super::{ServiceError, Services, authorise};
use crate::{
    db::{comment, timeline},
    domain::{
        actor::Actor,
        comment::{Comment, Visibility},
        cursor::Cursor,
        ids::{CommentId, TicketId},
        policy::{self, Action, Resource},
        ticket::Ticket,
    },
};

/// Returns a page of a ticket's timeline if it is in memory.
///
/// # Errors
/// Returns an error if the actor may not see the ticket.
pub fn cached(
    actor: &Actor,
    services: &Services,
    ticket: &TimelineOf<'_>,
    request: &TimelineRequest,
    fallback: Cursor,
) -> Result<Option<Arc<TimelinePage>>, ServiceError> {
    authorise_view(actor, ticket)?;
    Ok(services.timelines.page(key(actor, ticket, request, fallback)))
}

fn authorise_view(actor: &Actor, ticket: &TimelineOf<'_>) -> Result<(), ServiceError> {
    let TimelineOf { reporter, participants, .. } = *ticket;
    authorise(actor, Action::ViewTicket, Resource::Ticket { reporter, participants })
}

fn key(
    actor: &Actor,
    ticket: &TimelineOf<'_>,
    request: &TimelineRequest,
    fallback: Cursor,
) -> PageKey {
    PageKey {
        ticket: ticket.id,
        events: ticket.events,
        internal: policy::sees_internal(actor),
        request: request.clone(),
        epoch: fallback.epoch,
    }
}

/// Returns a comment that the caller may see, if it is in memory. `ticket` was read in this request,
/// which began at `cursor`.
pub fn cached_comment(
    services: &Services,
    ticket: &Ticket,
    id: CommentId,
    cursor: Cursor,
) -> Option<Arc<Comment>> {
    services.timelines.comment(CommentKey { id, events: ticket.events, epoch: cursor.epoch })
}

/// Keeps a comment in memory. `ticket` was read in this request, which began at `cursor`, before the
/// comment.
pub fn keep_comment(services: &Services, ticket: &Ticket, comment: &Arc<Comment>, cursor: Cursor) {
    let key = CommentKey { id: comment.id, events: ticket.events, epoch: cursor.epoch };
    services.timelines.insert_comment(key, Arc::clone(comment));
}

/// Reads a page of each ticket's timeline, and keeps it in memory. Tickets are left out if an event
/// that limits the page is not among those that the actor may see of them. Events that have no
/// position in the feed yet get the cursor `fallback`.
///
/// # Errors
/// Returns an error if the actor may not see one of the tickets.
pub async fn pages(
    actor: &Actor,
    services: &Services,
    tickets: &[TimelineOf<'_>],
    request: &TimelineRequest,
    fallback: Cursor,
) -> Result<HashMap<TicketId, Arc<TimelinePage>>, ServiceError> {
    tickets.iter().try_for_each(|ticket| authorise_view(actor, ticket))?;
    let internal = policy::sees_internal(actor);
    let ids = tickets.iter().map(|ticket| ticket.id).collect::<Vec<_>>();
    let mut connection = services.database.read().await?;
    let mut timelines =
        timeline::pages(&mut connection, &ids, internal, &request.page, request.cursors, fallback)
            .await?;
    let mut comments = HashMap::<TicketId, Vec<Arc<Comment>>>::new();
    let requested = if request.comments { comments_of(&timelines) } else { vec![] };
    if !requested.is_empty() {
        for comment in comment::of_events(&mut connection, &requested).await? {
            // Customers do not see events about internal notes either.
            if internal || comment.visibility == Visibility::Public {
                comments.entry(comment.ticket_id).or_default().push(Arc::new(comment));
            }
        }
    }
    let mut pages = HashMap::new();
    for ticket in tickets {
        let Some(timeline) = timelines.remove(&ticket.id) else { continue };
        let page = Arc::new(TimelinePage {
            events: timeline.events.map(Arc::new),
            comments: comments.remove(&ticket.id).unwrap_or_default(),
        });
        if timeline.is_placed {
            services
                .timelines
                .insert_page(key(actor, ticket, request, fallback), Arc::clone(&page));
        }
        pages.insert(ticket.id, page);
    }
    Ok(pages)
}

fn comments_of(timelines: &HashMap<TicketId, timeline::Timeline>) -> Vec<CommentId> {
    let events = timelines.values().flat_map(|timeline| &timeline.events.items);
    events
        .filter_map(|event| event.event.ticket().and_then(|ticket| ticket.event.comment()))
        .collect()
}
