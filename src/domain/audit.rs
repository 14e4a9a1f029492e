//! The audit trail of an account.

use super::{event::Event, session::Origin};

/// An entry of an account's audit trail.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// The event.
    pub event: Event,
    /// Where the session that the event is about was started. Empty if the event is not about a
    /// session.
    pub origin: Origin,
}
