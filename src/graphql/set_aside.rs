//! Events that a consumer of the log could not process, for admins.

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::{GlobalId, event_id},
    ticket::Ticket,
};
use crate::{
    domain::set_aside,
    service::{
        self,
        set_aside::{MAX_LISTED, not_set_aside},
    },
};

/// An event that could not be processed, so that nobody was notified of it, in the app or by mail.
/// It was set aside, and the events after it were processed.
#[derive(Description)]
pub struct SetAsideEvent(set_aside::SetAsideEvent);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl SetAsideEvent {
    /// An opaque identifier. Store it and send it back unchanged. `node` does not accept it.
    async fn id(&self) -> ID {
        GlobalId::SetAsideEvent(self.0.id).into()
    }

    /// The name of the server's task that could not process the event: `notifications`.
    async fn consumer(&self) -> &str {
        &self.0.consumer
    }

    /// The id of the event, as in timelines and streams.
    async fn event_id(&self) -> ID {
        event_id(self.0.event_id)
    }

    /// The ticket of the event, or null if the event is not about a ticket.
    async fn ticket(&self, ctx: &Context<'_>) -> Result<Option<Ticket>, Failure> {
        match self.0.ticket_id {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Ticket)),
            None => Ok(None),
        }
    }

    /// The error of the last attempt, for the operator.
    async fn error(&self) -> &str {
        &self.0.error
    }

    /// How often the event was attempted alone.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }

    /// When the event was set aside.
    async fn set_aside_at(&self) -> DateTime<Utc> {
        self.0.set_aside_at
    }

    /// When the event was last attempted.
    async fn attempted_at(&self) -> DateTime<Utc> {
        self.0.attempted_at
    }

    /// When another attempt was requested, or null if none is waiting.
    async fn retry_requested_at(&self) -> Option<DateTime<Utc>> {
        self.0.retry_requested_at
    }
}

/// The input of `retrySetAside`.
#[derive(InputObject)]
pub struct RetrySetAsideInput {
    /// The ids of the events to try again: at most 100.
    ids: Vec<ID>,
}

/// The payload of `retrySetAside`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RetrySetAsidePayload {
    /// The events that will be tried again, or null on failure.
    #[graphql(complexity = "1 + MAX_LISTED * child_complexity")]
    set_aside_events: Option<Vec<SetAsideEvent>>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct SetAsideQuery;

#[Object]
impl SetAsideQuery {
    /// The events that could not be processed and wait for another attempt, in the order of the
    /// event log: the first 100. Admins only.
    #[graphql(complexity = "1 + MAX_LISTED * child_complexity")]
    async fn set_aside_events(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<SetAsideEvent>>, Failure> {
        let events = service::set_aside::list(ctx.actor()?, ctx.services()?).await?;
        Ok(Some(events.into_iter().map(SetAsideEvent).collect()))
    }
}

#[derive(Default)]
pub struct SetAsideMutation;

#[Object]
impl SetAsideMutation {
    /// Tries events that were set aside again, within a few seconds. Those that succeed disappear
    /// from `setAsideEvents`; nobody is notified twice. Admins only. User error: `NOT_FOUND` if
    /// one of the events is not set aside.
    async fn retry_set_aside(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The events to try again.")] input: RetrySetAsideInput,
    ) -> Result<RetrySetAsidePayload, Failure> {
        if input.ids.len() > MAX_LISTED {
            let message = format!("`ids` must have at most {MAX_LISTED} items.");
            return Err(Failure::bad_request(message));
        }
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let ids = input.ids.iter().map(GlobalId::set_aside).collect::<Option<Vec<_>>>();
        let requested = match ids {
            Some(ids) => service::set_aside::retry(actor, services, &ids).await,
            // Those who may not retry events are told so first.
            None => service::set_aside::count(actor, services).await.and(Err(not_set_aside())),
        };
        Ok(match Outcome::of(requested)? {
            Outcome::Done(events) => RetrySetAsidePayload {
                set_aside_events: Some(events.into_iter().map(SetAsideEvent).collect()),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                RetrySetAsidePayload { set_aside_events: None, user_errors: errors }
            }
        })
    }
}
