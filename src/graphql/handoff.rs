//! Handoffs: sign-in links for customers who come from the control panel.

use async_graphql::{Context, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    session::SignInPayload,
    session_cookie::SessionTransport,
};
use crate::service;

/// The input of `createHandoff`.
#[derive(InputObject)]
pub struct CreateHandoffInput {
    /// The `externalId` that the customer was provisioned with. Fails with `NOT_FOUND` if
    /// there is no such customer, and with `INVALID` if their account is disabled.
    external_id: String,
}

/// A single-use link that signs a customer in.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct Handoff {
    /// The link to redirect the customer's browser to, right away. Browsers do not send the token
    /// to any server, because it is in the fragment, after the `#`, unless the operator's
    /// `links.handoff` puts it elsewhere.
    url: String,
    /// The token alone, for an app that calls `redeemHandoff` directly.
    token: String,
    /// When the link expires: 60 seconds after its creation.
    expires_at: DateTime<Utc>,
}

/// The payload of `createHandoff`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct CreateHandoffPayload {
    /// The link, which is shown only this once. Null on failure.
    handoff: Option<Handoff>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `redeemHandoff`.
#[derive(InputObject)]
pub struct RedeemHandoffInput {
    /// The token from the link.
    #[graphql(secret)]
    token: String,
    /// How the session's token reaches the server.
    #[graphql(default_with = "SessionTransport::Bearer")]
    session_transport: SessionTransport,
}

#[derive(Default)]
pub struct HandoffMutation;

#[Object]
impl HandoffMutation {
    /// Creates a link that signs a customer in, once and within 60 seconds. Requires a service
    /// token with the scope `CREATE_HANDOFFS`, and fails with `FORBIDDEN` without it. Too many calls
    /// of a token within a minute are `RATE_LIMITED`.
    async fn create_handoff(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The customer to sign in.")] input: CreateHandoffInput,
    ) -> Result<CreateHandoffPayload, Failure> {
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let created = service::handoff::create(actor, services, &input.external_id).await;
        Ok(match Outcome::of(created)? {
            Outcome::Done(created) => CreateHandoffPayload {
                handoff: Some(Handoff {
                    url: service::handoff::link(services, &created.token),
                    token: created.token.expose().to_owned(),
                    expires_at: created.handoff.expires_at,
                }),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                CreateHandoffPayload { handoff: None, user_errors: errors }
            }
        })
    }

    /// Signs a customer in with the token of a handoff link. Requires no session. A token that
    /// is unknown, expired or already used fails with `INVALID_LINK`; too many attempts fail
    /// with `RATE_LIMITED`. An account with a second factor gets a challenge, as in `signIn`.
    async fn redeem_handoff(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token from the link.")] input: RedeemHandoffInput,
    ) -> Result<SignInPayload, Failure> {
        let cookie = input.session_transport.cookie(ctx)?;
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let redeemed = service::handoff::redeem(actor, services, &input.token, origin).await;
        SignInPayload::of(ctx, redeemed, cookie)
    }
}
