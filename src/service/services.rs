//! The dependencies that all use cases share.

use std::{ops::Deref, sync::Arc};

use tokio::sync::{Notify, Semaphore};

use super::{
    account::cache::AccountCache,
    grouping::Grouping,
    look_ups::LookUps,
    own_tickets::cache::{OwnList, OwnTicketsCache},
    password_places::PasswordPlaces,
    posted_comments::PostedComments,
    session::cache::SessionCache,
    settings::{Branding, Settings},
    single_changes::SingleChanges,
    ticket_list::cache::TicketCache,
    ticket_writes::{Change, Opening},
    timeline::cache::TimelineCache,
    written_tickets::WrittenTickets,
};
use crate::{
    crypto::{password::Passwords, seal::Keyring, signing::SigningKey},
    db::{
        Database,
        feed_hints::FeedHints,
        placing::{Placement, Placing},
    },
    domain::{attachment::Limits, clock::Ambient, event::Event, ticket::NumberPrefix},
    metrics::Metrics,
    storage::Storage,
};

/// How many tickets of groups are opened alone at the same time: one that waits for a lock holds a
/// connection.
const MAX_SINGLE_OPENINGS: usize = 4;

/// The use cases' dependencies. Cheap to clone and shared by all requests.
#[derive(Clone)]
pub struct Services(Arc<Dependencies>);

/// What the use cases depend on.
#[derive(Clone)]
pub struct Dependencies {
    pub(super) database: Database,
    /// The database with connections that requests don't use.
    pub(super) background: Database,
    /// The way to the tailer of this node's event log. `None` if it has none: then all events are
    /// left to a sequencer.
    pub(super) hints: Option<Arc<FeedHints>>,
    pub(super) ambient: Ambient,
    pub(super) passwords: Passwords,
    /// Whose passwords are being hashed or wait for it.
    pub(super) password_places: PasswordPlaces,
    pub(super) settings: Arc<Settings>,
    pub(super) sessions: SessionCache,
    /// The look-ups of tokens that are not in memory.
    pub(super) look_ups: LookUps,
    pub(super) accounts: AccountCache,
    pub(super) timelines: TimelineCache,
    pub(super) own_tickets: OwnTicketsCache,
    /// The tickets in lists of staff.
    pub(super) tickets: TicketCache,
    /// The pages of tickets that wait to be confirmed together.
    pub(super) own_lists: Arc<Grouping<OwnList>>,
    pub(super) posted: PostedComments,
    pub(super) written: WrittenTickets,
    /// The changes of tickets that wait to be written together.
    pub(super) changes: Arc<Grouping<Change>>,
    /// The changes that run in a transaction of their own.
    pub(super) single_changes: Arc<SingleChanges>,
    /// The tickets that wait to be opened together.
    pub(super) openings: Arc<Grouping<Opening>>,
    /// Limits how many tickets are opened in a transaction of their own at a time.
    pub(super) single_openings: Arc<Semaphore>,
    /// Wakes the task that returns the tickets of former staff to the queue.
    pub(super) former_staff: Arc<Notify>,
    /// Wakes the task that erases what is left of erased accounts.
    pub(super) erasures: Arc<Notify>,
    /// Seals secrets that must be readable later, and hashes codes.
    pub(super) keys: Keyring,
    /// Signs the links in mails. `None` if the installation sends no mail.
    pub(super) signing_key: Option<SigningKey>,
    /// The page that redeems handoffs. `{token}` stands for the token.
    pub(super) handoff_link: Arc<str>,
    /// The page of a ticket, or `None` if there is none. `{number}` stands for its number.
    pub(super) ticket_link: Option<Arc<str>>,
    pub(super) metrics: Metrics,
    /// Stores the contents of attachments. `None` if attachments are not supported.
    pub(super) storage: Option<Storage>,
}

