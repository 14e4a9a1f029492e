//! What people have read of tickets.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::{self, GlobalId},
    ticket::Ticket,
};
use crate::service::{self, unread::UpTo};

/// What `markTicketRead` takes.
#[derive(InputObject)]
pub struct MarkTicketReadInput {
    /// The ticket.
    ticket_id: ID,
    /// The `id` of the last event that you have seen, so that what came meanwhile stays
    /// unread; without it: all that there is now.
    up_to: Option<ID>,
}

/// What `markTicketRead` answers.
#[derive(SimpleObject)]
pub struct MarkTicketReadPayload {
    /// The ticket.
    ticket: Option<Ticket>,
    /// As `viewer.unreadTicketCount` is now.
    unread_ticket_count: Option<i64>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct UnreadMutation;

#[Object]
impl UnreadMutation {
    /// Notes that you have read a ticket, on whatever device. It only moves forward: what
    /// you had read further stays read. Other devices hear of it with the next message of
    /// their `notifications`.
    async fn mark_ticket_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket, and how much of it.")] input: MarkTicketReadInput,
    ) -> Result<MarkTicketReadPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let up_to = input.up_to.map_or(UpTo::Now, |event| UpTo::Event(id::event(&event)));
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let marked = service::unread::mark_read(actor, services, id, up_to).await;
        Ok(match Outcome::of(marked)? {
            Outcome::Done(ticket) => MarkTicketReadPayload {
                ticket: Some(Ticket(ticket)),
                unread_ticket_count: Some(service::unread::counts(actor, services).await?.unread),
                user_errors: vec![],
            },
            Outcome::Refused { errors, current } => MarkTicketReadPayload {
                ticket: current.map(Ticket),
                unread_ticket_count: None,
                user_errors: errors,
            },
        })
    }
}
