//! What an operator can configure about the use cases.

use std::{path::PathBuf, time::Duration};

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
    /// How long data is kept.
    pub retention: Retention,
    /// Which roles must have a second factor.
    pub second_factors: Requirements,
    /// The installation's name in authenticator apps.
    pub issuer: String,
    /// What portals show about the company.
    pub branding: Branding,
    /// The limits on attachments.
    pub attachments: Limits,
    /// The folder that records erased accounts.
    pub erasure_ledger: PathBuf,
    /// The limits of what one account may do.
    pub limits: AccountLimits,
    /// The URL that links to attachments start with, or `None` for relative links.
    pub base_url: Option<String>,
    /// How long after being resolved a ticket closes, or `None` if tickets never close
    /// automatically.
    pub close_resolved_after: Option<TimeDelta>,
    /// How many bytes of timelines are kept in memory.
    pub timeline_cache_bytes: usize,
    /// How long a full-text search may take.
    pub search_timeout: Duration,
}

/// What portals show about the company.
#[derive(Clone, Debug)]
pub struct Branding {
    /// The name of the help desk.
    pub name: String,
    /// The URL of the logo.
    pub logo: Option<String>,
    /// The color of buttons and links, as `#rrggbb`.
    pub color: Option<String>,
    /// The URL of the imprint.
    pub imprint: Option<String>,
    /// The URL of the privacy policy.
    pub privacy: Option<String>,
}

/// How long data is kept. What has no limit stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// How long a session stays after it ended.
    pub ended_session: Option<TimeDelta>,
    /// How long the network address and the device of a session stay after its last use.
    pub origin: Option<TimeDelta>,
    /// How long a delivery stays after it finished.
    pub delivery: Option<TimeDelta>,
}

/// What one account may do, on all nodes together. A rate of 0 is unlimited.
#[derive(Clone, Copy, Debug)]
pub struct AccountLimits {
    /// Files that are being uploaded or are not attached to anything.
    pub unused_files: u32,
    /// Bytes of files that a customer uploads at once. As many become free again within 24 hours.
    pub customer_upload_bytes_per_day: u64,
    /// Tickets opened in a minute.
    pub tickets_per_minute: u32,
    /// Comments that a customer adds in a minute.
    pub customer_comments_per_minute: u32,
    /// Comments that a member of staff adds in a minute.
    pub staff_comments_per_minute: u32,
    /// Changes of tickets, preferences and what is read that a customer makes in a minute.
    pub customer_changes_per_minute: u32,
    /// Customers and handoffs that a service token creates or updates in a minute.
    pub service_token_calls_per_minute: u32,
    /// Passwords and codes guessed in an hour, from everywhere.
    pub guesses_per_hour: u32,
}
