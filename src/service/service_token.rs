//! Service tokens: making, listing and revoking them.

use super::{ServiceError, Services, UserError, UserErrorCode, authorise, error::Review};
use crate::{
    crypto::token::{BearerToken, TokenKind},
    db::{
        Connection, DbError,
        event::{self, NewAccountEvent},
        service_token,
    },
    domain::{
        actor::Actor,
        clock::Timestamp,
        event::AccountEvent,
        ids::ServiceTokenId,
        policy::{Action, Resource},
        service_token::{Scope, ServiceToken},
        text::Label,
    },
};

/// A service token that was just made.
#[derive(Debug)]
pub struct Issued {
    /// What the machine sends: shown once.
    pub secret: BearerToken,
    /// What is kept.
    pub token: ServiceToken,
}

/// Makes a service token.
///
/// # Errors
/// Not an admin; errors of the input.
pub async fn create(
    actor: &Actor,
    services: &Services,
    name: &str,
    scopes: &[Scope],
) -> Result<Issued, ServiceError> {
    authorise(actor, Action::ManageServiceTokens, Resource::Desk)?;
    let mut review = Review::default();
    let name = review.text("name", "The name", Label::parse(name));
    if scopes.is_empty() {
        let message = "Name at least one scope: without one the token may do nothing.";
        review.note(UserError::new("scopes", UserErrorCode::Required, message));
    }
    let name = review.finish(name)?.into_string();
    let now = services.ambient.now();
    let token = ServiceToken {
        id: ServiceTokenId(services.ambient.uuid()),
        name,
        scopes: scopes.iter().copied().collect(),
        created_at: now,
        created_by: actor.account_id(),
        last_used_at: None,
        revoked_at: None,
    };
    let secret = BearerToken::of(TokenKind::Service, &services.ambient);
    let (row, hash) = (&token, secret.hash());
    let created = AccountEvent::ServiceTokenCreated { token_id: token.id };
    services
        .database
        .write(async |db| {
            service_token::insert(db, row, hash).await?;
            note(db, actor, created, now).await
        })
        .await?;
    Ok(Issued { secret, token })
}

/// All service tokens, newest first, revoked ones too.
///
/// # Errors
/// Not an admin.
pub async fn all(actor: &Actor, services: &Services) -> Result<Vec<ServiceToken>, ServiceError> {
    authorise(actor, Action::ManageServiceTokens, Resource::Desk)?;
    Ok(service_token::all(&mut *services.database.read().await?).await?)
}

/// Revokes a service token: it is worth nothing from now on.
///
/// # Errors
/// Not an admin; no such token, or one that was revoked before, as a user error.
pub async fn revoke(
    actor: &Actor,
    services: &Services,
    id: Option<ServiceTokenId>,
) -> Result<ServiceToken, ServiceError> {
    authorise(actor, Action::ManageServiceTokens, Resource::Desk)?;
    let unknown = || {
        let message = "There is no such service token, or it was revoked before.";
        ServiceError::from(UserError::new("id", UserErrorCode::NotFound, message))
    };
    let id = id.ok_or_else(unknown)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let revoked = service_token::revoke(db, id, actor.account_id(), now).await?;
            let revoked = revoked.ok_or_else(unknown)?;
            note(db, actor, AccountEvent::ServiceTokenRevoked { token_id: id }, now).await?;
            Ok::<_, ServiceError>(revoked)
        })
        .await
}

/// Notes in an admin's trail what they did. What the operator did at the command line
/// is in no account's: the token itself tells when.
async fn note(
    db: &mut Connection,
    actor: &Actor,
    event: AccountEvent,
    now: Timestamp,
) -> Result<(), DbError> {
    let Some(id) = actor.account_id() else { return Ok(()) };
    let done = NewAccountEvent { event, actor_id: Some(id), occurred_at: now };
    event::append_to_account(db, id, &[done]).await
}
