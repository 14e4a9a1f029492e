//! The audit trail of an account: the events about it.

use super::{event::Event, session::Origin};

/// An event about an account.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// The event.
    pub event: Event,
    /// From where the session was begun that the event is about; empty where it is
    /// about none.
    pub origin: Origin,
}
