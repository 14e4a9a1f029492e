//! Loaders gather what the fields of one request look up, so that the number of
//! SQL statements doesn't grow with the number of rows. They are made for each
//! request, hold its actor, and load through services, which authorise.
//!
//! async-graphql's own loader waits for a millisecond and loads what has come by
//! then: on a busy machine that is a part of it, and one page takes ten statements
//! or fifteen. These wait until the request has nothing else to do.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::task;

use super::error::Failure;
use crate::{
    domain::{
        account::Account,
        actor::Actor,
        attachment::Attachment,
        category::Category,
        comment::Comment,
        cursor::Cursor,
        delivery::Delivery,
        event::FeedEvent,
        ids::{AccountId, AttachmentId, CategoryId, CommentId, EventId, TicketId},
        page::{Page, Slice},
        ticket::Ticket,
    },
    service::{self, ServiceError, Services},
};

/// The loaders of one request.
pub struct Loaders {
    accounts: Batch<AccountId>,
    attachments: Batch<AttachmentId>,
    attachments_of: Batch<AttachmentsOf>,
    categories: Batch<CategoryId>,
    comments: Batch<CommentId>,
    tickets: Batch<TicketId>,
    timelines: Batch<TimelineKey>,
    events: Batch<FeedPosition>,
    deliveries: Batch<DeliveriesOf>,
    unread: Batch<IsUnread>,
    follow_ups: Batch<FollowUpsOf>,
}

/// On whose behalf things are loaded, and with what.
#[derive(Clone)]
pub struct Source {
    actor: Actor,
    services: Services,
    cursor: Cursor,
}

type Loaded<K> = Result<HashMap<K, <K as Key>::Value>, ServiceError>;
type Answer<K> = Result<Arc<HashMap<K, <K as Key>::Value>>, Arc<ServiceError>>;

/// What can be looked up by itself.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {
    /// What it stands for.
    type Value: Clone + Send + Sync;

    /// Looks many up at once, in one statement; what the actor may not see is left out.
    fn load(source: Source, keys: Vec<Self>) -> impl Future<Output = Loaded<Self>> + Send;

    /// The request's loader of this kind.
    fn batch(loaders: &Loaders) -> &Batch<Self>;
}

/// Gathers keys until the request waits, then looks them up together.
pub struct Batch<K: Key> {
    source: Source,
    rounds: Rounds,
    gathering: Mutex<Option<Gathering<K>>>,
}

struct Gathering<K: Key> {
    round: usize,
    keys: Arc<Mutex<HashSet<K>>>,
    /// The look-up that will take the keys; whoever waits for it drives it.
    answer: Shared<BoxFuture<'static, Answer<K>>>,
}

impl<K: Key> Batch<K> {
    fn new(source: &Source, rounds: &Rounds) -> Self {
        Self { source: source.clone(), rounds: rounds.clone(), gathering: Mutex::default() }
    }

    async fn get(&self, key: K) -> Result<Option<K::Value>, Arc<ServiceError>> {
        let answer = {
            let round = self.rounds.ask();
            let mut gathering = lock(&self.gathering);
            let gathering = match &mut *gathering {
                Some(gathering) if gathering.round == round.number => gathering,
                other => other.insert(self.gather(round)),
            };
            lock(&gathering.keys).insert(key.clone());
            gathering.answer.clone()
        };
        Ok(answer.await?.get(&key).cloned())
    }

    fn gather(&self, round: Round) -> Gathering<K> {
        let keys = Arc::<Mutex<HashSet<K>>>::default();
        let (source, asked) = (self.source.clone(), Arc::clone(&keys));
        let look_up = async move {
            round.ended.await;
            let keys = lock(&asked).drain().collect();
            K::load(source, keys).await.map(Arc::new).map_err(Arc::new)
        };
        Gathering { round: round.number, keys, answer: look_up.boxed().shared() }
    }
}

/// The rounds in which a request's fields ask: all that is asked for in one round,
/// by whatever key, is looked up when it ends.
#[derive(Clone, Default)]
struct Rounds(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    /// How many questions there were so far.
    times: usize,
    open: Option<Round>,
}

