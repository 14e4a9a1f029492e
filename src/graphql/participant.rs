//! The customers who take part in a ticket.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    ticket::Ticket,
};
use crate::service::{self, UserErrorCode};

/// What `addParticipant` takes.
#[derive(InputObject)]
pub struct AddParticipantInput {
    /// The ticket: one that you opened, or any if you are staff.
    ticket_id: ID,
    /// The e-mail address that the customer signs in with.
    email: String,
}

/// What `addParticipant` answers.
#[derive(SimpleObject)]
pub struct AddParticipantPayload {
    /// The ticket as it stands now.
    ticket: Option<Ticket>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `removeParticipant` takes.
#[derive(InputObject)]
pub struct RemoveParticipantInput {
    /// The ticket.
    ticket_id: ID,
    /// The account of the customer: your own, if you want to leave the ticket.
    account_id: ID,
}

/// What `removeParticipant` answers.
#[derive(SimpleObject)]
pub struct RemoveParticipantPayload {
    /// The ticket as it stands now; null if you have left it, and don't see it any more.
    ticket: Option<Ticket>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct ParticipantMutation;

#[Object]
impl ParticipantMutation {
    /// Lets another customer take part in a ticket that is not closed: they see it and
    /// its public history, are told of what happens as its reporter is, and may comment.
    /// Where they take part already, nothing changes. After 10 addresses that no customer
    /// has you have to wait.
    async fn add_participant(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom to add, and where.")] input: AddParticipantInput,
    ) -> Result<AddParticipantPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let (services, origin) = (ctx.services()?, ctx.origin()?);
        let added =
            service::participant::add(ctx.actor()?, services, id, &input.email, origin).await;
        Ok(match Outcome::of(added)? {
            Outcome::Done(ticket) => {
                AddParticipantPayload { ticket: Some(Ticket(ticket)), user_errors: vec![] }
            }
            Outcome::Refused { errors, current } => {
                AddParticipantPayload { ticket: current.map(Ticket), user_errors: errors }
            }
        })
    }

    /// Lets a customer take part in a ticket no longer: by its reporter, by staff, or by
    /// themselves. Their streams of it end with `AccessRevoked`, it leaves their bell, and
    /// no more mail about it goes to them. Where they don't take part, nothing changes.
    async fn remove_participant(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom to remove, and where.")] input: RemoveParticipantInput,
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
                "`accountId` names no account.",
            )
            .into()),
        };
        Ok(match Outcome::of(removed)? {
            Outcome::Done(ticket) => {
                RemoveParticipantPayload { ticket: ticket.map(Ticket), user_errors: vec![] }
            }
            Outcome::Refused { errors, current } => {
                RemoveParticipantPayload { ticket: current.map(Ticket), user_errors: errors }
            }
        })
    }
}
