//! Accounts.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, error::Review, password, staff,
};
use crate::{
    crypto::password::Password,
    db::{
        account,
        event::{self, NewAccountEvent},
    },
    domain::{
        account::{Account, EmailAddress, Locale, Role},
        actor::Actor,
        event::AccountEvent,
        ids::AccountId,
        policy::{self, Action, Decision, Resource},
        text::PersonName,
    },
};

/// An account to be made.
pub struct NewAccount {
    /// What it signs in with.
    pub email: String,
    /// The name that others see.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The language that it is addressed in.
    pub locale: Locale,
    /// Its password; without one it can't sign in with a password.
    pub password: Option<Password>,
}

/// The actor's own account.
///
/// # Errors
/// Nobody is signed in.
pub async fn viewer(actor: &Actor, services: &Services) -> Result<Account, ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let found = account::by_ids(&mut *services.database.read().await?, &[id]).await?;
    found.into_iter().next().ok_or(ServiceError::Unauthenticated)
}

/// The accounts of some ids that the actor may see, in no order. A customer sees those
/// of the staff, and of other customers those with whom they share a ticket.
///
/// # Errors
/// Nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[AccountId],
) -> Result<Vec<Account>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let mut connection = services.database.read().await?;
    let found = account::by_ids(&mut connection, ids).await?;
    let (mut seen, others) =
        found.into_iter().partition::<Vec<_>, _>(|it| may(actor, Action::ViewAccount, it));
    if let (Some(viewer), false) = (actor.account_id(), others.is_empty()) {
        let ids = others.iter().map(|account| account.id).collect::<Vec<_>>();
        let shared = account::sharing_tickets_with(&mut connection, viewer, &ids).await?;
        seen.extend(others.into_iter().filter(|account| shared.contains(&account.id)));
    }
    Ok(seen)
}

/// Whether the actor may see an account's e-mail address, role and language.
pub fn sees_contact(actor: &Actor, account: &Account) -> bool {
    may(actor, Action::ViewContact, account)
}

fn may(actor: &Actor, action: Action, account: &Account) -> bool {
    let resource = Resource::Account { id: account.id, role: account.role };
    policy::decide(actor, action, resource) == Decision::Allow
}

/// The account of an e-mail address.
///
/// # Errors
/// Not an admin; an address that no account has, as a user error.
pub async fn by_email(
    actor: &Actor,
    services: &Services,
    email: &str,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    let email = EmailAddress::parse(email)
        .map_err(|error| UserError::text("email", "The e-mail address", error))?;
    let found = account::by_email(&mut *services.database.read().await?, &email).await?;
    let (account, _) = found.ok_or_else(|| {
        UserError::new("email", UserErrorCode::NotFound, "No account has this e-mail address.")
    })?;
    Ok(account)
}

/// Gives the account of an address a role. Its sessions end, so that nothing goes on
/// with the rights of the old one.
///
/// # Errors
/// Not an admin; as user errors: no such account, the actor's own one, and the last admin.
pub async fn set_role(
    actor: &Actor,
    services: &Services,
    email: &str,
    role: Role,
) -> Result<Account, ServiceError> {
    let account = by_email(actor, services, email).await?;
    staff::give_role(actor, services, account.id, role).await
}

/// Makes an account.
///
/// # Errors
/// Not an admin; errors of the input; an address that another account has.
pub async fn create(
    actor: &Actor,
    services: &Services,
    new: NewAccount,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    let mut review = Review::default();
    let email = review.text("email", "The e-mail address", EmailAddress::parse(&new.email));
    let name = review.text("name", "The name", PersonName::parse(&new.name));
    if let Some(password) = &new.password {
        password::length_error(password).into_iter().for_each(|error| review.note(error));
    }
    let (email, name) = review.finish(email.zip(name))?;
    let hashed = match new.password {
        Some(password) => Some(services.passwords.hash(password).await?),
        None => None,
    };
    let now = services.ambient.now();
    let account = Account {
        id: AccountId(services.ambient.uuid()),
        email,
        name: name.into_string(),
        role: new.role,
        locale: new.locale,
        disabled_at: None,
        created_at: now,
        session_generation: 0,
    };
    let created = NewAccountEvent {
        event: AccountEvent::RoleChanged { from: None, to: account.role },
        actor_id: actor.account_id(),
        occurred_at: now,
    };
    let (row, hashed) = (&account, hashed.as_ref());
    services
        .database
        .write(async |db| {
            if !account::insert(db, row, hashed).await? {
                return Err(ServiceError::from(UserError::new(
                    "email",
                    UserErrorCode::Taken,
                    "Another account has this e-mail address.",
                )));
            }
            event::append_to_account(db, row.id, &[created]).await?;
            Ok(())
        })
        .await?;
    Ok(account)
}