#[derive(Clone)]
struct Round {
    number: usize,
    /// Resolves at its end; whoever waits for it drives it.
    ended: Shared<BoxFuture<'static, ()>>,
}

impl Rounds {
    /// Takes part in the open round, or opens one.
    fn ask(&self) -> Round {
        let mut asked = lock(&self.0);
        asked.times += 1;
        let number = asked.times;
        asked
            .open
            .get_or_insert_with(|| Round { number, ended: self.clone().end().boxed().shared() })
            .clone()
    }

    /// Ends the round when the request has nothing else to do.
    async fn end(self) {
        // What fields wait for may arrive when some of them have been polled and some have
        // not: those ask later than these, and the round has to wait for them.
        let mut times = 0;
        while times != lock(&self.0).times {
            times = lock(&self.0).times;
            Idle::default().await;
        }
        lock(&self.0).open = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resolves when everything else in the task has been polled and waits. Unlike
/// `yield_now`, which is ready at its second poll, it doesn't take another poll by
/// a waiter of the same look-up for that.
#[derive(Default)]
struct Idle(Option<Arc<IdleWaker>>);

struct IdleWaker {
    woken: AtomicBool,
    waker: Waker,
}

impl Wake for IdleWaker {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

impl Future for Idle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(waker) = &self.0 {
            let woken = waker.woken.load(Ordering::Acquire);
            return if woken { Poll::Ready(()) } else { Poll::Pending };
        }
        let waker =
            Arc::new(IdleWaker { woken: AtomicBool::new(false), waker: context.waker().clone() });
        self.0 = Some(Arc::clone(&waker));
        // Hands the waker to the scheduler, which calls it when this task has returned.
        pin!(task::yield_now()).poll(&mut Context::from_waker(&Waker::from(waker)))
    }
}

impl Loaders {
    /// The loaders for a new request. Events that have no place in the feed yet
    /// get `cursor`.
    pub fn new(actor: Actor, services: &Services, cursor: Cursor) -> Self {
        let source = &Source { actor, services: services.clone(), cursor };
        let rounds = &Rounds::default();
        Self {
            accounts: Batch::new(source, rounds),
            attachments: Batch::new(source, rounds),
            attachments_of: Batch::new(source, rounds),
            categories: Batch::new(source, rounds),
            comments: Batch::new(source, rounds),
            tickets: Batch::new(source, rounds),
            timelines: Batch::new(source, rounds),
            events: Batch::new(source, rounds),
            deliveries: Batch::new(source, rounds),
            unread: Batch::new(source, rounds),
            follow_ups: Batch::new(source, rounds),
        }
    }

    /// What a key stands for, if the actor may see it.
    pub async fn get<K: Key>(&self, key: K) -> Result<Option<K::Value>, Failure> {
        Ok(K::batch(self).get(key).await?)
    }

    /// What a key stands for.
    ///
    /// # Errors
    /// There is no such thing that the actor may see.
    pub async fn require<K: Key>(&self, key: K) -> Result<K::Value, Failure> {
        self.get(key).await?.ok_or_else(Failure::not_found)
    }
}

/// Declares what an id of a service's noun stands for.
macro_rules! by_id {
    ($id:ty, $value:ty, $noun:ident, $loader:ident) => {
        impl Key for $id {
            type Value = $value;

            async fn load(source: Source, ids: Vec<Self>) -> Loaded<Self> {
                let found = service::$noun::by_ids(&source.actor, &source.services, &ids).await?;
                Ok(found.into_iter().map(|value| (value.id, value)).collect())
            }

            fn batch(loaders: &Loaders) -> &Batch<Self> {
                &loaders.$loader
            }
        }
    };
}

by_id!(AccountId, Account, account, accounts);
by_id!(AttachmentId, Attachment, attachment, attachments);
by_id!(CategoryId, Category, category, categories);
by_id!(CommentId, Comment, comment, comments);
by_id!(TicketId, Ticket, ticket, tickets);

/// Which page of which ticket's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineKey {
    /// The ticket.
    pub ticket: TicketId,
    /// Its reporter.
    pub reporter: AccountId,
    /// Its participants.
    pub participants: Vec<AccountId>,
    /// The page.
    pub page: Page<EventId>,
}

