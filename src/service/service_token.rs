//! Service tokens, with which machines authenticate.

use std::collections::BTreeSet;

use super::{
    ServiceError, Services, UserError, UserErrorCode, audit, authorise, authorise_with_proof,
    idempotency::{IdempotentCall, fingerprint},
    staff,
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
        text::{IdempotencyKey, Label},
    },
};

/// A service token to create.
pub struct NewServiceToken {
    /// The name that tells people what the token is for.
    pub name: String,
    /// The scopes: at least one.
    pub scopes: Vec<Scope>,
    /// When the token expires, or `None` if it does not.
    pub expires_at: Option<Timestamp>,
    /// Makes the call safe to repeat.
    pub idempotency_key: Option<String>,
}

/// A new service token.
#[derive(Debug)]
pub struct Issued {
    /// The token that the machine sends. It is not stored and cannot be shown again: `None` if the
    /// call was a repetition.
    pub secret: Option<BearerToken>,
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
    new: NewServiceToken,
) -> Result<Issued, ServiceError> {
    authorise_with_proof(actor, services, Action::CreateServiceTokens).await?;
    let now = services.ambient.now();
    let (name, key) = new.validate()?;
    let fingerprint = new.fingerprint(&name);
    let call = actor.account_id().map(|account| IdempotentCall { account, key, fingerprint });
    let token = new.into_token(ServiceTokenId(services.ambient.uuid()), name, actor, now);
    let secret = BearerToken::of(TokenKind::Service, &services.ambient);
    let (row, hash, call) = (&token, secret.hash(), call.as_ref());
    let earlier = services
        .database
        .write(async |db| {
            staff::lock_admins(actor, db, now).await?;
            if let Some(call) = call
                && let Some(earlier) = call.earlier_result(db, row.id.0, now).await?
            {
                let found = service_token::by_id(db, ServiceTokenId(earlier)).await?;
                return found.map(Some).ok_or(ServiceError::NotFound);
            }
            // Not before: a repetition may come after that time.
            if row.expires_at.is_some_and(|at| at <= now) {
                let message = "The time at which the token expires must be in the future.";
                return Err(UserError::new("expiresAt", UserErrorCode::Invalid, message).into());
            }
            service_token::insert(db, row, hash).await?;
            let created = AccountEvent::ServiceTokenCreated { token_id: row.id };
            record(db, actor, created, now).await?;
            Ok(None)
        })
        .await?;
    Ok(match earlier {
        Some(token) => Issued { secret: None, token },
        None => Issued { secret: Some(secret), token },
    })
}

impl NewServiceToken {
    fn validate(&self) -> Result<(Label, Option<IdempotencyKey>), ServiceError> {
        let mut validation = Validation::default();
        let name = validation.text("name", "The name", Label::parse(&self.name));
        if self.scopes.is_empty() {
            let message = "Choose at least one scope. A token without scopes may not do anything.";
            validation.add(UserError::new("scopes", UserErrorCode::Required, message));
        }
        let key = validation.idempotency_key(self.idempotency_key.as_deref());
        validation.finish(name.zip(key))
    }

    fn fingerprint(&self, name: &Label) -> [u8; 32] {
        // A set, as it is stored.
        let scopes = self.scopes.iter().collect::<BTreeSet<_>>();
        let scopes = format!("{:?}", scopes.into_iter().collect::<Vec<_>>());
        let expires_at = self.expires_at.map(|at| at.to_rfc3339()).unwrap_or_default();
        fingerprint("createServiceToken", &[name.as_str(), &scopes, &expires_at])
    }

    fn into_token(
        self,
        id: ServiceTokenId,
        name: Label,
        actor: &Actor,
        now: Timestamp,
    ) -> ServiceToken {
        ServiceToken {
            id,
            name: name.into_string(),
            scopes: self.scopes.into_iter().collect(),
            created_at: now,
            created_by: actor.account_id(),
            last_used_at: None,
            expires_at: self.expires_at,
            revoked_at: None,
        }
    }
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
            staff::lock_admins(actor, db, now).await?;
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
