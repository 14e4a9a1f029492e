//! Service tokens: listing, creating and revoking them, for admins.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
};
use crate::{
    domain::service_token,
    service::{self, service_token::NewServiceToken},
};

/// A permission of a service token. A token can call the fields of its scopes, and no others.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "service_token::Scope")]
pub enum ServiceTokenScope {
    /// `provisionCustomer`: create and update customers' accounts.
    ProvisionCustomers,
    /// `createHandoff`: create links that sign customers in.
    CreateHandoffs,
}

/// A token with which another system, such as a control panel, calls this API in place of a
/// person's session. Its secret is only returned when it is created.
#[derive(Description)]
pub struct ServiceToken(service_token::ServiceToken);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl ServiceToken {
    /// An opaque identifier. Store it and send it back unchanged. `node` does not accept it.
    async fn id(&self) -> ID {
        GlobalId::ServiceToken(self.0.id).into()
    }

    /// The name that the token was created with.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The permissions of the token.
    async fn scopes(&self) -> Vec<ServiceTokenScope> {
        self.0.scopes.iter().map(Into::into).collect()
    }

    /// When the token was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// The admin who created it, or null if it was created on the command line.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        match self.0.created_by {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Account::new)),
            None => Ok(None),
        }
    }

    /// When it was last used, to the minute, or null if it has not been used.
    async fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.0.last_used_at
    }

    /// When it expires, or null if it does not. Then its requests fail with `UNAUTHENTICATED`.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// When it was revoked, or null if it was not.
    async fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.0.revoked_at
    }
}

/// The input of `createServiceToken`.
#[derive(InputObject)]
pub struct CreateServiceTokenInput {
    /// A name that tells admins what the token is for: 1 to 120 characters.
    name: String,
    /// The permissions of the token: at least one.
    scopes: Vec<ServiceTokenScope>,
    /// When the token expires: a time in the future. Null or omitted if it does not expire.
    expires_at: Option<DateTime<Utc>>,
    /// Makes the call safe to repeat for 24 hours: the same key with the same input creates no
    /// other token. The repetition returns the token without its secret, which is not stored: if
    /// the first response was lost, revoke the token and create another one. At most 255
    /// characters.
    idempotency_key: Option<String>,
}

/// The payload of `createServiceToken`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct CreateServiceTokenPayload {
    /// The secret, or null on failure and if the call repeats an earlier one. Send it as
    /// `Authorization: Bearer …`. This is the only response that has it.
    token: Option<String>,
    /// The new service token, or null on failure.
    service_token: Option<ServiceToken>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `revokeServiceToken`.
#[derive(InputObject)]
pub struct RevokeServiceTokenInput {
    /// The id of the service token.
    id: ID,
}

/// The payload of `revokeServiceToken`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RevokeServiceTokenPayload {
    /// The revoked service token, or null on failure.
    service_token: Option<ServiceToken>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct ServiceTokenQuery;

#[Object]
impl ServiceTokenQuery {
    /// All service tokens, including revoked ones, newest first. Admins only.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    async fn service_tokens(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<ServiceToken>>, Failure> {
        let tokens = service::service_token::all(ctx.actor()?, ctx.services()?).await?;
        Ok(Some(tokens.into_iter().map(ServiceToken).collect()))
    }
}

#[derive(Default)]
pub struct ServiceTokenMutation;

#[Object]
impl ServiceTokenMutation {
    /// Creates a service token. Admins only. `REAUTHENTICATION_REQUIRED` if you neither signed in
    /// nor called `reauthenticate` in the last 10 minutes.
    async fn create_service_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new token's name, scopes and lifetime.")]
        input: CreateServiceTokenInput,
    ) -> Result<CreateServiceTokenPayload, Failure> {
        let new = NewServiceToken {
            name: input.name,
            scopes: input.scopes.into_iter().map(Into::into).collect(),
            expires_at: input.expires_at,
            idempotency_key: input.idempotency_key,
        };
        let created = service::service_token::create(ctx.actor()?, ctx.services()?, new).await;
        Ok(match Outcome::of(created)? {
            Outcome::Done(issued) => CreateServiceTokenPayload {
                token: issued.secret.map(|secret| secret.expose().to_owned()),
                service_token: Some(ServiceToken(issued.token)),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                CreateServiceTokenPayload { token: None, service_token: None, user_errors: errors }
            }
        })
    }

    /// Revokes a service token permanently: its next request fails with `UNAUTHENTICATED`. Admins
    /// only. User error: `NOT_FOUND` if there is no such token or if it is already revoked.
    async fn revoke_service_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token to revoke.")] input: RevokeServiceTokenInput,
    ) -> Result<RevokeServiceTokenPayload, Failure> {
        let id = GlobalId::service_token(&input.id);
        let revoked = service::service_token::revoke(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(revoked)? {
            Outcome::Done(token) => RevokeServiceTokenPayload {
                service_token: Some(ServiceToken(token)),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                RevokeServiceTokenPayload { service_token: None, user_errors: errors }
            }
        })
    }
}
