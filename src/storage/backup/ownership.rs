//! Whether the place of a backup still belongs to the run that writes it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::error::ArchiveError;

/// Whether the place of a backup still belongs to the run that writes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ownership(Arc<AtomicBool>);

impl Ownership {
    /// # Errors
    /// Another run has taken the place.
    pub(super) fn require(&self, place: &str) -> Result<(), ArchiveError> {
        if self.0.load(Ordering::Acquire) {
            return Err(ArchiveError::Replaced(place.to_owned()));
        }
        Ok(())
    }

    pub(super) fn lose(&self) {
        self.0.store(true, Ordering::Release);
    }
}
