//! Service tokens, for admins.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
};
use crate::{domain::service_token, service};

/// Something that a machine may do with a service token. It may do nothing else.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "service_token::Scope")]
pub enum ServiceTokenScope {
    /// `provisionCustomer`: make and update customers' accounts.
    ProvisionCustomers,
    /// `createHandoff`: make links with which customers come over signed in.
    CreateHandoffs,
}

/// What a machine, like the control panel, sends in the place of a session's token.
#[derive(Description)]
pub struct ServiceToken(service_token::ServiceToken);

#[Object(use_type_description)]
impl ServiceToken {
    /// Its global id; `node` doesn't take it.
    async fn id(&self) -> ID {
        GlobalId::ServiceToken(self.0.id).into()
    }

    /// What you call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What may be done with it.
    async fn scopes(&self) -> Vec<ServiceTokenScope> {
        self.0.scopes.iter().map(Into::into).collect()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// Who made it; null: the operator at the command line.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        match self.0.created_by {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Account::new)),
            None => Ok(None),
        }
    }

    /// When it was last used, to the minute; null: never.
    async fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.0.last_used_at
    }

    /// Since when it is worth nothing; null: it can be used.
    async fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.0.revoked_at
    }
}

/// What `createServiceToken` takes.
#[derive(InputObject)]
pub struct CreateServiceTokenInput {
    /// What you call it: 1 to 120 characters.
    name: String,
    /// What may be done with it: at least one scope.
    scopes: Vec<ServiceTokenScope>,
}

/// What `createServiceToken` answers.
#[derive(SimpleObject)]
pub struct CreateServiceTokenPayload {
    /// The token, to be sent as `Authorization: Bearer …`: the only time that it is shown.
    token: Option<String>,
    /// What is kept of it.
    service_token: Option<ServiceToken>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `revokeServiceToken` takes.
#[derive(InputObject)]
pub struct RevokeServiceTokenInput {
    /// The service token.
    id: ID,
}

/// What `revokeServiceToken` answers.
#[derive(SimpleObject)]
pub struct RevokeServiceTokenPayload {
    /// The service token, which is worth nothing from now on.
    service_token: Option<ServiceToken>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct ServiceTokenQuery;

#[Object]
impl ServiceTokenQuery {
    /// All service tokens, newest first, revoked ones too. For admins.
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
    /// Makes a service token. For admins.
    async fn create_service_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it is for.")] input: CreateServiceTokenInput,
    ) -> Result<CreateServiceTokenPayload, Failure> {
        let scopes = input.scopes.into_iter().map(Into::into).collect::<Vec<_>>();
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let made = service::service_token::create(actor, services, &input.name, &scopes).await;
        Ok(match Outcome::of(made)? {
            Outcome::Done(issued) => CreateServiceTokenPayload {
                token: Some(issued.secret.expose().to_owned()),
                service_token: Some(ServiceToken(issued.token)),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                CreateServiceTokenPayload { token: None, service_token: None, user_errors: errors }
            }
        })
    }

    /// Revokes a service token: requests with it are refused from now on. For admins.
    async fn revoke_service_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which to revoke.")] input: RevokeServiceTokenInput,
    ) -> Result<RevokeServiceTokenPayload, Failure> {
        let id = GlobalId::service_token(&input.id);
        let revoked = service::service_token::revoke(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(revoked)? {
            Outcome::Done(token) => RevokeServiceTokenPayload {
                service_token: Some(ServiceToken(token)),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                RevokeServiceTokenPayload { service_token: None, user_errors: errors }
            }
        })
    }
}
