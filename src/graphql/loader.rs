//! Loaders batch the look-ups of one request's fields, so that the number of SQL statements
//! does not grow with the number of rows. Each request has its own loaders. They load on
//! behalf of its actor through services, which authorise.
//!
//! async-graphql's data loader dispatches a batch after a fixed delay of a millisecond. On a
//! busy machine only part of the keys have arrived by then, and the number of statements for
//! a page varies. These loaders dispatch when the request has nothing else to do.

mod long_text_lock;
mod rounds;

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;

use self::{
    long_text_lock::LongTextLock,
    rounds::{Round, Rounds},
};
use super::error::Failure;
use crate::{
    domain::{
        account::Account,
        actor::Actor,
        attachment::Attachment,
        budget::RequestBudget,
        canned_answer::CannedAnswer,
        category::Category,
        comment::{Comment, EarlierBody},
        cursor::Cursor,
        delivery::Delivery,
        event::FeedEvent,
        ids::{
            AccountId, AttachmentId, CannedAnswerId, CategoryId, CommentId, SavedViewId, TicketId,
        },
        merge::Merge,
        saved_view::SavedView,
        ticket::Ticket,
        ticket_invitation::TicketInvitation,
        unread::TicketCounts,
    },
    service::{
        self, ServiceError, Services,
        timeline::{TimelineOf, TimelinePage, TimelineRequest},
    },
};

/// The loaders of one request, one for each kind of key.
pub struct Loaders {
    accounts: Loader<AccountId>,
    attachments: Loader<AttachmentId>,
    attachments_of: Loader<AttachmentsOf>,
    bodies: Loader<BodyOf>,
    canned_answers: Loader<CannedAnswerId>,
    categories: Loader<CategoryId>,
    comments: Loader<CommentId>,
    edits: Loader<EditsOf>,
    saved_views: Loader<SavedViewId>,
    view_counts: Loader<CountOfView>,
    tickets: Loader<TicketId>,
    timelines: Loader<TimelineKey>,
    events: Loader<FeedPosition>,
    deliveries: Loader<DeliveriesOf>,
    unread: Loader<IsUnread>,
    follow_ups: Loader<FollowUpsOf>,
    merges: Loader<MergeOf>,
    merged_tickets: Loader<MergedTicketsOf>,
    invitations: Loader<InvitationsOf>,
    last_comments: Loader<LastCommentOf>,
    ticket_counts: Loader<OwnTicketCounts>,
    unread_notifications: Loader<OwnUnreadNotifications>,
    /// Under which the request works on long texts.
    pub long_text_lock: LongTextLock,
    budget: RequestBudget,
}

/// The size that every object of a response counts as, in bytes, in addition to its texts.
const OBJECT_BYTES: usize = 128;

/// The actor on whose behalf values are loaded, and the services that load them.
pub struct Source {
    actor: Actor,
    services: Services,
    /// The cursor of events that have no position in the feed yet.
    cursor: Cursor,
    budget: RequestBudget,
}

type Loaded<K> = Result<HashMap<K, <K as Key>::Value>, ServiceError>;
type LookUp<K> = Shared<BoxFuture<'static, SharedResult<K>>>;
type SharedResult<K> = Result<Arc<HashMap<K, <K as Key>::Value>>, Arc<ServiceError>>;

/// A key that a value is looked up by.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {
    /// The value of a key.
    type Value: Clone + Send + Sync;

    /// Looks up many keys together. Keys of unknown values, and of those that the actor may not
    /// see, are left out.
    fn load(source: Arc<Source>, keys: Vec<Self>) -> impl Future<Output = Loaded<Self>> + Send;

    /// The request's loader for this kind of key.
    fn loader(loaders: &Loaders) -> &Loader<Self>;
}

/// Collects keys until the request is idle, then looks them up together.
pub struct Loader<K: Key> {
    source: Arc<Source>,
    rounds: Rounds,
    batch: Mutex<Option<Batch<K>>>,
    /// Values that were loaded before a field asks for them. `None` if there is none that the actor
    /// may see.
    known: Mutex<HashMap<K, Option<K::Value>>>,
}

