//! Saved views of the queue.

use super::{
    clock::Timestamp,
    ids::{AccountId, SavedViewId},
    ticket_conditions::TicketConditions,
    ticket_list::TicketListOrder,
};

/// The most tickets that a view counts.
pub const MAX_COUNTED: i64 = 10_000;

/// A filter and an order of tickets under a name.
#[derive(Clone)]
pub struct SavedView {
    /// The view's id.
    pub id: SavedViewId,
    /// Whose it is, or `None` if all staff share it.
    pub owner: Option<AccountId>,
    /// The name.
    pub name: String,
    /// Which tickets it shows.
    pub conditions: TicketConditions,
    /// The order in which it shows them.
    pub order: TicketListOrder,
    /// When it was retired, or `None` if it is active.
    pub retired_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed, retired or restored.
    pub updated_at: Timestamp,
}
