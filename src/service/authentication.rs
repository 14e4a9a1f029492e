//! Who presents a token: a person's session, or a machine.

use super::{ServiceError, Services, session};
use crate::{
    crypto::token::{TokenHash, TokenKind},
    db::service_token,
    domain::actor::{Actor, Machine},
};

/// Who is behind a token; `None` where it is unknown, has ended or was revoked.
///
/// # Errors
/// The database failed.
pub async fn actor(services: &Services, token: &str) -> Result<Option<Actor>, ServiceError> {
    let Some(hash) = TokenHash::presented_as(TokenKind::Service, token) else {
        return Ok(session::authenticate(services, token).await?.map(Actor::Account));
    };
    // Looked up each time: machines are few, and a token that leaked has to be worth
    // nothing at once, on every node.
    let mut connection = services.database.read().await?;
    let found = service_token::by_token(&mut connection, hash, services.ambient.now()).await?;
    Ok(found.map(|token| Actor::Machine(Machine { token: token.id, scopes: token.scopes })))
}
