//! The demo data: the support desk of a hosting company. It is written through the use cases,
//! with a clock that replays the company's past.

mod data;
mod error;
mod replay;

use std::sync::Arc;

use chrono::TimeDelta;
use parking_lot::Mutex;

use super::{Services, Settings};
use crate::{
    crypto::{
        password::{PasswordCost, Passwords},
        seal::Keyring,
    },
    db::Database,
    domain::{
        account::Role,
        clock::{Ambient, Clock, Timestamp},
    },
    storage::Storage,
};

pub use data::PASSWORD;
pub use error::DemoError;

/// An account that visitors of the demo can sign in with.
pub struct DemoAccount {
    /// The e-mail address to sign in with. The password is [`PASSWORD`].
    pub email: String,
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
}

/// Returns the accounts that visitors of the demo can sign in with: two customers, an agent
/// and an admin.
///
/// # Errors
/// Returns an error if the accounts' file is invalid.
pub fn accounts() -> Result<Vec<DemoAccount>, DemoError> {
    let entries = data::accounts()?.into_iter().filter(|entry| entry.demo);
    let account = |entry: data::AccountEntry| DemoAccount {
        email: entry.email,
        name: entry.name,
        role: entry.role,
    };
    Ok(entries.map(account).collect())
}

/// Fills an empty, migrated database with the demo data.
///
/// # Errors
/// Returns an error if the data is invalid or a use case failed.
pub async fn seed(
    database: &Database,
    ambient: &Ambient,
    keys: Keyring,
    settings: Settings,
    storage: Option<Storage>,
) -> Result<(), DemoError> {
    let now = ambient.now();
    let clock = Arc::new(ReplayClock(Mutex::new(now)));
    let ambient = ambient.with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let passwords = Passwords::new(PasswordCost::default(), ambient.clone())?;
    let services = Services::new(database.clone(), ambient, passwords, keys, settings);
    let services = match storage {
        Some(storage) => services.with_storage(storage),
        None => services,
    };
    let tickets = data::tickets()?;
    let steps = data::schedule(&tickets, now);
    let opening = steps.first().map_or(now, |step| step.at) - TimeDelta::days(1);
    clock.set(opening);
    let mut replay = replay::Replay::prepare(&services, now).await?;
    for step in steps {
        clock.set(step.at);
        replay.run(&step).await?;
    }
    replay.finish().await
}

/// A clock that shows the time it was last set to.
struct ReplayClock(Mutex<Timestamp>);

impl ReplayClock {
    fn set(&self, to: Timestamp) {
        *self.0.lock() = to;
    }
}

impl Clock for ReplayClock {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}
