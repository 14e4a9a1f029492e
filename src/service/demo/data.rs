//! The files with the demo data, and the order in which it happened.

use chrono::TimeDelta;
use serde::Deserialize;

use super::error::DemoError;
use crate::domain::{account::Role, clock::Timestamp, ticket::Status};

/// The password of the accounts that visitors can sign in with.
pub const PASSWORD: &str = "ticketwire-demo";

const ACCOUNTS: &str = include_str!("accounts.toml");
const TICKETS: [&str; 2] = [include_str!("tickets_en.toml"), include_str!("tickets_ru.toml")];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountsFile {
    account: Vec<AccountEntry>,
}

/// An account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountEntry {
    /// The name of the account in the files.
    pub(super) key: String,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) locale: LocaleName,
    /// Whether visitors can sign in with it.
    #[serde(default)]
    pub(super) demo: bool,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum LocaleName {
    En,
    Ru,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketsFile {
    ticket: Vec<TicketEntry>,
}

/// A ticket and what happened to it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TicketEntry {
    /// Set if the playground's examples refer to the ticket.
    pub(super) id: Option<uuid::Uuid>,
    pub(super) category: String,
    pub(super) by: String,
    opened_minutes_ago: i64,
    pub(super) summary: String,
    pub(super) description: String,
    #[serde(default)]
    pub(super) file: Vec<FileEntry>,
    #[serde(default)]
    step: Vec<StepEntry>,
}

/// An attachment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) name: String,
    pub(super) text: String,
}

/// Something that happened to a ticket after it was opened.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepEntry {
    after_minutes: i64,
    pub(super) by: String,
    #[serde(rename = "do")]
    pub(super) kind: StepKind,
    pub(super) to: Option<String>,
    pub(super) text: Option<String>,
    pub(super) status: Option<Status>,
    #[serde(default)]
    pub(super) file: Vec<FileEntry>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepKind {
    Assign,
    Comment,
    Note,
    Status,
    Priority,
    Participant,
}

impl StepEntry {
    /// Parses `to` as a status or priority.
    pub(super) fn value<T: for<'d> Deserialize<'d>>(&self) -> Option<T> {
        use serde::de::value::{Error, StringDeserializer};
        T::deserialize(StringDeserializer::<Error>::new(self.to.clone()?)).ok()
    }
}

/// Reads the accounts.
pub(super) fn accounts() -> Result<Vec<AccountEntry>, DemoError> {
    Ok(parse::<AccountsFile>(ACCOUNTS)?.account)
}

/// Reads the tickets.
pub(super) fn tickets() -> Result<Vec<TicketEntry>, DemoError> {
    let mut tickets = Vec::new();
    for file in TICKETS {
        tickets.extend(parse::<TicketsFile>(file)?.ticket);
    }
    Ok(tickets)
}

fn parse<T: for<'d> Deserialize<'d>>(text: &str) -> Result<T, DemoError> {
    toml::from_str(text).map_err(|error| DemoError::Data(error.to_string()))
}

/// The opening of a ticket, or a later step.
pub(super) struct ScheduledStep<'t> {
    pub(super) at: Timestamp,
    /// The ticket's position in the files.
    pub(super) index: usize,
    pub(super) ticket: &'t TicketEntry,
    /// `None` for the opening.
    pub(super) step: Option<&'t StepEntry>,
}

/// Returns all that happened to the tickets until `now`, in order.
pub(super) fn schedule(tickets: &[TicketEntry], now: Timestamp) -> Vec<ScheduledStep<'_>> {
    let mut schedule = Vec::new();
    for (index, ticket) in tickets.iter().enumerate() {
        let mut at = now - TimeDelta::minutes(ticket.opened_minutes_ago);
        schedule.push(ScheduledStep { at, index, ticket, step: None });
        for step in &ticket.step {
            at += TimeDelta::minutes(step.after_minutes);
            schedule.push(ScheduledStep { at, index, ticket, step: Some(step) });
        }
    }
    // The sort is stable: a ticket's steps stay in order, even in the same minute.
    schedule.sort_by_key(|step| step.at);
    schedule
}