impl Services {
    /// Creates the services without storage for attachments and without a signing key.
    pub fn new(
        database: Database,
        ambient: Ambient,
        passwords: Passwords,
        keys: Keyring,
        settings: Settings,
    ) -> Self {
        Self(Arc::new(Dependencies {
            look_ups: LookUps::new(database.pool_use().limit),
            background: database.clone(),
            hints: None,
            database,
            ambient,
            password_places: PasswordPlaces::new(passwords.most()),
            passwords,
            accounts: AccountCache::default(),
            timelines: TimelineCache::new(settings.timeline_cache_bytes),
            settings: Arc::new(settings),
            own_tickets: OwnTicketsCache::default(),
            tickets: TicketCache::default(),
            own_lists: Arc::default(),
            posted: PostedComments::default(),
            written: WrittenTickets::default(),
            sessions: SessionCache::default(),
            changes: Arc::new(Grouping::overlapping()),
            single_changes: Arc::default(),
            openings: Arc::default(),
            single_openings: Arc::new(Semaphore::new(MAX_SINGLE_OPENINGS)),
            former_staff: Arc::default(),
            erasures: Arc::default(),
            keys,
            signing_key: None,
            handoff_link: "/handoff#token={token}".into(),
            ticket_link: None,
            metrics: Metrics::default(),
            storage: None,
        }))
    }

    fn with(self, change: impl FnOnce(&mut Dependencies)) -> Self {
        let mut changed = Arc::unwrap_or_clone(self.0);
        change(&mut changed);
        Self(Arc::new(changed))
    }

    /// Sets the connections for looking up sessions.
    #[must_use]
    pub fn with_background(self, background: Database) -> Self {
        self.with(|it| {
            it.look_ups = LookUps::new(background.pool_use().limit);
            it.background = background;
        })
    }

    /// Returns the use cases for background tasks, with connections that requests don't use.
    #[must_use]
    pub fn in_background(&self) -> Self {
        self.clone().with(|it| it.database = it.background.clone())
    }

    /// Sets the way to the tailer of this node's event log.
    #[must_use]
    pub fn with_feed_hints(self, hints: Arc<FeedHints>) -> Self {
        self.with(|it| it.hints = Some(hints))
    }

    /// Returns what lets a statement place the events that it appends, or `None` if it must not. Only
    /// for a statement that is a transaction of its own. Its outcome must be announced.
    pub(super) fn placing(&self) -> Option<Placing> {
        Some(self.hints.as_ref()?.placing(&self.ambient))
    }

    /// Passes the events of such a statement to the tailer, or wakes the sequencer.
    pub(super) fn announce(&self, placement: Placement) {
        match (placement, &self.hints) {
            (Placement::Placed(events), Some(hints)) => hints.placed(events),
            (Placement::Placed(_), None) => {}
            (Placement::Pending, _) => self.database.announce_commit(),
        }
    }

    /// Announces that such a statement has failed. It may have committed.
    pub(super) fn announce_failure(&self) {
        self.database.announce_commit();
        if let Some(hints) = &self.hints {
            hints.in_doubt();
        }
    }

    /// Sets the key that signs the links in mails.
    #[must_use]
    pub fn with_signing_key(self, key: SigningKey) -> Self {
        self.with(|it| it.signing_key = Some(key))
    }

    /// Sets the page that redeems handoffs. `{token}` in it stands for the token.
    #[must_use]
    pub fn with_handoff_link(self, link: &str) -> Self {
        self.with(|it| it.handoff_link = link.into())
    }

    /// Sets the page of a ticket. `{number}` in it stands for the ticket's number.
    #[must_use]
    pub fn with_ticket_link(self, link: Option<String>) -> Self {
        self.with(|it| it.ticket_link = link.map(Into::into))
    }

    /// Sets the storage for attachments.
    #[must_use]
    pub fn with_storage(self, storage: Storage) -> Self {
        self.with(|it| it.storage = Some(storage))
    }

    /// Sets the metrics to count in.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        self.with(|it| it.metrics = metrics)
    }

    /// Drops cached sessions that an event has ended, or whose account it has changed. Call
    /// this for every event that ends streams, also for those of other nodes.
    pub fn on_event(&self, event: &Event) {
        self.sessions.on_event(event);
    }

    /// Returns about how many bytes the timelines and comments in memory take.
    pub fn timeline_cache_bytes(&self) -> u64 {
        self.timelines.bytes()
    }

    /// Returns the limits on the files of a request.
    pub fn file_limits(&self) -> Limits {
        self.settings.attachments
    }

    /// What portals show about the company.
    pub fn branding(&self) -> &Branding {
        &self.settings.branding
    }

    /// Returns the prefix of ticket numbers.
    pub fn number_prefix(&self) -> &NumberPrefix {
        &self.settings.number_prefix
    }
}

impl Deref for Services {
    type Target = Dependencies;

    fn deref(&self) -> &Dependencies {
        &self.0
    }
}
