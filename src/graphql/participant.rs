//! Participants: customers with whom a ticket is shared.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    ticket::Ticket,
};
use crate::service;

/// The input of `removeParticipant`.
#[derive(InputObject)]
pub struct RemoveParticipantInput {
    /// The id of the ticket.
    ticket_id: ID,
    /// The id of the participant's account. Pass your own to leave the ticket.
    account_id: ID,
}

/// The payload of `removeParticipant`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RemoveParticipantPayload {
    /// The ticket after the change. Null if you have just left it and may not see it any
    /// more, or if the call failed.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct ParticipantMutation;

#[Object]
impl ParticipantMutation {
    /// Removes a participant from a ticket. Their live stream of the ticket ends with
    /// `AccessRevoked`, their notifications about it are deleted, and they get no more mail
    /// about it. Removing somebody who does not take part changes nothing.
    ///
    /// For the customer who opened the ticket, for staff, and for the participants
    /// themselves; others get `FORBIDDEN`, or `NOT_FOUND` if they may not see the ticket.
    /// User errors: `NOT_FOUND` for a malformed `accountId`, and `INVALID` for the customer
    /// who opened the ticket.
    async fn remove_participant(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket and the participant to remove.")]
        input: RemoveParticipantInput,
    ) -> Result<RemoveParticipantPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let account = GlobalId::account(&input.account_id);
        let removed =
            service::participant::remove(ctx.actor()?, ctx.services()?, id, account).await;
        Ok(match Outcome::of(removed)? {
            Outcome::Done(ticket) => {
                RemoveParticipantPayload { ticket: ticket.map(Ticket::new), user_errors: vec![] }
            }
            Outcome::Rejected { errors, current, .. } => {
                RemoveParticipantPayload { ticket: current.map(Ticket::new), user_errors: errors }
            }
        })
    }
}
