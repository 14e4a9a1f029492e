//! The ordered lists that staff work with. Each member of staff has a personal list of each kind,
//! and all staff share another.

use uuid::Uuid;

use super::ids::AccountId;

/// A kind of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaffList {
    /// Canned answers.
    CannedAnswers,
    /// Saved views of the queue.
    SavedViews,
}

/// An entry of a list.
#[derive(Clone)]
pub struct ListEntry {
    /// The entry's id.
    pub id: Uuid,
    /// Whose list it is on, or `None` if it is on the shared one.
    pub owner: Option<AccountId>,
    /// The name or title.
    pub name: String,
    /// Whether it is retired. Retired entries have no place in the order.
    pub is_retired: bool,
}

impl StaffList {
    /// Returns the maximum number of entries of a personal or of the shared list, including retired
    /// ones.
    pub fn max_entries(self, shared: bool) -> usize {
        match (self, shared) {
            (Self::CannedAnswers, false) => 200,
            (Self::CannedAnswers, true) => 500,
            (Self::SavedViews, _) => 50,
        }
    }
}
