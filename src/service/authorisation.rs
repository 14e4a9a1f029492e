//! Asks the policy whether an actor may do something.

use super::ServiceError;
use crate::domain::{
    actor::Actor,
    policy::{self, Action, Decision, Resource},
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
    }
}