/// The keys of one round and the look-up that will load them.
struct Batch<K: Key> {
    round: usize,
    keys: Arc<Mutex<HashSet<K>>>,
    /// Polled by the fields that wait for it.
    look_up: LookUp<K>,
}

impl<K: Key> Loader<K> {
    fn new(source: &Arc<Source>, rounds: &Rounds) -> Self {
        Self {
            source: Arc::clone(source),
            rounds: rounds.clone(),
            batch: Mutex::default(),
            known: Mutex::default(),
        }
    }

    async fn get(&self, key: K) -> Result<Option<K::Value>, Arc<ServiceError>> {
        if let Some(known) = self.known.lock().get(&key) {
            return Ok(known.clone());
        }
        Ok(self.look_up([key.clone()]).await?.get(&key).cloned())
    }

    /// Looks up keys, and keeps their values until the request ends. Returns those that exist.
    async fn load(&self, keys: &[K]) -> Result<Vec<K::Value>, Arc<ServiceError>> {
        let found = self.look_up(keys.iter().cloned()).await?;
        let values = keys.iter().map(|key| (key.clone(), found.get(key).cloned()));
        self.known.lock().extend(values);
        Ok(keys.iter().filter_map(|key| found.get(key).cloned()).collect())
    }

    /// Adds keys to the round's look-up, which may have more of them.
    fn look_up(&self, keys: impl IntoIterator<Item = K>) -> LookUp<K> {
        let round = self.rounds.join();
        let mut batch = self.batch.lock();
        let batch = match &mut *batch {
            Some(batch) if batch.round == round.number => batch,
            outdated => outdated.insert(self.begin_batch(round)),
        };
        batch.keys.lock().extend(keys);
        batch.look_up.clone()
    }

    fn begin_batch(&self, round: Round) -> Batch<K> {
        let keys = Arc::<Mutex<HashSet<K>>>::default();
        let (source, collected) = (Arc::clone(&self.source), Arc::clone(&keys));
        let look_up = async move {
            round.ended.await;
            let keys = collected.lock().drain().collect();
            let budget = source.budget.clone();
            budget.scope(K::load(source, keys)).await.map(Arc::new).map_err(Arc::new)
        };
        Batch { round: round.number, keys, look_up: look_up.boxed().shared() }
    }
}

impl Loaders {
    /// Creates the loaders of a request. Events without a position in the feed get `cursor`.
    pub fn new(actor: Actor, services: &Services, cursor: Cursor, budget: RequestBudget) -> Self {
        let services = services.clone();
        let source = &Arc::new(Source { actor, services, cursor, budget: budget.clone() });
        let rounds = &Rounds::default();
        Self {
            accounts: Loader::new(source, rounds),
            attachments: Loader::new(source, rounds),
            attachments_of: Loader::new(source, rounds),
            bodies: Loader::new(source, rounds),
            canned_answers: Loader::new(source, rounds),
            categories: Loader::new(source, rounds),
            comments: Loader::new(source, rounds),
            edits: Loader::new(source, rounds),
            saved_views: Loader::new(source, rounds),
            view_counts: Loader::new(source, rounds),
            tickets: Loader::new(source, rounds),
            timelines: Loader::new(source, rounds),
            events: Loader::new(source, rounds),
            deliveries: Loader::new(source, rounds),
            unread: Loader::new(source, rounds),
            follow_ups: Loader::new(source, rounds),
            merges: Loader::new(source, rounds),
            merged_tickets: Loader::new(source, rounds),
            invitations: Loader::new(source, rounds),
            last_comments: Loader::new(source, rounds),
            ticket_counts: Loader::new(source, rounds),
            unread_notifications: Loader::new(source, rounds),
            long_text_lock: LongTextLock::default(),
            budget,
        }
    }

