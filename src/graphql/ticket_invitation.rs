//! Invitations to take part in a ticket.

use std::sync::Arc;

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    text::Text,
    ticket::Ticket,
};
use crate::{
    domain::{ids::TicketInvitationId, ticket_invitation},
    service,
};

/// An open invitation to take part in a ticket, as those see it who may share the ticket. It does
/// not say whether its address has an account.
#[derive(Description)]
pub struct TicketInvitation(pub Arc<ticket_invitation::TicketInvitation>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl TicketInvitation {
    /// An opaque identifier. Store it and send it back unchanged. `node` does not accept it.
    async fn id(&self) -> ID {
        GlobalId::TicketInvitation(self.0.id).into()
    }

    /// The address that is invited.
    async fn email(&self) -> Text<&str> {
        Text(self.0.email.as_str())
    }

    /// The customer who opened the ticket, or the member of staff, who invites.
    async fn invited_by(&self, ctx: &Context<'_>) -> Result<Account, Failure> {
        Ok(Account::new(ctx.loaders()?.require(self.0.invited_by).await?))
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it expires: 14 days after it was created.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.expires_at
    }
}

/// An open invitation that you can accept or decline. It says nothing of what was written in the
/// ticket.
#[derive(Description)]
pub struct ReceivedInvitation(ticket_invitation::ReceivedInvitation);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl ReceivedInvitation {
    /// An opaque identifier. Store it and send it back unchanged. `node` does not accept it.
    async fn id(&self) -> ID {
        GlobalId::TicketInvitation(self.0.invitation.id).into()
    }

    /// The number of the ticket, such as `CS-234567`.
    async fn ticket_number(&self, ctx: &Context<'_>) -> Result<String, Failure> {
        Ok(ctx.services()?.number_prefix().format(self.0.ticket_number))
    }

    /// The name of who invites you.
    async fn invited_by_name(&self) -> Text<&str> {
        Text(&self.0.invited_by_name)
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.invitation.created_at
    }

    /// When it expires: 14 days after it was created.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.invitation.expires_at
    }
}

impl ReceivedInvitation {
    /// Loads the caller's.
    pub(super) async fn of_viewer(ctx: &Context<'_>) -> Result<Vec<Self>, Failure> {
        let found = service::ticket_invitation::received(ctx.actor()?, ctx.services()?).await?;
        Ok(found.into_iter().map(Self).collect())
    }
}

/// The input of `inviteParticipant`.
#[derive(InputObject)]
pub struct InviteParticipantInput {
    /// The id of the ticket: one that you opened, or any ticket if you are staff.
    ticket_id: ID,
    /// The e-mail address that the customer signs in with, in any letter case.
    email: String,
}

/// The payload of `inviteParticipant`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct InviteParticipantPayload {
    /// The open invitation, or null on failure.
    invitation: Option<TicketInvitation>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `withdrawInvitation`.
#[derive(InputObject)]
pub struct WithdrawInvitationInput {
    /// The id of the invitation.
    invitation_id: ID,
}

/// The payload of `withdrawInvitation`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct WithdrawInvitationPayload {
    /// The ticket, or null on failure.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `acceptInvitation`.
#[derive(InputObject)]
pub struct AcceptInvitationInput {
    /// The id of the invitation.
    invitation_id: ID,
}

/// The payload of `acceptInvitation`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct AcceptInvitationPayload {
    /// The ticket, which you can see from now on. Null on failure.
    ticket: Option<Ticket>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `declineInvitation`.
#[derive(InputObject)]
pub struct DeclineInvitationInput {
    /// The id of the invitation.
    invitation_id: ID,
}

/// The payload of `declineInvitation`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct DeclineInvitationPayload {
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct TicketInvitationMutation;

