//! Sessions whose token is in a cookie, which the transport sets.

use std::sync::Arc;

use async_graphql::{Context, Enum};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::error::Failure;
use crate::{crypto::token::BearerToken, service::session::SignedIn};

/// How the token of a session reaches the server.
#[derive(Enum, Copy, Clone, PartialEq, Eq, Default)]
pub enum SessionTransport {
    /// The client gets the token and sends it as `Authorization: Bearer …`.
    #[default]
    Bearer,
    /// The browser keeps the token in a cookie that no page can read. Only for the server's own
    /// pages, over HTTP: each request needs the header `Ticketwire-Client`, and a POST or an
    /// upgrade to a websocket the server's own `Origin`.
    Cookie,
}

/// What happens to the cookie.
pub enum CookieChange {
    /// The cookie is set.
    Set {
        /// The token of the session.
        token: BearerToken,
        /// When the session expires at the latest.
        expires_at: DateTime<Utc>,
    },
    /// The cookie is removed.
    Remove,
}

/// The cookie of a request of the server's own pages. A transport that can set it puts one into the
/// request's data.
#[derive(Clone)]
pub struct SessionCookie {
    /// Whether the request's session was in the cookie.
    is_used: bool,
    change: Arc<Mutex<Option<CookieChange>>>,
}

impl SessionCookie {
    /// `is_used` is whether the request's session is in the cookie.
    pub fn new(is_used: bool) -> Self {
        Self { is_used, change: Arc::default() }
    }

    /// Returns the change that the request has made, once.
    pub fn take_change(&self) -> Option<CookieChange> {
        self.change.lock().take()
    }

    fn set_change(&self, change: CookieChange) {
        *self.change.lock() = Some(change);
    }
}

impl SessionTransport {
    /// Returns the cookie to set, or `None` for a bearer token. Call this before a session begins.
    pub(super) fn cookie<'c>(
        self,
        ctx: &Context<'c>,
    ) -> Result<Option<&'c SessionCookie>, Failure> {
        match (self, ctx.data_opt::<SessionCookie>()) {
            (Self::Bearer, _) => Ok(None),
            (Self::Cookie, Some(cookie)) => Ok(Some(cookie)),
            (Self::Cookie, None) => Err(Failure::bad_request(
                "Only the server's own pages can have a session in a cookie: send the mutation by \
                 POST, with the header `Ticketwire-Client`, and accept JSON. Other clients use a \
                 bearer token.",
            )),
        }
    }
}

/// Puts the token of a new session into the cookie.
pub(super) fn keep(cookie: &SessionCookie, signed_in: &SignedIn) {
    let (token, expires_at) = (signed_in.token.clone(), signed_in.session.expires_at);
    cookie.set_change(CookieChange::Set { token, expires_at });
}

/// Removes the cookie if the request's session was in it.
pub(super) fn remove(ctx: &Context<'_>) {
    if let Some(cookie) = ctx.data_opt::<SessionCookie>().filter(|cookie| cookie.is_used) {
        cookie.set_change(CookieChange::Remove);
    }
}
