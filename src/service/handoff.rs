//! Handoffs: a customer who is signed in to the control panel follows a link from there and
//! is signed in here without another password.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, customer,
    rate_limit::{self, Limit},
    session::{
        self, FirstStep, SignInStep,
        log::{self, SignInMethod},
    },
};
use crate::{
    crypto::token::{BearerToken, TokenHash, TokenKind},
    db::{
        Connection, DbError, account,
        event::{self, NewAccountEvent},
        handoff,
    },
    domain::{
        account::{Account, Role},
        actor::Actor,
        clock::Timestamp,
        event::AccountEvent,
        handoff::{Handoff, VALID_FOR},
        ids::{AccountId, HandoffId},
        policy::{Action, Resource},
        session::ClientOrigin,
    },
};

/// A new handoff.
#[derive(Debug)]
pub struct IssuedHandoff {
    /// The token in the link. It is not stored and cannot be shown again.
    pub token: BearerToken,
    /// The handoff as stored.
    pub handoff: Handoff,
}

/// Creates a handoff for the customer with an external id.
///
/// # Errors
/// Returns an error if the machine lacks the scope, and a user error if there is no such
/// customer or their account is disabled.
pub async fn create(
    actor: &Actor,
    services: &Services,
    external_id: &str,
) -> Result<IssuedHandoff, ServiceError> {
    authorise(actor, Action::CreateHandoffs, Resource::Desk)?;
    rate_limit::count_machine_call(services, actor).await?;
    let mut connection = services.database.read().await?;
    let account = customer::by_external_id(&mut connection, external_id).await?;
    drop(connection);
    if account.disabled_at.is_some() {
        let message = "This customer's account is disabled. Ask an admin to enable it.";
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
    let (row, hash, created) = (&handoff, token.hash(), &[created]);
    services
        .database
        .write(async |db| {
            handoff::insert(db, row, hash).await?;
            event::append_to_account(db, row.account_id, created).await
        })
        .await?;
    Ok(IssuedHandoff { token, handoff })
}

/// Returns the link of a handoff. The token is in the fragment, which browsers don't send to
/// servers.
pub fn link(services: &Services, token: &BearerToken) -> String {
    services.handoff_link.replace("{token}", token.expose())
}

/// Signs in with the token of a handoff. A token can be used once: of two concurrent callers
/// only one succeeds.
///
/// # Errors
/// Returns the same user error whether the link has expired, was used, is unknown or its
/// account is disabled, and [`ServiceError::RateLimited`] after too many links.
pub async fn redeem(
    _actor: &Actor,
    services: &Services,
    token: &str,
    origin: &ClientOrigin,
) -> Result<SignInStep, ServiceError> {
    let mut account = None;
    let step = sign_in(services, token, origin, &mut account).await;
    log::attempt(SignInMethod::Handoff, account, origin, session::outcome(&step));
    step
}

/// Signs in, and sets `account_id` to the customer's account.
async fn sign_in(
    services: &Services,
    token: &str,
    origin: &ClientOrigin,
    account_id: &mut Option<AccountId>,
) -> Result<SignInStep, ServiceError> {
    let attempt = rate_limit::count(services, Limit::Link, None, origin).await?;
    let hash = TokenHash::presented_as(TokenKind::Handoff, token).ok_or_else(invalid_link)?;
    let now = services.ambient.now();
    let account = services.database.write(async |db| use_up(db, hash, now).await).await?;
    let customer = account.ok_or_else(invalid_link)?;
    *account_id = Some(customer.id);
    rate_limit::refund(services, attempt).await?;
    let step = FirstStep::Handoff;
    session::begin_session_or_challenge(services, customer, origin, step).await
}

/// Uses up a handoff and returns its customer, or `None` if they may not sign in with it. The
/// handoff is used up in either case.
async fn use_up(
    db: &mut Connection,
    token: TokenHash,
    now: Timestamp,
) -> Result<Option<Account>, DbError> {
    let Some((handoff_id, id)) = handoff::redeem(db, token, now).await? else { return Ok(None) };
    let found = account::by_ids(db, &[id]).await?.into_iter().next();
    // The control panel may sign in customers only, and this one may have become staff since.
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
}

fn invalid_link() -> ServiceError {
    let message = "This link has expired, has already been used, or is incomplete. Go back to \
                   where you came from and try again.";
    UserError::new("token", UserErrorCode::InvalidLink, message).into()
}
