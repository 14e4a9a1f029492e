//! Merging tickets, and undoing it.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    comment::{Comment, said, seen_up_to},
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    executor::List,
    id::GlobalId,
    ticket::Ticket,
};
use crate::{domain::ids::TicketId, service};

/// The input of `mergeTicket`.
#[derive(InputObject)]
pub struct MergeTicketInput {
    /// The ticket to merge. It is closed.
    ticket_id: ID,
    /// The ticket in which it continues.
    into_id: ID,
    /// The id of the last event or comment of the ticket to merge that you have seen. Fail with
    /// `ANSWERED_MEANWHILE` if others have commented on it since, and with `NOT_FOUND` if it is no
    /// event or comment of it.
    seen_up_to: Option<ID>,
}

/// The payload of `mergeTicket`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct MergeTicketPayload {
    /// The ticket that was merged. On `ANSWERED_MEANWHILE` the current ticket, on other failures null.
    ticket: Option<Ticket>,
    /// The ticket in which it continues, or null on failure.
    into: Option<Ticket>,
    /// With `ANSWERED_MEANWHILE`, what others have said since `seenUpTo`, oldest first: at most 20
    /// comments. Otherwise empty. To write anyway, repeat the call with the id of the last of these
    /// comments as `seenUpTo`.
    #[graphql(complexity = "1 + 20 * child_complexity")]
    answered_meanwhile: List<Comment>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `unmergeTicket`.
#[derive(InputObject)]
pub struct UnmergeTicketInput {
    /// The ticket that was merged.
    ticket_id: ID,
}

/// The payload of `unmergeTicket`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UnmergeTicketPayload {
    /// The ticket that was merged, or null on failure.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct MergeMutation;

#[Object]
impl MergeMutation {
    /// Merges a ticket into another one, in which it continues. Staff only. The ticket is closed and
    /// stays readable for who can see it. Its customers are invited to the other ticket, except those
    /// who take part in it, are invited or have declined already. If it was waiting for support, the
    /// other ticket does then, although it was waiting for the customer or resolved. `unmergeTicket`
    /// undoes it for 24 hours, except for the status of the other ticket.
    ///
    /// Fails with `NOT_FOUND` if the ticket does not exist. User errors: `NOT_FOUND` if the other one
    /// does not exist; `INVALID` if both are the same; `TICKET_MERGED` if either was merged: the
    /// message names the ticket in which it continues; `TICKET_CLOSED` if the other is closed;
    /// `ANSWERED_MEANWHILE` if others have commented since `seenUpTo`; and `TOO_MANY` if it would
    /// have more than 50 participants and open invitations, or 50 tickets were merged into it. Its
    /// invitations are counted like those of `inviteParticipant`: `RATE_LIMITED` after 3 invitations
    /// of one address within a day, 10 from everybody within an hour.
    async fn merge_ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket to merge, and the one in which it continues.")]
        input: MergeTicketInput,
    ) -> Result<MergeTicketPayload, Failure> {
        let id = require_ticket(ctx, &input.ticket_id)?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let seen_up_to = seen_up_to(ctx, id, input.seen_up_to.as_ref()).await?;
        let merged = match GlobalId::ticket(&input.into_id) {
            Some(into) => service::merge::merge(actor, services, id, into, seen_up_to).await,
            None => Err(service::merge::unknown_target().into()),
        };
        Ok(match Outcome::of(merged)? {
            Outcome::Done((ticket, into)) => MergeTicketPayload {
                ticket: Some(Ticket::new(ticket)),
                into: Some(Ticket::new(into)),
                answered_meanwhile: List(vec![]),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, current, meanwhile } => MergeTicketPayload {
                ticket: current.map(Ticket::new),
                into: None,
                answered_meanwhile: said(meanwhile),
                user_errors: errors,
            },
        })
    }

    /// Undoes a merge in the first 24 hours after it. Staff only. The ticket gets the status back
    /// that it had. Invitations of the merge that are still open are withdrawn, unless another merge
    /// needs them or somebody has invited the address too; customers who have accepted one keep taking
    /// part in the other ticket.
    ///
    /// Fails with `NOT_FOUND` if the ticket does not exist. User errors: `INVALID` if it is not
    /// merged; `TICKET_MERGED` if the other ticket was itself merged since: undo that first; and
    /// `TOO_LATE` after 24 hours.
    async fn unmerge_ticket(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket that was merged.")] input: UnmergeTicketInput,
    ) -> Result<UnmergeTicketPayload, Failure> {
        let id = require_ticket(ctx, &input.ticket_id)?;
        let unmerged = service::merge::unmerge(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(unmerged)? {
            Outcome::Done(ticket) => {
                UnmergeTicketPayload { ticket: Some(Ticket::new(ticket)), user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                UnmergeTicketPayload { ticket: None, user_errors: errors }
            }
        })
    }
}

/// Returns the ticket that an input names, for staff.
fn require_ticket(ctx: &Context<'_>, id: &ID) -> Result<TicketId, Failure> {
    ctx.identity()?;
    service::ticket::require_staff(ctx.actor()?)?;
    GlobalId::ticket(id).ok_or_else(Failure::not_found)
}
