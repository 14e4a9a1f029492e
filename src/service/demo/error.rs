//! The errors of the demo data.

use crate::{crypto::password::PasswordError, service::ServiceError};

/// Why the demo data could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// One of the data files is invalid.
    #[error("the demo data is invalid: {0}")]
    Data(String),
    /// A use case failed.
    #[error("the demo data could not be written: {0}")]
    Service(#[from] ServiceError),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}
