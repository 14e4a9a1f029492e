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
    /// There is no connection to the mail server. That concerns all mails.
    #[error("{0}")]
    Unreachable(String),
    /// The mail server refuses the sender, the session or more mail for today. That concerns all
    /// mails.
    #[error("{error}")]
    Held {
        /// The mail server's text.
        error: String,
        /// Whether the mail server had seen the recipient or the text of the mail before. The
        /// verdict may then be about this mail after all, so the attempt counts.
        counts: bool,
        /// Whether the mail server ended the session, which says nothing about the mail.
        ends_session: bool,
    },
}

impl SendError {
    /// Changes the text.
    #[must_use]
    pub fn map_text(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Permanent(text) => Self::Permanent(change(text)),
            Self::Transient(text) => Self::Transient(change(text)),
            Self::Unreachable(text) => Self::Unreachable(change(text)),
            Self::Held { error, counts, ends_session } => {
                Self::Held { error: change(error), counts, ends_session }
            }
        }
    }

    /// Whether the mail server ended the session, which says nothing about the mail.
    pub fn ends_session(&self) -> bool {
        matches!(self, Self::Held { ends_session: true, .. })
    }
}
