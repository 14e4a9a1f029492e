//! Identifies the actor behind a token: a person or a machine.

use std::net::IpAddr;

use super::{ServiceError, Services, session};
use crate::{
    crypto::token::{TokenHash, TokenKind},
    db::service_token,
    domain::actor::{Actor, Machine},
};

/// Returns the actor behind a token that a client of this network or site has sent, or `None` if the
/// token is unknown, was revoked or its session has ended.
///
/// # Errors
/// Returns an error if the database failed.
pub async fn actor(
    services: &Services,
    token: &str,
    network: Option<IpAddr>,
) -> Result<Option<Actor>, ServiceError> {
    let Some(hash) = TokenHash::presented_as(TokenKind::Service, token) else {
        return Ok(session::authenticate(services, token, network).await?.map(Actor::Account));
    };
    // Boxed: every request would carry the state of a look-up that few need.
    Box::pin(machine(services, hash, network)).await
}

/// Returns the machine behind a service token.
async fn machine(
    services: &Services,
    hash: TokenHash,
    network: Option<IpAddr>,
) -> Result<Option<Actor>, ServiceError> {
    let _look_up = services.look_ups.begin(network).await?;
    // Not cached: machines are few, and the revocation of a leaked token must take effect on
    // every node immediately.
    let mut connection = services.background.read().await?;
    let found = service_token::by_token(&mut connection, hash, services.ambient.now()).await?;
    Ok(found.map(|token| Actor::Machine(Machine { token: token.id, scopes: token.scopes })))
}
