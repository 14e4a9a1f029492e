//! Invitations to take part in a ticket. A customer sees nothing of a ticket that others opened
//! before they have accepted one.

use chrono::TimeDelta;

use super::{
    account::EmailAddress,
    clock::Timestamp,
    ids::{AccountId, TicketId, TicketInvitationId},
    ticket_number::TicketNumber,
};

/// How long an invitation can be accepted. After it was declined, its address cannot be invited to
/// the ticket again until this time is over.
pub const TICKET_INVITATION_LIFETIME: TimeDelta = TimeDelta::days(14);
/// The maximum number of invitations that one list returns.
pub const MAX_LISTED_INVITATIONS: i64 = 50;

/// An invitation to take part in a ticket.
#[derive(Clone)]
pub struct TicketInvitation {
    /// The id.
    pub id: TicketInvitationId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// The address that is invited, whether an account has it or not.
    pub email: EmailAddress,
    /// The customer who opened the ticket, or the member of staff, who invites.
    pub invited_by: AccountId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was declined, or `None` if it was not.
    pub declined_at: Option<Timestamp>,
}

impl TicketInvitation {
    /// Returns whether it can be accepted, declined or withdrawn.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.declined_at.is_none() && self.expires_at > now
    }
}

/// An open invitation as the invited person sees it: the ticket's number and who invites, and
/// nothing that was written in the ticket.
#[derive(Clone)]
pub struct ReceivedInvitation {
    /// The invitation.
    pub invitation: TicketInvitation,
    /// The number of the ticket.
    pub ticket_number: TicketNumber,
    /// The name of who invites.
    pub invited_by_name: String,
}
