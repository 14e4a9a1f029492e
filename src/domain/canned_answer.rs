//! Canned answers: texts that staff answer with again and again.

use super::{
    account::Locale,
    clock::Timestamp,
    ids::{AccountId, CannedAnswerId, CategoryId},
};

/// A canned answer, without its text, which can be long and is loaded where it is needed.
#[derive(Clone)]
pub struct CannedAnswer {
    /// The canned answer's id.
    pub id: CannedAnswerId,
    /// Whose it is, or `None` if all staff share it.
    pub owner: Option<AccountId>,
    /// The title that staff find it by.
    pub title: String,
    /// The category of tickets that it fits, or `None` if it fits all.
    pub category: Option<CategoryId>,
    /// The language that it is written in, or `None` if it fits all customers.
    pub locale: Option<Locale>,
    /// When it was retired, or `None` if it is active.
    pub retired_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed, retired or restored.
    pub updated_at: Timestamp,
}
