//! Demo data: a hosting company's desk, written through the same use cases as
//! everything else, with a clock that plays its past.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use axum::body::Bytes;
use chrono::TimeDelta;
use futures_util::stream;
use serde::Deserialize;

use super::{
    ServiceError, Services, Settings,
    account::{self, NewAccount},
    attachment::{ReceiveError, Reception, Upload},
    category, closing,
    comment::{self, NewComment},
    participant,
    ticket::{self, NewTicket, TicketChanges},
};
use crate::{
    crypto::{
        password::{Password, PasswordCost, PasswordError, Passwords},
        seal::Keyring,
    },
    db::Database,
    domain::{
        account::{Account, Locale, Role},
        actor::{Actor, Identity},
        clock::{Ambient, Clock, Timestamp},
        comment::Visibility,
        ids::{AttachmentId, CategoryId, SessionId, TicketId},
        session::Origin,
        ticket::{Priority, Status},
    },
    storage::Storage,
};

/// The password of all demo accounts.
pub const PASSWORD: &str = "ticketwire-demo";

const ACCOUNTS: &str = include_str!("demo/accounts.toml");
const TICKETS: [&str; 2] =
    [include_str!("demo/tickets_en.toml"), include_str!("demo/tickets_ru.toml")];

/// The demo data can't be written.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file of it is wrong.
    #[error("the demo data is wrong: {0}")]
    Data(String),
    /// A use case refused it, or the database failed.
    #[error("the demo data can't be written: {0}")]
    Service(#[from] ServiceError),
    /// Passwords can't be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// An account that a newcomer signs in with.
pub struct DemoAccount {
    /// What it signs in with; the password is [`PASSWORD`].
    pub email: String,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountsFile {
    account: Vec<AccountEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountEntry {
    key: String,
    email: String,
    name: String,
    role: Role,
    locale: LocaleName,
    #[serde(default)]
    demo: bool,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum LocaleName {
    En,
    Ru,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketsFile {
    ticket: Vec<TicketEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketEntry {
    /// Fixed where the playground's operations refer to the ticket.
    id: Option<uuid::Uuid>,
    category: String,
    by: String,
    opened_minutes_ago: i64,
    summary: String,
    description: String,
    #[serde(default)]
    file: Vec<FileEntry>,
    #[serde(default)]
    step: Vec<Step>,
}

/// An attachment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    after_minutes: i64,
    by: String,
    #[serde(rename = "do")]
    what: Doing,
    to: Option<String>,
    text: Option<String>,
    status: Option<Status>,
    #[serde(default)]
    file: Vec<FileEntry>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Doing {
    Assign,
    Comment,
    Note,
    Status,
    Priority,
    Participant,
}

/// The accounts that a newcomer signs in with: a customer, another customer, an
/// agent, an admin.
///
/// # Errors
/// The file is wrong.
pub fn accounts() -> Result<Vec<DemoAccount>, DemoError> {
    let entries = read::<AccountsFile>(ACCOUNTS)?.account.into_iter().filter(|entry| entry.demo);
    let account = |entry: AccountEntry| DemoAccount {
        email: entry.email,
        name: entry.name,
        role: entry.role,
    };
    Ok(entries.map(account).collect())
}

fn read<T: for<'d> Deserialize<'d>>(text: &str) -> Result<T, DemoError> {
    toml::from_str(text).map_err(|error| DemoError::Data(error.to_string()))
}

/// A clock that shows what it is set to.
struct PlayedClock(Mutex<Timestamp>);

impl Clock for PlayedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that happened to a ticket, in the order of time.
struct Moment<'t> {
    at: Timestamp,
    ticket: usize,
    step: Option<&'t Step>,
}

/// Fills an empty, migrated database.
///
/// # Errors
/// The data breaks a rule, or the database failed.
pub async fn seed(
    database: &Database,
    ambient: &Ambient,
    keys: Keyring,
    settings: Settings,
    storage: Option<Storage>,
) -> Result<(), DemoError> {
    let now = ambient.now();
    let clock = Arc::new(PlayedClock(Mutex::new(now)));
    let played = ambient.with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let passwords = Passwords::new(PasswordCost::default(), played.clone())?;
    let services = Services::new(database.clone(), played, passwords, keys, settings);
    let services = match storage {
        Some(storage) => services.with_storage(storage),
        None => services,
    };

    let mut tickets = Vec::new();
    for file in TICKETS {
        tickets.extend(read::<TicketsFile>(file)?.ticket);
    }
    let moments = moments(&tickets, now);
    let first = moments.first().map_or(now, |moment| moment.at);
    clock.set(first - TimeDelta::days(1));
    let people = people(&services).await?;
    let actor = |key: &str| {
        let account =
            people.get(key).ok_or_else(|| DemoError::Data(format!("no account `{key}`")))?;
        Ok::<_, DemoError>((as_actor(account), account))
    };
    let (admin, _) = actor("ilya")?;
    let categories = category::list(&admin, &services, false).await?;
    let categories = categories
        .into_iter()
        .map(|category| (category.slug, category.id))
        .collect::<HashMap<_, _>>();

    let mut made = HashMap::<usize, TicketId>::new();
    for moment in moments {
        clock.set(moment.at);
        closing::close_resolved(&Actor::System, &services).await?;
        let entry = &tickets[moment.ticket];
        match (moment.step, made.get(&moment.ticket)) {
            (Some(step), Some(&id)) => {
                let to = match (step.what, &step.to) {
                    (Doing::Assign | Doing::Participant, Some(key)) => Some(actor(key)?.1),
                    _ => None,
                };
                let (by, _) = actor(&step.by)?;
                play(&by, &services, id, step, to).await.map_err(|error| {
                    DemoError::Data(format!("`{}`, step by {}: {error}", entry.summary, step.by))
                })?;
            }
            _ => {
                let (by, _) = actor(&entry.by)?;
                made.insert(moment.ticket, open(&by, &services, entry, &categories).await?);
            }
        }
    }
    Ok(())
}

impl PlayedClock {
    fn set(&self, to: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

fn moments(tickets: &[TicketEntry], now: Timestamp) -> Vec<Moment<'_>> {
    let mut moments = Vec::new();
    for (ticket, entry) in tickets.iter().enumerate() {
        let mut at = now - TimeDelta::minutes(entry.opened_minutes_ago);
        moments.push(Moment { at, ticket, step: None });
        for step in &entry.step {
            at += TimeDelta::minutes(step.after_minutes);
            moments.push(Moment { at, ticket, step: Some(step) });
        }
    }
    // A stable sort: steps of one ticket in one minute stay in order.
    moments.sort_by_key(|moment| moment.at);
    moments
}

async fn people(services: &Services) -> Result<HashMap<String, Account>, DemoError> {
    let mut people = HashMap::new();
    for entry in read::<AccountsFile>(ACCOUNTS)?.account {
        let new = NewAccount {
            email: entry.email,
            name: entry.name,
            role: entry.role,
            locale: match entry.locale {
                LocaleName::En => Locale::En,
                LocaleName::Ru => Locale::Ru,
            },
            password: entry.demo.then(|| Password::new(PASSWORD.to_owned())),
        };
        people.insert(entry.key, account::create(&Actor::System, services, new).await?);
    }
    Ok(people)
}

fn as_actor(account: &Account) -> Actor {
    Actor::Account(Identity {
        id: account.id,
        role: account.role,
        locale: account.locale,
        // The demo's people act without having signed in.
        session: SessionId(uuid::Uuid::nil()),
        confined: false,
    })
}

async fn open(
    by: &Actor,
    services: &Services,
    entry: &TicketEntry,
    categories: &HashMap<String, CategoryId>,
) -> Result<TicketId, DemoError> {
    let new = NewTicket {
        category_id: categories.get(&entry.category).copied(),
        summary: entry.summary.clone(),
        description: entry.description.clone(),
        attachments: upload(by, services, &entry.file).await?,
        follow_up_to: None,
        idempotency_key: None,
    };
    let id = TicketId(entry.id.unwrap_or_else(|| services.ambient.uuid()));
    Ok(ticket::create_as(by, services, id, new).await?.id)
}

async fn play(
    by: &Actor,
    services: &Services,
    ticket_id: TicketId,
    step: &Step,
    to: Option<&Account>,
) -> Result<(), ServiceError> {
    let changes = match step.what {
        Doing::Comment | Doing::Note => {
            let visibility = match step.what {
                Doing::Note => Visibility::Internal,
                _ => Visibility::Public,
            };
            let body = step.text.clone().unwrap_or_default();
            let status = step.status;
            let new = NewComment {
                ticket_id,
                body,
                visibility,
                status,
                expected_version: None,
                attachments: upload(by, services, &step.file).await?,
                idempotency_key: None,
            };
            return comment::add(by, services, new).await.map(|_| ());
        }
        Doing::Participant => {
            let email = to.map_or("", |account| account.email.as_str());
            let added = participant::add(by, services, ticket_id, email, &Origin::default()).await;
            return added.map(|_| ());
        }
        Doing::Assign => {
            TicketChanges { assignee: to.map(|to| Some(to.id)), ..TicketChanges::default() }
        }
        Doing::Status => {
            TicketChanges { status: named::<Status>(step), ..TicketChanges::default() }
        }
        Doing::Priority => {
            TicketChanges { priority: named::<Priority>(step), ..TicketChanges::default() }
        }
    };
    ticket::update(by, services, ticket_id, changes).await.map(|_| ())
}

async fn upload(
    by: &Actor,
    services: &Services,
    files: &[FileEntry],
) -> Result<Vec<Upload>, ServiceError> {
    let mut uploads = Vec::new();
    for FileEntry { name, text } in files {
        let bytes = Ok::<_, Infallible>(Bytes::from(text.clone().into_bytes()));
        let id = AttachmentId(services.ambient.uuid());
        let mut reception = Reception::open(by, services)?;
        let received = reception.receive(id, name, stream::iter([bytes])).await;
        uploads.push(received.map_err(|error| match error {
            ReceiveError::Service(error) => error,
            ReceiveError::Sender(never) => match never {},
        })?);
    }
    Ok(uploads)
}

/// The status or priority that a step names.
fn named<T: for<'d> Deserialize<'d>>(step: &Step) -> Option<T> {
    let name = step.to.clone()?;
    T::deserialize(serde::de::value::StringDeserializer::<serde::de::value::Error>::new(name)).ok()
}
