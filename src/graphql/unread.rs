//! Read marks: how far each person has read a ticket.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::{self, GlobalId},
    ticket::Ticket,
};
use crate::service::{self, unread::UpTo};

/// The input of `markTicketRead`.
#[derive(InputObject)]
pub struct MarkTicketReadInput {
    /// The id of the ticket.
    ticket_id: ID,
    /// The id of the last event of the ticket that you have seen; later events stay unread.
    /// Without it, everything up to now is marked as read.
    up_to: Option<ID>,
}

/// The payload of `markTicketRead`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct MarkTicketReadPayload {
    /// The ticket, or null on failure.
    ticket: Option<Ticket>,
    /// The new value of `viewer.unreadTicketCount`, or null on failure.
    unread_ticket_count: Option<i64>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct UnreadMutation;

#[Object]
impl UnreadMutation {
    /// Marks a ticket as read for you, on all your devices. The mark only moves forward: an
    /// earlier `upTo` changes nothing. Your other devices receive the new count in their
    /// `notifications` stream: at once those on the same node, the others within 30 seconds.
    ///
    /// Fails with `NOT_FOUND` if you may not see the ticket. An `upTo` that is not an event of
    /// the ticket, or one that you may not see, is the user error `NOT_FOUND`. Fails with `RATE_LIMITED`
    /// if a customer sets more marks within a minute than the installation allows.
    async fn mark_ticket_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket, and up to which event it was read.")]
        input: MarkTicketReadInput,
    ) -> Result<MarkTicketReadPayload, Failure> {
        let account = ctx.identity()?.id;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let up_to = input.up_to.map_or(UpTo::Now, |event| UpTo::Event(id::event(&event)));
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let marked = service::unread::mark_read(actor, services, id, up_to).await;
        Ok(match Outcome::of(marked)? {
            Outcome::Done(marked) => {
                if marked.has_changed {
                    ctx.log()?.announce_read(account);
                }
                MarkTicketReadPayload {
                    ticket: Some(Ticket::new(marked.ticket)),
                    unread_ticket_count: Some(
                        service::unread::counts(actor, services).await?.unread,
                    ),
                    user_errors: vec![],
                }
            }
            Outcome::Rejected { errors, current, .. } => MarkTicketReadPayload {
                ticket: current.map(Ticket::new),
                unread_ticket_count: None,
                user_errors: errors,
            },
        })
    }
}
