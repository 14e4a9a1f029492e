//! The use cases, by noun. A function here takes the actor first, authorises in
//! its first statement, and owns its transaction. Nothing but database work
//! happens inside one.

pub mod account;
pub mod attachment;
pub mod audit;
pub mod authentication;
pub mod bulk;
pub mod category;
pub mod challenge;
pub mod closing;
pub mod comment;
pub mod customer;
pub mod delivery;
pub mod demo;
pub mod error;
pub mod follow_up;
pub mod handoff;
mod idempotency;
pub mod notification;
pub mod participant;
pub mod password;
pub mod people;
pub mod preferences;
mod priority_mail;
mod rate_limit;
pub mod search;
pub mod second_factor;
pub mod service_token;
pub mod session;
pub mod staff;
pub mod ticket;
pub mod timeline;
pub mod unread;
pub mod unsubscription;

use std::sync::Arc;

use chrono::TimeDelta;

pub use error::{ServiceError, UserError, UserErrorCode};

use crate::{
    crypto::{password::Passwords, seal::Keyring, signing::SigningKey},
    db::{
        Database, DbError, challenge as db_challenge, handoff as handoffs, idempotency as keys,
        password_reset, rate_limit as db_rate_limit, second_factor as db_second_factor,
    },
    domain::{
        actor::Actor,
        attachment::Limits,
        clock::Ambient,
        event::Event,
        policy::{self, Action, Decision, Resource},
        second_factor::Requirements,
        ticket::NumberPrefix,
    },
    metrics::Metrics,
    storage::Storage,
};

/// What the use cases work with: cheap to clone, shared by all requests.
#[derive(Clone)]
pub struct Services {
    database: Database,
    ambient: Ambient,
    passwords: Passwords,
    settings: Arc<Settings>,
    sessions: session::SessionCache,
    /// Seals what has to be read again.
    keys: Keyring,
    /// Signs links in mails; none: no mail goes out.
    signing_key: Option<SigningKey>,
    /// Where customers come over from the control panel; `{token}` stands for the token.
    handoff_link: Arc<str>,
    metrics: Metrics,
    /// Keeps the bytes of attachments; none: none are taken.
    storage: Option<Storage>,
}

/// What an installation chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What ticket numbers begin with.
    pub number_prefix: NumberPrefix,
    /// How long a session lasts, however much it is used.
    pub session_lifetime: TimeDelta,
    /// Who has to have a second factor.
    pub second_factors: Requirements,
    /// The installation's name in authenticator apps.
    pub issuer: String,
    /// Whether any mail goes out.
    pub mails: bool,
    /// How long a session lasts that is not used.
    pub session_idle: TimeDelta,
    /// How much may be attached at once.
    pub attachments: Limits,
    /// What links to attachments begin with.
    pub base_url: Option<String>,
    /// So long after they were resolved tickets close; none: they don't.
    pub close_resolved_after: Option<TimeDelta>,
}

impl Services {
    /// Puts the parts together.
    pub fn new(
        database: Database,
        ambient: Ambient,
        passwords: Passwords,
        keys: Keyring,
        settings: Settings,
    ) -> Self {
        let sessions = session::SessionCache::default();
        let settings = Arc::new(settings);
        let handoff_link = "/handoff#token={token}".into();
        Self {
            database,
            ambient,
            passwords,
            settings,
            sessions,
            keys,
            signing_key: None,
            handoff_link,
            metrics: Metrics::default(),
            storage: None,
        }
    }

    /// The same with a key that signed the links in mails.
    #[must_use]
    pub fn with_signing_key(self, key: SigningKey) -> Self {
        Self { signing_key: Some(key), ..self }
    }

    /// The same with another place where customers come over from the control panel;
    /// `{token}` stands for the token.
    #[must_use]
    pub fn with_handoff_link(self, link: &str) -> Self {
        Self { handoff_link: link.into(), ..self }
    }

    /// The same with a place for the bytes of attachments.
    #[must_use]
    pub fn with_storage(self, storage: Storage) -> Self {
        Self { storage: Some(storage), ..self }
    }

    /// The same, counting in a server's metrics.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Heeds an event about an account that ends sessions or changes what they may: what
    /// is kept of them here is not trusted any more.
    pub fn on_event(&self, event: &Event) {
        self.sessions.on_event(event);
    }

    /// What ticket numbers begin with.
    pub fn number_prefix(&self) -> &NumberPrefix {
        &self.settings.number_prefix
    }
}

/// Hand-overs that can't be used any more are kept for so long, to be looked into.
const HANDOFFS_KEPT_FOR: TimeDelta = TimeDelta::hours(24);

/// Forgets what is kept for a time only and whose time is over. Safe on many nodes.
///
/// # Errors
/// The database failed.
pub async fn prune(services: &Services) -> Result<(), DbError> {
    let mut connection = services.database.read().await?;
    let now = services.ambient.now();
    keys::prune(&mut connection, now).await?;
    db_rate_limit::prune(&mut connection, now).await?;
    db_challenge::prune(&mut connection, now).await?;
    password_reset::prune(&mut connection, now).await?;
    db_second_factor::prune(&mut connection, now).await?;
    handoffs::prune(&mut connection, now - HANDOFFS_KEPT_FOR).await?;
    Ok(())
}

/// Asks the policy.
fn authorise(actor: &Actor, action: Action, resource: Resource) -> Result<(), ServiceError> {
    match policy::decide(actor, action, resource) {
        Decision::Allow => Ok(()),
        Decision::Unauthenticated => Err(ServiceError::Unauthenticated),
        Decision::Forbidden => Err(ServiceError::Forbidden),
        Decision::NotFound => Err(ServiceError::NotFound),
        Decision::SecondFactorMissing => Err(ServiceError::SecondFactorMissing),
    }
}
