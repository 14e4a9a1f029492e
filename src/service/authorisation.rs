//! Asks the policy whether an actor may do something.

use super::{ServiceError, Services, UserError, UserErrorCode};
use crate::{
    db::session,
    domain::{
        actor::Actor,
        ids::{AccountId, SessionId},
        policy::{self, Action, Decision, Proof, Resource},
        second_factor::REAUTHENTICATION_LIFETIME,
    },
};

/// Authorises an actor for an action on a resource.
///
/// # Errors
/// Returns the error for the policy's decision if it is not [`Decision::Allow`].
pub(super) fn authorise(
    actor: &Actor,
    action: Action,
    resource: Resource,
) -> Result<(), ServiceError> {
    match policy::decide(actor, action, resource) {
        Decision::Allow => Ok(()),
        Decision::Unauthenticated => Err(ServiceError::Unauthenticated),
        Decision::Forbidden => Err(ServiceError::Forbidden),
        Decision::NotFound => Err(ServiceError::NotFound),
        Decision::SecondFactorMissing => Err(ServiceError::SecondFactorMissing),
        // Only the database knows, see `authorise_with_proof`.
        Decision::ProofRequired(_) => Err(proof_required()),
    }
}

/// Authorises an actor with an account for what everybody with one may do. Returns the account.
///
/// # Errors
/// Returns the errors of [`authorise`], and [`ServiceError::Unauthenticated`] without an account.
pub(super) fn authorise_account(actor: &Actor) -> Result<AccountId, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    actor.account_id().ok_or(ServiceError::Unauthenticated)
}

/// Authorises an actor for an action on the installation that may need a
/// [proof](policy::Action::proof) of who they are.
///
/// # Errors
/// Returns the errors of [`authorise`], and a user error without the proof.
pub(super) async fn authorise_with_proof(
    actor: &Actor,
    services: &Services,
    action: Action,
) -> Result<(), ServiceError> {
    let decision = policy::decide(actor, action, Resource::Desk);
    let (Decision::ProofRequired(proof), Some(identity)) = (decision, actor.identity()) else {
        return authorise(actor, action, Resource::Desk);
    };
    if has_proven(services, identity.session, proof).await? {
        Ok(())
    } else {
        Err(proof_required())
    }
}

/// Returns whether the owner of a session has proven who they are in the last 10 minutes.
async fn has_proven(
    services: &Services,
    id: SessionId,
    proof: Proof,
) -> Result<bool, ServiceError> {
    let mut connection = services.database.read().await?;
    let oldest = services.ambient.now() - REAUTHENTICATION_LIFETIME;
    if session::reauthenticated_at(&mut connection, id).await?.is_some_and(|last| last > oldest) {
        return Ok(true);
    }
    Ok(proof == Proof::SignIn && session::created_at(&mut connection, id).await? > oldest)
}

fn proof_required() -> ServiceError {
    let message = "Call `reauthenticate` first, with your password and, if you have a second \
                   factor, a code; if you have neither, with a mailed code. You then have 10 minutes for this change.";
    UserError::of_input(UserErrorCode::ReauthenticationRequired, message).into()
}
