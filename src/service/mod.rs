//! The use cases, by noun. A function here takes the actor first, authorises in
//! its first statement, and owns its transaction. Nothing but database work
//! happens inside one.

pub mod account;
pub mod category;
pub mod comment;
pub mod delivery;
pub mod demo;
pub mod error;
mod idempotency;
pub mod notification;
pub mod preferences;
pub mod session;
pub mod ticket;
pub mod timeline;
pub mod unsubscription;

use std::sync::Arc;

use chrono::TimeDelta;

pub use error::{ServiceError, UserError, UserErrorCode};

use crate::{
    crypto::{password::Passwords, signing::SigningKey},
    db::{Database, DbError, idempotency as keys},
    domain::{
        actor::Actor,
        clock::Ambient,
        policy::{self, Action, Decision, Resource},
        ticket::NumberPrefix,
    },
};

/// What the use cases work with: cheap to clone, shared by all requests.
#[derive(Clone)]
pub struct Desk {
    database: Database,
    ambient: Ambient,
    passwords: Passwords,
    settings: Arc<Settings>,
    sessions: session::SessionCache,
    /// Signs links in mails; none: no mail goes out.
    signing_key: Option<SigningKey>,
}

/// What an installation chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What ticket numbers begin with.
    pub number_prefix: NumberPrefix,
    /// How long a session lasts.
    pub session_lifetime: TimeDelta,
}

impl Desk {
    /// Puts the parts together.
    pub fn new(
        database: Database,
        ambient: Ambient,
        passwords: Passwords,
        settings: Settings,
    ) -> Self {
        let sessions = session::SessionCache::default();
        let settings = Arc::new(settings);
        Self { database, ambient, passwords, settings, sessions, signing_key: None }
    }

    /// The same with a key that signed the links in mails.
    #[must_use]
    pub fn with_signing_key(self, key: SigningKey) -> Self {
        Self { signing_key: Some(key), ..self }
    }

    /// What ticket numbers begin with.
    pub fn number_prefix(&self) -> &NumberPrefix {
        &self.settings.number_prefix
    }
}

/// Forgets what is kept for a time only and whose time is over. Safe on many nodes.
///
/// # Errors
/// The database failed.
pub async fn prune(desk: &Desk) -> Result<(), DbError> {
    let mut connection = desk.database.read().await?;
    keys::prune(&mut connection, desk.ambient.now()).await?;
    Ok(())
}

/// Asks the policy.
fn authorise(actor: &Actor, action: Action, resource: Resource) -> Result<(), ServiceError> {
    match policy::decide(actor, action, resource) {
        Decision::Allow => Ok(()),
        Decision::Unauthenticated => Err(ServiceError::Unauthenticated),
        Decision::Forbidden => Err(ServiceError::Forbidden),
        Decision::NotFound => Err(ServiceError::NotFound),
    }
}
