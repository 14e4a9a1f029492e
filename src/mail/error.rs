//! Why a mail could not be sent.

/// Why a mail could not be sent. The text is the mail server's or the operating system's.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The mail server rejected the mail permanently: trying again is pointless.
    #[error("{0}")]
    Permanent(String),
    /// The mail may be accepted later.
    #[error("{0}")]
    Transient(String),
}