    /// Returns the value of a key, or `None` if it does not exist or the actor may not see it.
    pub async fn get<K: Key>(&self, key: K) -> Result<Option<K::Value>, Failure> {
        self.budget.add_response_bytes(OBJECT_BYTES)?;
        let loaded = K::loader(self).get(key).await;
        self.budget.check()?;
        Ok(loaded?)
    }

    /// Adds values that the actor may see, so that they are not looked up.
    pub fn add<K: Key>(&self, values: impl IntoIterator<Item = (K, K::Value)>) {
        let values = values.into_iter().map(|(key, value)| (key, Some(value)));
        K::loader(self).known.lock().extend(values);
    }

    /// Whether the value of a key was added or loaded with [`load`](Self::load).
    pub fn knows<K: Key>(&self, key: &K) -> bool {
        K::loader(self).known.lock().contains_key(key)
    }

    /// Looks up keys together, so that their fields don't wait. Returns the values that exist.
    pub async fn load<K: Key>(&self, keys: &[K]) -> Result<Vec<K::Value>, Failure> {
        let loaded = K::loader(self).load(keys).await;
        self.budget.check()?;
        Ok(loaded?)
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// `NOT_FOUND` if it does not exist or the actor may not see it.
    pub async fn require<K: Key>(&self, key: K) -> Result<K::Value, Failure> {
        self.get(key).await?.ok_or_else(Failure::not_found)
    }
}

/// Makes lists cheap to clone for every field that waits for them.
fn shared<K: Eq + Hash, V>(lists: HashMap<K, Vec<V>>) -> HashMap<K, Arc<[V]>> {
    lists.into_iter().map(|(key, list)| (key, list.into())).collect()
}

/// Makes an id a key that is loaded by its service's `by_ids`.
macro_rules! by_id {
    ($id:ty, $value:ty, $noun:ident, $loader:ident) => {
        impl Key for $id {
            type Value = Arc<$value>;

            async fn load(source: Arc<Source>, ids: Vec<Self>) -> Loaded<Self> {
                let found = service::$noun::by_ids(&source.actor, &source.services, &ids).await?;
                Ok(found.into_iter().map(|value| (value.id, Arc::new(value))).collect())
            }

            fn loader(loaders: &Loaders) -> &Loader<Self> {
                &loaders.$loader
            }
        }
    };
}

by_id!(AccountId, Account, account, accounts);
by_id!(AttachmentId, Attachment, attachment, attachments);
/// The key of the text of a canned answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyOf(pub CannedAnswerId);

impl Key for BodyOf {
    type Value = Arc<str>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let ids = keys.into_iter().map(|Self(id)| id).collect::<Vec<_>>();
        let (actor, services) = (&source.actor, &source.services);
        let found = service::canned_answer::bodies(actor, services, &ids).await?;
        Ok(found.into_iter().map(|(id, body)| (Self(id), body.into())).collect())
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.bodies
    }
}

by_id!(CannedAnswerId, CannedAnswer, canned_answer, canned_answers);
by_id!(CategoryId, Category, category, categories);
by_id!(CommentId, Comment, comment, comments);
by_id!(SavedViewId, SavedView, saved_view, saved_views);
by_id!(TicketId, Ticket, ticket, tickets);

/// The key of a page of a ticket's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineKey {
    /// The ticket.
    pub ticket: TicketId,
    /// The customer who opened the ticket.
    pub reporter: AccountId,
    /// Its participants.
    pub participants: Vec<AccountId>,
    /// How many events it has.
    pub events: i64,
    /// The page.
    pub request: TimelineRequest,
}

impl TimelineKey {
    /// Returns the key of a page of a ticket's timeline.
    pub fn new(of: &TimelineOf<'_>, request: TimelineRequest) -> Self {
        let TimelineOf { id, reporter, participants, events } = *of;
        Self { ticket: id, reporter, participants: participants.to_vec(), events, request }
    }

