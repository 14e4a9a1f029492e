//! Accounts as their owners and others see them. `staff` creates and changes them.

pub(super) mod cache;

use std::sync::Arc;

pub use self::cache::AccountsState;
use super::{ServiceError, Services, UserError, UserErrorCode, authorise};
use crate::{
    db::account,
    domain::{
        account::{Account, EmailAddress},
        actor::{Actor, Identity},
        ids::AccountId,
        policy::{self, Action, Decision, Resource},
    },
};

/// Returns the actor's own account.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn viewer(actor: &Actor, services: &Services) -> Result<Account, ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let found = account::by_ids(&mut *services.database.read().await?, &[id]).await?;
    found.into_iter().next().ok_or(ServiceError::Unauthenticated)
}

/// Returns the actor's identity and account if they may secure the account: change its
/// password and its second factors.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub(super) async fn owner(
    actor: &Actor,
    services: &Services,
) -> Result<(Identity, Account), ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let identity = *actor.identity().ok_or(ServiceError::Unauthenticated)?;
    Ok((identity, viewer(actor, services).await?))
}

/// Returns the accounts with these ids that the actor may see, in no particular order. A
/// customer may see staff, and everybody who has or had a part in a ticket that the customer can
/// see, whatever has become of that account: each event and comment keeps the name of its author.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[AccountId],
) -> Result<Vec<Account>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let mut connection = services.database.read().await?;
    let found = account::by_ids(&mut connection, ids).await?;
    let (mut visible, others) =
        found.into_iter().partition::<Vec<_>, _>(|it| may(actor, Action::ViewAccount, it));
    if let (Some(viewer), false) = (actor.account_id(), others.is_empty()) {
        let ids = others.iter().map(|account| account.id).collect::<Vec<_>>();
        let named = account::with_a_part_in_tickets_of(&mut connection, viewer, &ids).await?;
        visible.extend(others.into_iter().filter(|account| named.contains(&account.id)));
    }
    Ok(visible)
}

/// Returns an account if the actor may see it and it is in memory in this state.
pub fn cached(
    actor: &Actor,
    services: &Services,
    id: AccountId,
    state: AccountsState,
) -> Option<Arc<Account>> {
    services.accounts.get(id, state).filter(|account| may(actor, Action::ViewAccount, account))
}

/// Keeps an account in memory. `state` was read before the account.
pub fn keep(services: &Services, state: AccountsState, account: &Arc<Account>) {
    services.accounts.insert(state, Arc::clone(account));
}

/// Returns whether the actor may see an account's e-mail address, role and language.
pub fn sees_contact(actor: &Actor, account: &Account) -> bool {
    may(actor, Action::ViewContact, account)
}

fn may(actor: &Actor, action: Action, account: &Account) -> bool {
    let resource = Resource::Account { id: account.id, role: account.role };
    policy::decide(actor, action, resource) == Decision::Allow
}

/// Returns the account with an e-mail address.
///
/// # Errors
/// Returns an error if the actor is not an admin, and a user error if no account has this
/// address.
pub async fn by_email(
    actor: &Actor,
    services: &Services,
    email: &str,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    let email = EmailAddress::lookup(email)
        .map_err(|error| UserError::text("email", "The e-mail address", error))?;
    let found = account::by_email(&mut *services.database.read().await?, &email).await?;
    let (account, _) = found.ok_or_else(|| {
        UserError::new("email", UserErrorCode::NotFound, "No account has this e-mail address.")
    })?;
    Ok(account)
}
