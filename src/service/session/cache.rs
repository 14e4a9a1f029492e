//! A cache of live sessions, which saves a database lookup per request.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::{future::Cache, sync};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    crypto::token::TokenHash,
    db::{DbError, session::LiveSession},
    domain::{
        clock::Timestamp,
        event::{Event, SessionEffect},
        ids::{AccountId, SessionId},
    },
};

/// How long a cached session is trusted. Revocations take effect sooner: immediately on this
/// node, and on other nodes when they receive the event.
const CACHE_TTL: Duration = Duration::from_secs(5);
const MAX_CACHED_SESSIONS: u64 = 100_000;

/// The sessions that are in use on this node.
#[derive(Clone)]
pub struct SessionCache {
    live: Cache<TokenHash, LiveSession>,
    /// Recently revoked sessions. A lookup that began before the revocation must not bring
    /// one back.
    revoked: sync::Cache<SessionId, ()>,
    /// Which change of which account was the last one. A lookup that began before it must not stay.
    changed: sync::Cache<AccountId, u64>,
    /// How many changes there were.
    changes: Arc<AtomicU64>,
    /// When each session was last used on this node.
    last_used: Cache<SessionId, Timestamp>,
    /// Uses that are not in the database yet. A background task saves them, so that requests
    /// don't wait for the write.
    unsaved: Arc<Mutex<HashMap<SessionId, Timestamp>>>,
    has_unsaved: Arc<Notify>,
}

impl Default for SessionCache {
    fn default() -> Self {
        let live = Cache::builder()
            .max_capacity(MAX_CACHED_SESSIONS)
            .time_to_live(CACHE_TTL)
            .support_invalidation_closures()
            .build();
        let revoked = sync::Cache::builder().time_to_live(CACHE_TTL * 4).build();
        let changed = sync::Cache::builder().time_to_live(CACHE_TTL * 4).build();
        let last_used = Cache::builder().max_capacity(MAX_CACHED_SESSIONS).build();
        Self {
            live,
            revoked,
            changed,
            changes: Arc::default(),
            last_used,
            unsaved: Arc::default(),
            has_unsaved: Arc::default(),
        }
    }
}

impl SessionCache {
    /// Returns the live session of a token from the cache, or loads it. Confined sessions
    /// are not cached: another node may lift the confinement at any time.
    pub async fn get_or_load<F>(
        &self,
        token: TokenHash,
        load: impl FnOnce() -> F,
    ) -> Result<Option<LiveSession>, DbError>
    where
        F: Future<Output = Result<Option<LiveSession>, DbError>>,
    {
        if let Some(session) = self.live.get(&token).await {
            return Ok(Some(session));
        }
        let changes = self.changes.load(Ordering::SeqCst);
        // Boxed: every request would carry the state of a look-up that it rarely needs.
        let session = Box::pin(self.live.try_get_with(token, async {
            match load().await.map_err(NotCached::Failed)? {
                None => Err(NotCached::Unknown),
                Some(session) if session.identity.confined => Err(NotCached::Confined(session)),
                Some(session) => Ok(session),
            }
        }));
        match session.await {
            Ok(session) => {
                let changed = self.changed.get(&session.identity.id);
                if changed.is_some_and(|change| change > changes) {
                    self.live.invalidate(&token).await;
                }
                Ok(Some(session))
            }
            Err(reason) => match Arc::as_ref(&reason) {
                NotCached::Unknown => Ok(None),
                NotCached::Confined(session) => Ok(Some(*session)),
                NotCached::Failed(cause) => Err(DbError::Unavailable(cause.to_string())),
            },
        }
    }

    /// Drops the cached sessions of an account. Call this after changing it.
    pub fn invalidate(&self, account: AccountId) {
        let change = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        self.changed.insert(account, change);
        let of_account = move |_: &_, session: &LiveSession| session.identity.id == account;
        self.live
            .invalidate_entries_if(of_account)
            .expect("the cache was built with support for closures");
    }

    /// Drops the sessions that an event affects.
    pub fn on_event(&self, event: &Event) {
        let Some(account) = event.account() else { return };
        match account.event.session_effect() {
            SessionEffect::Ended(session) => self.mark_revoked(session),
            SessionEffect::RoleChanged(_) | SessionEffect::Unchanged => {
                self.invalidate(account.id);
            }
        }
    }

    /// Rejects a session from now on.
    pub fn mark_revoked(&self, id: SessionId) {
        self.revoked.insert(id, ());
    }

    /// Returns whether a session was revoked recently.
    pub fn is_revoked(&self, id: SessionId) -> bool {
        self.revoked.contains_key(&id)
    }

    /// Returns when a session was last used, as far as this node knows.
    pub async fn last_used(&self, session: &LiveSession) -> Timestamp {
        let here = self.last_used.get(&session.identity.session).await;
        here.map_or(session.last_used_at, |here| here.max(session.last_used_at))
    }

    /// Records the use of a session, to be saved in the background.
    pub async fn record_use(&self, id: SessionId, now: Timestamp) {
        self.last_used.insert(id, now).await;
        self.unsaved.lock().insert(id, now);
        self.has_unsaved.notify_one();
    }

    /// Waits until there are uses to save, and takes all of them.
    pub async fn take_unsaved(&self) -> Vec<(SessionId, Timestamp)> {
        self.has_unsaved.notified().await;
        mem::take(&mut *self.unsaved.lock()).into_iter().collect()
    }
}

/// Why a lookup is not cached.
enum NotCached {
    Unknown,
    Confined(LiveSession),
    Failed(DbError),
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        account::{Locale, Role},
        actor::Identity,
    };

    fn session(account: u128) -> LiveSession {
        let identity = Identity {
            id: AccountId(Uuid::from_u128(account)),
            role: Role::Customer,
            locale: Locale::En,
            session: SessionId(Uuid::from_u128(account)),
            confined: false,
        };
        let at = Timestamp::default();
        LiveSession { identity, expires_at: at, last_used_at: at }
    }

    /// Looks up an account's session; returns whether it was cached.
    async fn is_cached(cache: &SessionCache, account: u8) -> bool {
        let mut cached = true;
        let load = async || {
            cached = false;
            Ok(Some(session(account.into())))
        };
        cache.get_or_load(TokenHash([account; 32]), load).await.unwrap();
        cached
    }

    #[tokio::test]
    async fn changing_an_account_drops_its_own_sessions_only() {
        let cache = SessionCache::default();
        assert!(!is_cached(&cache, 1).await);
        assert!(!is_cached(&cache, 2).await);
        cache.invalidate(AccountId(Uuid::from_u128(1)));
        assert!(!is_cached(&cache, 1).await);
        assert!(is_cached(&cache, 1).await);
        assert!(is_cached(&cache, 2).await);
    }

    #[tokio::test]
    async fn a_session_that_was_loaded_before_a_change_does_not_stay() {
        let cache = SessionCache::default();
        let load = async || {
            let session = session(1);
            cache.invalidate(session.identity.id);
            Ok(Some(session))
        };
        cache.get_or_load(TokenHash([1; 32]), load).await.unwrap();
        assert!(!is_cached(&cache, 1).await);
        assert!(is_cached(&cache, 1).await);
    }
}
