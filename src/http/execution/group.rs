//! Groups of subscribers that share responses. `execution.rs` describes what is shared, with
//! whom and for how long.

use std::{
    collections::HashMap,
    mem::Discriminant,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use async_graphql::{Request, Variables, parser::types::ExecutableDocument};
use parking_lot::Mutex;

use super::{
    requested,
    response_cache::{Execution, ResponseCache, ResponseKey, SharedResponse, WantedTurn},
};
use crate::{
    domain::{
        account::{Locale, Role},
        actor::{Actor, Identity},
        cursor::Cursor,
        ids::AccountId,
    },
    events::Item,
    graphql,
    metrics::Metrics,
};

/// The groups that have a subscriber on this node.
#[derive(Clone)]
pub struct FanOutGroups {
    groups: Arc<Mutex<HashMap<GroupKey, Weak<FanOutGroup>>>>,
    responses: ResponseCache,
    /// The number of groups created so far.
    created: Arc<AtomicU64>,
}

/// The properties that the subscribers of a group have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    query: Arc<str>,
    operation_name: Option<String>,
    class: SubscriberClass,
}

/// Subscribers that see the same in every message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum SubscriberClass {
    /// The staff of one role and language.
    Staff(Role, Locale),
    /// One customer, on any number of devices with the same language.
    Customer(AccountId, Locale),
}

impl SubscriberClass {
    fn of(identity: &Identity) -> Self {
        if identity.role.is_staff() {
            Self::Staff(identity.role, identity.locale)
        } else {
            Self::Customer(identity.id, identity.locale)
        }
    }
}

/// The subscribers of one class with the same document, and the responses that they share.
pub struct FanOutGroup {
    groups: FanOutGroups,
    key: GroupKey,
    request: Arc<SharedRequest>,
    /// Tells its responses from those of other groups.
    number: u64,
}

/// The request that is executed for each message.
pub struct SharedRequest {
    query: Arc<str>,
    operation_name: Option<String>,
    document: ExecutableDocument,
    /// The variables of the first subscriber. Messages do not depend on them, but are executed only if
    /// they are valid.
    variables: Variables,
}

impl FanOutGroups {
    /// Creates an empty set of groups whose responses take at most this many bytes together.
    pub fn new(max_bytes: usize, metrics: Metrics) -> Self {
        Self {
            groups: Arc::default(),
            responses: ResponseCache::new(max_bytes, metrics),
            created: Arc::default(),
        }
    }

    /// Returns the group of a subscription whose document the guard has validated, or a new one
    /// that nobody else finds yet. Returns `None` if its responses cannot be shared.
    pub fn find(&self, request: &mut Request, actor: &Actor) -> Option<Arc<FanOutGroup>> {
        let key = GroupKey {
            query: request.query.as_str().into(),
            operation_name: request.operation_name.clone(),
            class: SubscriberClass::of(actor.identity()?),
        };
        if let Some(group) = self.groups.lock().get(&key).and_then(Weak::upgrade) {
            return Some(group);
        }
        Some(Arc::new(FanOutGroup {
            groups: self.clone(),
            request: Arc::new(SharedRequest::new(request, &key)?),
            key,
            number: self.created.fetch_add(1, Ordering::Relaxed),
        }))
    }

    /// Has others find the group of a subscription that has started, whose variables are therefore
    /// valid. Returns the group of a subscription that has started before it, if there is one.
    pub fn join(&self, group: Arc<FanOutGroup>) -> Arc<FanOutGroup> {
        let mut groups = self.groups.lock();
        if let Some(joined) = groups.get(&group.key).and_then(Weak::upgrade) {
            // A group that is dropped locks the groups.
            drop(groups);
            return joined;
        }
        groups.insert(group.key.clone(), Arc::downgrade(&group));
        drop(groups);
        group
    }
}

impl SharedRequest {
    /// Copies a request, or returns `None` if its responses cannot be shared.
    fn new(request: &mut Request, key: &GroupKey) -> Option<Self> {
        let mut variables = request.variables.clone();
        let (name, document) = (key.operation_name.as_deref(), request.parsed_query().ok()?);
        let operation = graphql::requested_operation(document, name)?;
        graphql::can_fan_out(document, operation).then(|| {
            let reduced = requested::reduced(document, name, &mut variables);
            let document = reduced.unwrap_or_else(|| document.clone());
            let (query, operation_name) = (Arc::clone(&key.query), key.operation_name.clone());
            Self { query, operation_name, document, variables }
        })
    }

    /// Returns a request to execute for one message, without parsing the document again.
    pub fn to_request(&self) -> Request {
        let mut request = Request::new(self.query.to_string());
        request.operation_name.clone_from(&self.operation_name);
        request.variables = self.variables.clone();
        request.set_parsed_query(self.document.clone());
        request
    }
}

impl FanOutGroup {
    /// Returns the request that is executed for each message.
    pub fn request(&self) -> &Arc<SharedRequest> {
        &self.request
    }

    /// Returns the response to the message of a kind at a cursor: a cached one, or the one that
    /// `execute` begins.
    pub fn response(
        &self,
        cursor: Cursor,
        kind: Discriminant<Item>,
        execute: impl FnOnce() -> (Execution, Option<WantedTurn>),
    ) -> SharedResponse {
        self.groups.responses.get_or_execute(self.key_of(cursor, kind), execute)
    }

    /// Removes a response from the cache. Subscribers that wait for it already still receive it.
    pub fn remove(&self, cursor: Cursor, kind: Discriminant<Item>, response: &SharedResponse) {
        self.groups.responses.remove(&self.key_of(cursor, kind), response);
    }

    fn key_of(&self, cursor: Cursor, kind: Discriminant<Item>) -> ResponseKey {
        ResponseKey { group: self.number, cursor, kind }
    }
}

impl Drop for FanOutGroup {
    fn drop(&mut self) {
        let mut groups = self.groups.groups.lock();
        // A new group may have been created under the same key.
        if groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            groups.remove(&self.key);
        }
    }
}
