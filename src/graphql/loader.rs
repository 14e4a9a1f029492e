//! Loaders gather what the fields of one request look up, so that the number of
//! SQL statements doesn't grow with the number of rows. They are made for each
//! request, hold its actor, and load through services, which authorise.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::dataloader::{DataLoader, Loader};

use super::error::Failure;
use crate::{
    domain::{
        account::Account,
        actor::Actor,
        category::Category,
        comment::Comment,
        cursor::Cursor,
        event::FeedEvent,
        ids::{AccountId, CategoryId, CommentId, EventId, TicketId},
        page::{Page, Slice},
        ticket::Ticket,
    },
    service::{self, Desk, ServiceError},
};

/// The loaders of one request.
pub struct Loaders(DataLoader<ServiceLoader>);

/// Loads through services on one actor's behalf.
pub struct ServiceLoader {
    actor: Actor,
    desk: Desk,
    cursor: Cursor,
}

/// Which page of which ticket's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineKey {
    /// The ticket.
    pub ticket: TicketId,
    /// Its reporter.
    pub reporter: AccountId,
    /// The page.
    pub page: Page<EventId>,
}

type Loaded<K, V> = Result<HashMap<K, V>, Arc<ServiceError>>;

impl Loaders {
    /// The loaders for a new request. Events that have no place in the feed yet
    /// get `cursor`.
    pub fn new(actor: Actor, desk: &Desk, cursor: Cursor) -> Self {
        let loader = ServiceLoader { actor, desk: desk.clone(), cursor };
        Self(DataLoader::new(loader, tokio::spawn))
    }

    /// What a key stands for, if the actor may see it.
    pub async fn get<K, V>(&self, key: K) -> Result<Option<V>, Failure>
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        V: Send + Sync + Clone + 'static,
        ServiceLoader: Loader<K, Value = V, Error = Arc<ServiceError>>,
    {
        Ok(self.0.load_one(key).await?)
    }

    /// What a key stands for.
    ///
    /// # Errors
    /// There is no such thing that the actor may see.
    pub async fn require<K, V>(&self, key: K) -> Result<V, Failure>
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        V: Send + Sync + Clone + 'static,
        ServiceLoader: Loader<K, Value = V, Error = Arc<ServiceError>>,
    {
        self.get(key).await?.ok_or_else(Failure::not_found)
    }
}

fn by_id<K: Hash + Eq, V>(
    found: Result<Vec<V>, ServiceError>,
    id: impl Fn(&V) -> K,
) -> Loaded<K, V> {
    Ok(found.map_err(Arc::new)?.into_iter().map(|value| (id(&value), value)).collect())
}

impl Loader<AccountId> for ServiceLoader {
    type Value = Account;
    type Error = Arc<ServiceError>;

    async fn load(&self, ids: &[AccountId]) -> Loaded<AccountId, Account> {
        by_id(service::account::by_ids(&self.actor, &self.desk, ids).await, |account| account.id)
    }
}

impl Loader<CategoryId> for ServiceLoader {
    type Value = Category;
    type Error = Arc<ServiceError>;

    async fn load(&self, ids: &[CategoryId]) -> Loaded<CategoryId, Category> {
        by_id(service::category::by_ids(&self.actor, &self.desk, ids).await, |category| category.id)
    }
}

impl Loader<CommentId> for ServiceLoader {
    type Value = Comment;
    type Error = Arc<ServiceError>;

    async fn load(&self, ids: &[CommentId]) -> Loaded<CommentId, Comment> {
        by_id(service::comment::by_ids(&self.actor, &self.desk, ids).await, |comment| comment.id)
    }
}

impl Loader<TicketId> for ServiceLoader {
    type Value = Ticket;
    type Error = Arc<ServiceError>;

    async fn load(&self, ids: &[TicketId]) -> Loaded<TicketId, Ticket> {
        by_id(service::ticket::by_ids(&self.actor, &self.desk, ids).await, |ticket| ticket.id)
    }
}

impl Loader<TimelineKey> for ServiceLoader {
    type Value = Slice<FeedEvent>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[TimelineKey]) -> Loaded<TimelineKey, Slice<FeedEvent>> {
        // One statement for each page that the document asks for, however many tickets.
        let mut by_page = HashMap::<&Page<EventId>, Vec<&TimelineKey>>::new();
        for key in keys {
            by_page.entry(&key.page).or_default().push(key);
        }
        let mut loaded = HashMap::new();
        for (page, keys) in by_page {
            let tickets = keys.iter().map(|key| (key.ticket, key.reporter)).collect::<Vec<_>>();
            let pages =
                service::timeline::pages(&self.actor, &self.desk, &tickets, page, self.cursor);
            let mut pages = pages.await.map_err(Arc::new)?;
            loaded.extend(
                keys.into_iter().filter_map(|key| Some((key.clone(), pages.remove(&key.ticket)?))),
            );
        }
        Ok(loaded)
    }
}
