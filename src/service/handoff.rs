//! Hand-overs: a customer who is signed in to the control panel comes over by a link
//! that the panel asks for, without another password.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, customer,
    rate_limit::{self, Limited},
    session::{self, SignInStep},
};
use crate::{
    crypto::token::{BearerToken, TokenHash, TokenKind},
    db::{
        account,
        event::{self, NewAccountEvent},
        handoff,
    },
    domain::{
        account::Role,
        actor::Actor,
        event::AccountEvent,
        handoff::{Handoff, VALID_FOR},
        ids::HandoffId,
        policy::{Action, Resource},
        session::Origin,
    },
};

/// A hand-over that was just begun.
#[derive(Debug)]
pub struct Begun {
    /// What the link carries: shown once.
    pub token: BearerToken,
    /// What is kept.
    pub handoff: Handoff,
}

/// Begins the hand-over of the customer of an external id.
///
/// # Errors
/// The machine may not do it; no such customer, or a disabled one, as a user error.
pub async fn create(
    actor: &Actor,
    services: &Services,
    external_id: &str,
) -> Result<Begun, ServiceError> {
    authorise(actor, Action::CreateHandoffs, Resource::Desk)?;
    let mut connection = services.database.read().await?;
    let account = customer::by_external_id(&mut connection, external_id).await?;
    drop(connection);
    if account.disabled_at.is_some() {
        let message = "This customer's account is disabled.";
        return Err(UserError::new("externalId", UserErrorCode::Invalid, message).into());
    }
    let now = services.ambient.now();
    let handoff = Handoff {
        id: HandoffId(services.ambient.uuid()),
        account_id: account.id,
        created_at: now,
        expires_at: now + VALID_FOR,
    };
    let token = BearerToken::of(TokenKind::Handoff, &services.ambient);
    let created = NewAccountEvent {
        event: AccountEvent::HandoffCreated {
            handoff_id: handoff.id,
            token_id: actor.service_token(),
        },
        actor_id: actor.account_id(),
        occurred_at: now,
    };
    let (row, hash) = (&handoff, token.hash());
    services
        .database
        .write(async |db| {
            handoff::insert(db, row, hash).await?;
            event::append_to_account(db, row.account_id, &[created]).await
        })
        .await?;
    Ok(Begun { token, handoff })
}

/// The link of a hand-over. The token stands in its fragment, which browsers send to no
/// server.
pub fn link(services: &Services, token: &BearerToken) -> String {
    services.handoff_link.replace("{token}", token.expose())
}

/// Lets the customer of a hand-over in. It can be done once: of two who try at the same
/// time one is let in.
///
/// # Errors
/// A link that was used, has expired or is none of ours, and a disabled account: the
/// same user error, which tells nothing of which.
pub async fn redeem(
    _actor: &Actor,
    services: &Services,
    token: &str,
    origin: &Origin,
) -> Result<SignInStep, ServiceError> {
    let refused = || {
        let message = "This link has expired, was used before, or is incomplete. Go back to \
                       where you came from and try again.";
        ServiceError::from(UserError::new("token", UserErrorCode::InvalidLink, message))
    };
    let counted = rate_limit::count(services, Limited::Link, None, origin).await?;
    let hash = TokenHash::presented_as(TokenKind::Handoff, token).ok_or_else(refused)?;
    let now = services.ambient.now();
    let account = services
        .database
        .write(async |db| {
            let Some((handoff_id, id)) = handoff::redeem(db, hash, now).await? else {
                return Ok::<_, ServiceError>(None);
            };
            let found = account::by_ids(db, &[id]).await?.into_iter().next();
            // Who was made a member of staff meanwhile is no longer the control panel's to
            // let in.
            let Some(account) =
                found.filter(|found| found.disabled_at.is_none() && found.role == Role::Customer)
            else {
                return Ok(None);
            };
            let redeemed = NewAccountEvent {
                event: AccountEvent::HandoffRedeemed { handoff_id },
                actor_id: Some(id),
                occurred_at: now,
            };
            event::append_to_account(db, id, &[redeemed]).await?;
            Ok(Some(account))
        })
        .await?;
    let customer = account.ok_or_else(refused)?;
    rate_limit::refund(services, counted).await?;
    session::begin_session_or_challenge(services, customer, origin).await
}
