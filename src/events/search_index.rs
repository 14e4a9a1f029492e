//! Adds new texts to the search, in batches. Changed and deleted texts are not its concern: a trigger
//! changes their rows in the transaction of the change.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::consumer::Consumer;
use crate::{
    db::{Connection, DbError, consumer::SEARCH, search},
    domain::{
        event::{FeedEvent, TicketEventKind},
        ids::{CommentId, TicketId},
    },
};

/// How long to wait between two batches. New texts are found this much later at most.
const PAUSE: Duration = Duration::from_millis(250);

/// The consumer of the feed that adds new texts to the search.
pub struct SearchIndex;

impl Consumer for SearchIndex {
    fn name(&self) -> &'static str {
        SEARCH
    }

    fn pause(&self) -> Duration {
        PAUSE
    }

    fn process<'a>(
        &'a self,
        db: &'a mut Connection,
        events: &'a [Arc<FeedEvent>],
    ) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            let about_tickets = || events.iter().filter_map(|event| event.event.ticket());
            let opened = about_tickets()
                .filter(|ticket| ticket.event.kind() == TicketEventKind::TicketCreated)
                .map(|ticket| ticket.id)
                .collect::<Vec<TicketId>>();
            let added = about_tickets().filter_map(|ticket| ticket.event.comment());
            search::add(db, &opened, &added.collect::<Vec<CommentId>>()).await
        })
    }
}