    /// Returns the ticket whose timeline is loaded.
    pub fn ticket(&self) -> TimelineOf<'_> {
        let Self { ticket, reporter, participants, events, .. } = self;
        TimelineOf { id: *ticket, reporter: *reporter, participants, events: *events }
    }
}

impl Key for TimelineKey {
    type Value = Arc<TimelinePage>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        // Tickets with the same page arguments share a statement.
        let mut by_request = HashMap::<TimelineRequest, Vec<Self>>::new();
        for key in keys {
            by_request.entry(key.request.clone()).or_default().push(key);
        }
        let mut loaded = HashMap::new();
        for (request, mut keys) in by_request {
            // The request may have read a ticket before and after a change. The page has the change.
            keys.sort_unstable_by_key(|key| (key.ticket, Reverse(key.events)));
            let mut tickets = keys.iter().map(Self::ticket).collect::<Vec<_>>();
            tickets.dedup_by_key(|ticket| ticket.id);
            let (actor, services, cursor) = (&source.actor, &source.services, source.cursor);
            let pages =
                service::timeline::pages(actor, services, &tickets, &request, cursor).await?;
            let page_of = |key: Self| pages.get(&key.ticket).cloned().map(|page| (key, page));
            loaded.extend(keys.into_iter().filter_map(page_of));
        }
        Ok(loaded)
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.timelines
    }
}

/// The key of the event at a position of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedPosition(pub i64);

impl Key for FeedPosition {
    type Value = Arc<FeedEvent>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let positions = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found =
            service::notification::events(&source.actor, &source.services, &positions).await?;
        Ok(found.into_iter().map(|event| (Self(event.cursor.pos), Arc::new(event))).collect())
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.events
    }
}

/// The key of the mails about a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveriesOf(pub TicketId);

impl Key for DeliveriesOf {
    type Value = Arc<[Arc<Delivery>]>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found =
            service::delivery::of_tickets(&source.actor, &source.services, &tickets).await?;
        let mut loaded = HashMap::<_, Vec<_>>::new();
        for (ticket, delivery) in found {
            loaded.entry(Self(ticket)).or_default().push(Arc::new(delivery));
        }
        Ok(shared(loaded))
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.deliveries
    }
}

/// The key of the attachments of a ticket's description or of a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttachmentsOf {
    /// The ticket's description.
    Ticket(TicketId),
    /// The comment.
    Comment(CommentId),
}

impl Key for AttachmentsOf {
    type Value = Arc<[Arc<Attachment>]>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let (mut tickets, mut comments) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                Self::Ticket(id) => tickets.push(id),
                Self::Comment(id) => comments.push(id),
            }
        }
        let (actor, services) = (&source.actor, &source.services);
        let mut found = Vec::new();
        if !tickets.is_empty() {
            found.extend(service::attachment::of_tickets(actor, services, &tickets).await?);
        }
        if !comments.is_empty() {
            found.extend(service::attachment::of_comments(actor, services, &comments).await?);
        }
        let mut loaded = HashMap::<_, Vec<_>>::new();
        for attachment in found {
            let ticket = Self::Ticket(attachment.ticket_id);
            let of = attachment.comment_id.map_or(ticket, Self::Comment);
            loaded.entry(of).or_default().push(Arc::new(attachment));
        }
        Ok(shared(loaded))
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.attachments_of
    }
}

/// The key of what a comment was before its author edited it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EditsOf(pub CommentId);

impl Key for EditsOf {
    type Value = Arc<[Arc<EarlierBody>]>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let ids = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let (actor, services) = (&source.actor, &source.services);
        let found = service::comment_edit::earlier_bodies(actor, services, &ids).await?;
        let mut loaded = HashMap::<_, Vec<_>>::new();
        for earlier in found {
            loaded.entry(Self(earlier.comment_id)).or_default().push(Arc::new(earlier));
        }
        Ok(shared(loaded))
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.edits
    }
}

/// The key of whether a ticket is unread by the actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IsUnread(pub TicketId);

