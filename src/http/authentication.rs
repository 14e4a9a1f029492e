//! Who is asking: the bearer token (RFC 6750) of a request or of a websocket.

use axum::http::{HeaderMap, header};

use crate::{
    domain::actor::Actor,
    service::{Desk, ServiceError, session},
};

/// The token in an `Authorization` value; `None` where it is of another scheme.
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Who sends a request. A token that stands for no live session counts as none,
/// so that a client that still sends an old one can sign in again.
///
/// # Errors
/// The database failed.
pub async fn actor(headers: &HeaderMap, desk: &Desk) -> Result<Actor, ServiceError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match value.and_then(bearer) {
        None => Ok(Actor::Anonymous),
        Some(token) => {
            let identity = session::authenticate(desk, token).await?;
            Ok(identity.map_or(Actor::Anonymous, Actor::Account))
        }
    }
}
