//! The order of ticket lists, and the cursors of each order.

use async_graphql::{Enum, InputObject};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use uuid::Uuid;

use super::super::pagination::CursorKey;
use crate::domain::{
    clock::has_four_digit_year,
    ids::TicketId,
    ticket::{Priority, Ticket},
    ticket_list::{TicketKey, TicketListOrder, TicketSort},
};

/// The property that a list of tickets is sorted by.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "TicketSort")]
pub enum TicketOrderField {
    /// The time at which the ticket was opened.
    CreatedAt,
    /// The time of the last change that its customers can see.
    UpdatedAt,
    /// The priority.
    Priority,
    /// The time since which the ticket has been waiting for support: `ASC` lists the longest
    /// wait first. Tickets that are not waiting come last in both directions.
    WaitingSince,
}

/// The direction to sort in.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
pub enum OrderDirection {
    /// Oldest first, or lowest first.
    Asc,
    /// Newest first, or highest first.
    Desc,
}

/// The order of a list of tickets.
#[derive(InputObject, Copy, Clone)]
pub struct TicketOrder {
    /// The property to sort by.
    field: TicketOrderField,
    /// The direction to sort in.
    #[graphql(default_with = "OrderDirection::Desc")]
    direction: OrderDirection,
}

impl Default for TicketOrder {
    fn default() -> Self {
        Self { field: TicketOrderField::CreatedAt, direction: OrderDirection::Desc }
    }
}

impl From<TicketOrder> for TicketListOrder {
    fn from(order: TicketOrder) -> Self {
        Self { sort: order.field.into(), descending: order.direction == OrderDirection::Desc }
    }
}

/// Encodes the time of a ticket that is not waiting.
const NOT_WAITING: i64 = i64::MAX;

/// The position of a ticket in an order. As a cursor: a byte for the property, the ticket's value of
/// it in eight bytes, then the ticket's id.
pub struct TicketCursor(TicketSort, TicketKey);

impl TicketCursor {
    pub(super) fn of(ticket: &Ticket, sort: TicketSort) -> Self {
        Self(sort, TicketKey::of(ticket, sort))
    }
}

impl CursorKey for TicketCursor {
    fn encode(&self) -> String {
        let (value, id) = match self.1 {
            TicketKey::Time(time, id) => (time.timestamp_micros(), id),
            TicketKey::Priority(priority, id) => (priority as i64, id),
            TicketKey::Waiting(time, id) => {
                (time.map_or(NOT_WAITING, |time| time.timestamp_micros()), id)
            }
        };
        let mut bytes = vec![self.0 as u8];
        bytes.extend(value.to_be_bytes());
        bytes.extend(id.0.into_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// Reads a cursor of the order; `None` if it is malformed or of another order.
pub(super) fn decode_cursor(sort: TicketSort, text: &str) -> Option<TicketKey> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (&tag, rest) = bytes.split_first()?;
    let (value, id) = rest.split_at_checked(8)?;
    let value = i64::from_be_bytes(value.try_into().ok()?);
    let id = TicketId(Uuid::from_slice(id).ok()?);
    if tag != sort as u8 {
        return None;
    }
    let time = || DateTime::from_timestamp_micros(value).filter(|&time| has_four_digit_year(time));
    Some(match sort {
        TicketSort::CreatedAt | TicketSort::UpdatedAt => TicketKey::Time(time()?, id),
        TicketSort::WaitingSince if value == NOT_WAITING => TicketKey::Waiting(None, id),
        TicketSort::WaitingSince => TicketKey::Waiting(Some(time()?), id),
        TicketSort::Priority => {
            let all = [
                Priority::Lowest,
                Priority::Low,
                Priority::Medium,
                Priority::High,
                Priority::Highest,
            ];
            TicketKey::Priority(all.into_iter().find(|&priority| priority as i64 == value)?, id)
        }
    })
}