impl Key for IsUnread {
    type Value = bool;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let unread = service::unread::among(&source.actor, &source.services, &tickets).await?;
        Ok(keys.into_iter().map(|key| (key, unread.contains(&key.0))).collect())
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.unread
    }
}

/// The key of a ticket's follow-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FollowUpsOf(pub TicketId);

impl Key for FollowUpsOf {
    type Value = Arc<[Arc<Ticket>]>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found = service::follow_up::of(&source.actor, &source.services, &tickets).await?;
        let mut loaded = HashMap::<_, Vec<_>>::new();
        for ticket in found {
            if let Some(predecessor) = ticket.follow_up_to {
                loaded.entry(Self(predecessor)).or_default().push(Arc::new(ticket));
            }
        }
        Ok(shared(loaded))
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.follow_ups
    }
}

/// The key of the merge of a ticket that was merged into another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MergeOf(pub TicketId);

impl Key for MergeOf {
    type Value = Merge;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found = service::merge::of_tickets(&source.actor, &source.services, &tickets).await?;
        Ok(found.into_iter().map(|merge| (Self(merge.ticket_id), merge)).collect())
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.merges
    }
}

/// The key of the tickets that were merged into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MergedTicketsOf(pub TicketId);

impl Key for MergedTicketsOf {
    type Value = Arc<[Arc<Ticket>]>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found = service::merge::into_tickets(&source.actor, &source.services, &tickets).await?;
        let mut loaded = HashMap::<_, Vec<_>>::new();
        for (into, ticket) in found {
            loaded.entry(Self(into)).or_default().push(Arc::new(ticket));
        }
        Ok(shared(loaded))
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.merged_tickets
    }
}

/// The key of the open invitations to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvitationsOf(pub TicketId);

impl Key for InvitationsOf {
    type Value = Arc<[Arc<TicketInvitation>]>;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let (actor, services) = (&source.actor, &source.services);
        let found = service::ticket_invitation::of_tickets(actor, services, &tickets).await?;
        let mut loaded = HashMap::<_, Vec<_>>::new();
        for invitation in found {
            loaded.entry(Self(invitation.ticket_id)).or_default().push(Arc::new(invitation));
        }
        Ok(shared(loaded))
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.invitations
    }
}

/// The key of the last comment of a ticket that the actor may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LastCommentOf(pub TicketId);

impl Key for LastCommentOf {
    type Value = CommentId;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found =
            service::comment::last_of_tickets(&source.actor, &source.services, &tickets).await?;
        Ok(found.into_iter().map(|(ticket, comment)| (Self(ticket), comment)).collect())
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.last_comments
    }
}

/// The key of the numbers of the actor's own tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnTicketCounts;

impl Key for OwnTicketCounts {
    type Value = TicketCounts;

    async fn load(source: Arc<Source>, _: Vec<Self>) -> Loaded<Self> {
        let counts = service::unread::counts(&source.actor, &source.services).await?;
        Ok(HashMap::from([(Self, counts)]))
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.ticket_counts
    }
}

/// The key of the number of the actor's own unread notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnUnreadNotifications;

impl Key for OwnUnreadNotifications {
    type Value = i64;

    async fn load(source: Arc<Source>, _: Vec<Self>) -> Loaded<Self> {
        let unread = service::notification::unread(&source.actor, &source.services).await?;
        Ok(HashMap::from([(Self, unread)]))
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.unread_notifications
    }
}

/// The key of the number of tickets in a saved view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CountOfView(pub SavedViewId);

impl Key for CountOfView {
    type Value = i64;

    async fn load(source: Arc<Source>, keys: Vec<Self>) -> Loaded<Self> {
        let views = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let counts = service::saved_view::counts(&source.actor, &source.services, &views).await?;
        Ok(counts.into_iter().map(|(view, count)| (Self(view), count)).collect())
    }

    fn loader(loaders: &Loaders) -> &Loader<Self> {
        &loaders.view_counts
    }
}