impl Key for TimelineKey {
    type Value = Slice<FeedEvent>;

    async fn load(source: Source, keys: Vec<Self>) -> Loaded<Self> {
        // One statement for each page that the document asks for, however many tickets.
        let mut by_page = HashMap::<Page<EventId>, Vec<Self>>::new();
        for key in keys {
            by_page.entry(key.page.clone()).or_default().push(key);
        }
        let mut loaded = HashMap::new();
        for (page, keys) in by_page {
            let tickets = keys
                .iter()
                .map(|key| (key.ticket, key.reporter, key.participants.as_slice()))
                .collect::<Vec<_>>();
            let (actor, services, cursor) = (&source.actor, &source.services, source.cursor);
            let mut pages =
                service::timeline::pages(actor, services, &tickets, &page, cursor).await?;
            loaded.extend(keys.into_iter().filter_map(|key| {
                let slice = pages.remove(&key.ticket)?;
                Some((key, slice))
            }));
        }
        Ok(loaded)
    }

    fn batch(loaders: &Loaders) -> &Batch<Self> {
        &loaders.timelines
    }
}

/// The event at a position of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedPosition(pub i64);

impl Key for FeedPosition {
    type Value = FeedEvent;

    async fn load(source: Source, keys: Vec<Self>) -> Loaded<Self> {
        let positions = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found =
            service::notification::events(&source.actor, &source.services, &positions).await?;
        Ok(found.into_iter().map(|event| (Self(event.cursor.pos), event)).collect())
    }

    fn batch(loaders: &Loaders) -> &Batch<Self> {
        &loaders.events
    }
}

/// The mails about a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveriesOf(pub TicketId);

impl Key for DeliveriesOf {
    type Value = Vec<Delivery>;

    async fn load(source: Source, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found =
            service::delivery::of_tickets(&source.actor, &source.services, &tickets).await?;
        let mut loaded = HashMap::<_, Vec<_>>::new();
        for (ticket, delivery) in found {
            loaded.entry(Self(ticket)).or_default().push(delivery);
        }
        Ok(loaded)
    }

    fn batch(loaders: &Loaders) -> &Batch<Self> {
        &loaders.deliveries
    }
}

/// The attachments of a ticket's description or of a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttachmentsOf {
    /// Of a ticket's description.
    Ticket(TicketId),
    /// Of a comment.
    Comment(CommentId),
}

impl Key for AttachmentsOf {
    type Value = Vec<Attachment>;

    async fn load(source: Source, keys: Vec<Self>) -> Loaded<Self> {
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
            loaded.entry(of).or_default().push(attachment);
        }
        Ok(loaded)
    }

    fn batch(loaders: &Loaders) -> &Batch<Self> {
        &loaders.attachments_of
    }
}

/// Whether a ticket has something that the actor has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IsUnread(pub TicketId);

impl Key for IsUnread {
    type Value = bool;

    async fn load(source: Source, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let unread = service::unread::among(&source.actor, &source.services, &tickets).await?;
        Ok(keys.into_iter().map(|key| (key, unread.contains(&key.0))).collect())
    }

    fn batch(loaders: &Loaders) -> &Batch<Self> {
        &loaders.unread
    }
}

/// The tickets that go on from a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FollowUpsOf(pub TicketId);

impl Key for FollowUpsOf {
    type Value = Vec<Ticket>;

    async fn load(source: Source, keys: Vec<Self>) -> Loaded<Self> {
        let tickets = keys.iter().map(|key| key.0).collect::<Vec<_>>();
        let found = service::follow_up::of(&source.actor, &source.services, &tickets).await?;
        let mut loaded = HashMap::<_, Vec<_>>::new();
        for ticket in found {
            if let Some(predecessor) = ticket.follow_up_to {
                loaded.entry(Self(predecessor)).or_default().push(ticket);
            }
        }
        Ok(loaded)
    }

    fn batch(loaders: &Loaders) -> &Batch<Self> {
        &loaders.follow_ups
    }
}
