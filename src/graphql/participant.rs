//! Participants: customers with whom a ticket is shared.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    ticket::Ticket,
};
use crate::service::{self, UserErrorCode};

/// The input of `addParticipant`.
#[derive(InputObject)]
pub struct AddParticipantInput {
    /// The id of the ticket: one that you opened, or any ticket if you are staff.
    ticket_id: ID,
    /// The e-mail address that the customer signs in with, in any letter case.
    email: String,
}

/// The payload of `addParticipant`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct AddParticipantPayload {
    /// The ticket with its new participant, or null if nobody was added.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

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
    /// Shares a ticket with another customer. The new participant sees the ticket with its
    /// public history, may comment, and is notified like the customer who opened it.
    /// Adding somebody twice changes nothing.
    ///
    /// For the customer who opened the ticket, and for staff; others get `FORBIDDEN`, or
    /// `NOT_FOUND` if they may not see the ticket. User errors: `NOT_FOUND` if no active
    /// customer has the address, `TICKET_CLOSED`, and `TOO_MANY` beyond 50 participants or
    /// 200 former ones. Failed calls are counted: `RATE_LIMITED` after 10 within 15 minutes.
    async fn add_participant(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket and the customer to add.")] input: AddParticipantInput,
    ) -> Result<AddParticipantPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let (services, origin) = (ctx.services()?, ctx.origin()?);
        let added =
            service::participant::add(ctx.actor()?, services, id, &input.email, origin).await;
        Ok(match Outcome::of(added)? {
            Outcome::Done(ticket) => {
                AddParticipantPayload { ticket: Some(Ticket::new(ticket)), user_errors: vec![] }
            }
            Outcome::Rejected { errors, current, .. } => {
                AddParticipantPayload { ticket: current.map(Ticket::new), user_errors: errors }
            }
        })
    }

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
        let removed = match GlobalId::account(&input.account_id) {
            Some(account) => {
                service::participant::remove(ctx.actor()?, ctx.services()?, id, account).await
            }
            None => Err(service::UserError::new(
                "accountId",
                UserErrorCode::NotFound,
                "`accountId` is not the id of an account.",
            )
            .into()),
        };
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
