//! Hand-overs: how customers come over from the control panel.

use async_graphql::{Context, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    session::SignInPayload,
};
use crate::service;

/// What `createHandoff` takes.
#[derive(InputObject)]
pub struct CreateHandoffInput {
    /// The external id that the customer was provisioned with.
    external_id: String,
}

/// A link with which one customer comes over signed in, once.
#[derive(SimpleObject)]
pub struct Handoff {
    /// Where to send the customer's browser, at once. The token stands behind the `#`,
    /// which browsers send to no server.
    url: String,
    /// The token by itself, for an app that redeems it.
    token: String,
    /// Until when it can be used: for 60 seconds.
    expires_at: DateTime<Utc>,
}

/// What `createHandoff` answers.
#[derive(SimpleObject)]
pub struct CreateHandoffPayload {
    /// The link: the only time that it is shown.
    handoff: Option<Handoff>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `redeemHandoff` takes.
#[derive(InputObject)]
pub struct RedeemHandoffInput {
    /// The token of the link.
    #[graphql(secret)]
    token: String,
}

#[derive(Default)]
pub struct HandoffMutation;

#[Object]
impl HandoffMutation {
    /// Makes a link with which a customer comes over signed in: to be used once, within 60
    /// seconds. For machines with the scope CREATE_HANDOFFS.
    async fn create_handoff(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who comes over.")] input: CreateHandoffInput,
    ) -> Result<CreateHandoffPayload, Failure> {
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let begun = service::handoff::create(actor, services, &input.external_id).await;
        Ok(match Outcome::of(begun)? {
            Outcome::Done(begun) => CreateHandoffPayload {
                handoff: Some(Handoff {
                    url: service::handoff::link(services, &begun.token),
                    token: begun.token.expose().to_owned(),
                    expires_at: begun.handoff.expires_at,
                }),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                CreateHandoffPayload { handoff: None, user_errors: errors }
            }
        })
    }

    /// Signs in with the token of a link from the control panel. Needs no session. A token
    /// that was used, one that has expired and one that never was get the same answer.
    async fn redeem_handoff(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token of the link.")] input: RedeemHandoffInput,
    ) -> Result<SignInPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let redeemed = service::handoff::redeem(actor, services, &input.token, origin).await;
        SignInPayload::of(ctx, redeemed)
    }
}
