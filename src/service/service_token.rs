//! Service tokens, with which machines authenticate.

use super::{
    ServiceError, Services, UserError, UserErrorCode, audit, authorise, authorise_with_proof,
    validation::Validation,
};
use crate::{
    crypto::token::{BearerToken, TokenKind},
    db::{Connection, DbError, service_token},
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

/// A new service token.
#[derive(Debug)]
pub struct Issued {
    /// The token that the machine sends. It is not stored and cannot be shown again.
    pub secret: BearerToken,
    /// The token as stored.
    pub token: ServiceToken,
}

/// Creates a service token.
///
/// # Errors
/// Returns an error if the actor is not an admin, and user errors if the input is invalid or they
/// must re-authenticate first.
pub async fn create(
    actor: &Actor,
    services: &Services,
    name: &str,
    scopes: &[Scope],
) -> Result<Issued, ServiceError> {
    authorise_with_proof(actor, services, Action::CreateServiceTokens).await?;
    let mut validation = Validation::default();
    let name = validation.text("name", "The name", Label::parse(name));
    if scopes.is_empty() {
        let message = "Choose at least one scope. A token without scopes may not do anything.";
        validation.add(UserError::new("scopes", UserErrorCode::Required, message));
    }
    let name = validation.finish(name)?.into_string();
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
            record(db, actor, created, now).await
        })
        .await?;
    Ok(Issued { secret, token })
}

/// Returns all service tokens, newest first, also revoked ones.
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub async fn all(actor: &Actor, services: &Services) -> Result<Vec<ServiceToken>, ServiceError> {
    authorise(actor, Action::ManageServiceTokens, Resource::Desk)?;
    Ok(service_token::all(&mut *services.database.read().await?).await?)
}

/// Revokes a service token, effective immediately.
///
/// # Errors
/// Returns an error if the actor is not an admin, and a user error if there is no such token or
/// it is already revoked.
pub async fn revoke(
    actor: &Actor,
    services: &Services,
    id: Option<ServiceTokenId>,
) -> Result<ServiceToken, ServiceError> {
    authorise(actor, Action::ManageServiceTokens, Resource::Desk)?;
    let unknown = || {
        let message = "There is no such service token, or it is already revoked.";
        ServiceError::from(UserError::new("id", UserErrorCode::NotFound, message))
    };
    let id = id.ok_or_else(unknown)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let revoked = service_token::revoke(db, id, actor.account_id(), now).await?;
            let revoked = revoked.ok_or_else(unknown)?;
            record(db, actor, AccountEvent::ServiceTokenRevoked { token_id: id }, now).await?;
            Ok::<_, ServiceError>(revoked)
        })
        .await
}

/// Records an event in the audit trail of the admin. The operator at the command line has no
/// account and so no audit trail. The token's row tells when it was created and revoked.
async fn record(
    db: &mut Connection,
    actor: &Actor,
    event: AccountEvent,
    now: Timestamp,
) -> Result<(), DbError> {
    let Some(admin) = actor.account_id() else { return Ok(()) };
    audit::record(db, admin, Some(admin), event, now).await
}
