//! The audit trail of an account: the events about it.

use super::{
    clock::Timestamp,
    event::AccountEvent,
    ids::{AccountId, EventId},
    session::ClientOrigin,
};

/// An entry of the audit trail.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// The event's id.
    pub id: EventId,
    /// Who caused it, or `None` for the system or a machine.
    pub actor_id: Option<AccountId>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What happened.
    pub event: AccountEvent,
    /// The network address and device from which the event's session was begun. Empty for events
    /// without a session.
    pub origin: ClientOrigin,
}
