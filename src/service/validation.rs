//! Validates an input as a whole, so that its author learns all errors at once.

use super::{ServiceError, UserError};
use crate::domain::text::{IdempotencyKey, TextError};

/// Collects the errors of an input.
#[derive(Default)]
pub(super) struct Validation {
    errors: Vec<UserError>,
}

impl Validation {
    /// Returns the parsed text. If it is invalid, adds an error and returns `None`.
    pub(super) fn text<T>(
        &mut self,
        field: &'static str,
        label: &str,
        parsed: Result<T, TextError>,
    ) -> Option<T> {
        parsed.map_err(|error| self.add(UserError::text(field, label, error))).ok()
    }

    /// Parses the optional field `idempotencyKey`. If it is invalid, adds an error and
    /// returns `None`.
    pub(super) fn idempotency_key(&mut self, key: Option<&str>) -> Option<Option<IdempotencyKey>> {
        let parsed = key.map(IdempotencyKey::parse).transpose();
        self.text("idempotencyKey", "The idempotency key", parsed)
    }

    /// Adds an error.
    pub(super) fn add(&mut self, error: UserError) {
        self.errors.push(error);
    }

    /// Returns the validated input.
    ///
    /// # Errors
    /// Returns [`ServiceError::Invalid`] with all errors if there are any.
    pub(super) fn finish<T>(self, validated: Option<T>) -> Result<T, ServiceError> {
        match validated {
            Some(input) if self.errors.is_empty() => Ok(input),
            _ => Err(ServiceError::Invalid(self.errors)),
        }
    }
}
