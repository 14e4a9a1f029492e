//! What an operator can configure about the use cases.

use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::{attachment::Limits, second_factor::Requirements, ticket::NumberPrefix};

/// An installation's configuration of the use cases.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The prefix of ticket numbers.
    pub number_prefix: NumberPrefix,
    /// How long a session lasts at most, even if it is used.
    pub session_lifetime: TimeDelta,
    /// How long a session lasts without being used.
    pub session_idle: TimeDelta,
    /// Which roles must have a second factor.
    pub second_factors: Requirements,
    /// The installation's name in authenticator apps.
    pub issuer: String,
    /// Whether the installation sends mail.
    pub sends_mail: bool,
    /// The limits on attachments.
    pub attachments: Limits,
    /// The URL that links to attachments start with, or `None` for relative links.
    pub base_url: Option<String>,
    /// How long after being resolved a ticket closes, or `None` if tickets never close
    /// automatically.
    pub close_resolved_after: Option<TimeDelta>,
    /// How long a full-text search may take.
    pub search_timeout: Duration,
}
