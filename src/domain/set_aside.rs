//! Events that a consumer of the feed could not process and set aside.

use super::{
    clock::Timestamp,
    ids::{EventId, SetAsideId, TicketId},
};

/// An event that a consumer of the feed could not process. The consumer has continued with the
/// events after it.
#[derive(Clone, Debug)]
pub struct SetAsideEvent {
    /// The id.
    pub id: SetAsideId,
    /// The name of the consumer.
    pub consumer: String,
    /// The event.
    pub event_id: EventId,
    /// The event's ticket, or `None` if the event is not about a ticket.
    pub ticket_id: Option<TicketId>,
    /// The event's position in the feed.
    pub pos: i64,
    /// The error of the last attempt, without text that people wrote.
    pub error: String,
    /// How often the event was attempted alone.
    pub attempts: i32,
    /// When the event was set aside.
    pub set_aside_at: Timestamp,
    /// When the event was last attempted.
    pub attempted_at: Timestamp,
    /// When another attempt was requested, or `None` if none is waiting.
    pub retry_requested_at: Option<Timestamp>,
}