#[Object]
impl TicketInvitationMutation {
    /// Invites a customer to take part in a ticket. They see nothing of it, and get no mail about
    /// it except one that says that they are invited, before they accept: see
    /// `viewer.invitations`. Then they see the ticket with its public history, may comment, and
    /// are notified like the customer who opened it.
    ///
    /// The answer is the same whether a customer has the address or not. An invitation of an
    /// address without an account is not mailed, and can be accepted once somebody has an account
    /// with it. It expires after 14 days. Inviting an address again returns its open invitation,
    /// which is mailed again.
    ///
    /// For the customer who opened the ticket, and for staff; others get `FORBIDDEN`, or
    /// `NOT_FOUND` if they may not see the ticket. User errors: `INVALID` for your own address
    /// and for one of staff, and for staff also for somebody who takes part already: customers do not
    /// learn who has an account. `NOT_AVAILABLE` if an invitation of the address to the ticket was
    /// declined in the last 14 days; `TICKET_CLOSED` or `TICKET_MERGED`; and `TOO_MANY` beyond 50
    /// participants and open invitations, or 200 former participants. Calls are counted:
    /// `RATE_LIMITED` after 20 within an hour, 100 for staff, and after 3 invitations of one
    /// address within a day, 10 from everybody within an hour.
    async fn invite_participant(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket and the address to invite.")] input: InviteParticipantInput,
    ) -> Result<InviteParticipantPayload, Failure> {
        ctx.identity()?;
        let id = GlobalId::ticket(&input.ticket_id).ok_or_else(Failure::not_found)?;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let invited = service::ticket_invitation::invite(actor, services, id, &input.email).await;
        Ok(match Outcome::of(invited)? {
            Outcome::Done(invitation) => InviteParticipantPayload {
                invitation: Some(TicketInvitation(invitation.into())),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                InviteParticipantPayload { invitation: None, user_errors: errors }
            }
        })
    }

    /// Withdraws an open invitation. For the customer who opened the ticket, and for staff; others
    /// get `FORBIDDEN`, or `NOT_FOUND`, as everybody does if it was accepted or withdrawn. User
    /// errors: `EXPIRED` if it was declined or has expired.
    async fn withdraw_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invitation to withdraw.")] input: WithdrawInvitationInput,
    ) -> Result<WithdrawInvitationPayload, Failure> {
        let id = invitation(ctx, &input.invitation_id)?;
        let withdrawn =
            service::ticket_invitation::withdraw(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(withdrawn)? {
            Outcome::Done(ticket) => {
                WithdrawInvitationPayload { ticket: Some(Ticket::new(ticket)), user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                WithdrawInvitationPayload { ticket: None, user_errors: errors }
            }
        })
    }

    /// Accepts an invitation to your address: you take part in the ticket from now on.
    /// `removeParticipant` ends that. `NOT_FOUND` if there is no such invitation to your address,
    /// or you have accepted it already. User errors: `EXPIRED` if you have declined it or it has expired,
    /// `TICKET_CLOSED` or `TICKET_MERGED`, and `TOO_MANY` if the ticket has too many participants.
    async fn accept_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invitation to accept.")] input: AcceptInvitationInput,
    ) -> Result<AcceptInvitationPayload, Failure> {
        let id = invitation(ctx, &input.invitation_id)?;
        let accepted = service::ticket_invitation::accept(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(accepted)? {
            Outcome::Done(ticket) => {
                AcceptInvitationPayload { ticket: Some(Ticket::new(ticket)), user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                AcceptInvitationPayload { ticket: None, user_errors: errors }
            }
        })
    }

    /// Declines an invitation to your address. Those who see the ticket see that it was declined,
    /// not by whom, and cannot invite the address to the ticket again before the invitation would
    /// have expired. Declining it again changes nothing. `NOT_FOUND` if there is no such
    /// invitation to your address any more. User errors: `EXPIRED`.
    async fn decline_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invitation to decline.")] input: DeclineInvitationInput,
    ) -> Result<DeclineInvitationPayload, Failure> {
        let id = invitation(ctx, &input.invitation_id)?;
        let declined = service::ticket_invitation::decline(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(declined)? {
            Outcome::Done(()) => DeclineInvitationPayload { user_errors: vec![] },
            Outcome::Rejected { errors, .. } => DeclineInvitationPayload { user_errors: errors },
        })
    }
}

/// Returns the invitation that an input names, for a person.
fn invitation(ctx: &Context<'_>, id: &ID) -> Result<TicketInvitationId, Failure> {
    ctx.identity()?;
    GlobalId::ticket_invitation(id).ok_or_else(Failure::not_found)
}
