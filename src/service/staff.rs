//! Accounts as admins look after them: made, listed, given roles, disabled and enabled.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise,
    error::Review,
    idempotency::{IdempotentCall, fingerprint},
    password, session,
};
use crate::{
    db::{Connection, account, password_reset},
    domain::{
        account::{Account, EmailAddress, Locale, Role},
        actor::Actor,
        event::AccountEvent,
        ids::AccountId,
        page::{Page, Slice},
        policy::{Action, Resource},
        search::SearchText,
        text::{IdempotencyKey, PersonName},
    },
};

/// Somebody who is to get an account.
pub struct NewPerson {
    /// What they sign in with.
    pub email: String,
    /// The name that others see.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The language that they are addressed in.
    pub locale: Locale,
    /// The caller's key for repeating the call.
    pub idempotency_key: Option<String>,
}

/// Refuses whoever may not look after accounts, before their arguments are looked at.
///
/// # Errors
/// Not an admin.
pub fn require_admin(actor: &Actor) -> Result<(), ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)
}

/// A page of all accounts in the order of their addresses: of a role, and with a name or an
/// address that begins with a text, where these are given.
///
/// # Errors
/// Not an admin.
pub async fn page(
    actor: &Actor,
    services: &Services,
    role: Option<Role>,
    text: Option<&SearchText>,
    page: &Page<EmailAddress>,
) -> Result<Slice<Account>, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    Ok(account::page(&mut *services.database.read().await?, role, text, page).await?)
}

/// Makes an account without a password: its owner is mailed a link to set one.
///
/// # Errors
/// Not an admin; errors of the input; an address that another account has; an
/// installation that sends no mail, as a user error.
pub async fn invite(
    actor: &Actor,
    services: &Services,
    new: NewPerson,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    let admin = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut review = Review::default();
    let email = review.text("email", "The e-mail address", EmailAddress::parse(&new.email));
    let name = review.text("name", "The name", PersonName::parse(&new.name));
    let key = new.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
    let key = review.text("idempotencyKey", "The idempotency key", key);
    if !services.settings.mails {
        let message = "This installation sends no mail, so nobody could set a password: its \
                       operator makes accounts with `ticketwire user create`.";
        review.note(UserError::new("email", UserErrorCode::NotAvailable, message));
    }
    let ((email, name), key) = review.finish(email.zip(name).zip(key))?;
    let now = services.ambient.now();
    let new = &Account {
        id: AccountId(services.ambient.uuid()),
        email,
        name: name.into_string(),
        role: new.role,
        locale: new.locale,
        disabled_at: None,
        created_at: now,
        session_generation: 0,
    };
    let kind = format!("{:?} {:?}", new.role, new.locale);
    let fingerprint = fingerprint("createAccount", &[&kind, new.email.as_str(), &new.name]);
    let call = &IdempotentCall { account: admin, key, fingerprint };
    services
        .database
        .write(async |db| {
            if let Some(earlier) = call.earlier_result(db, new.id.0, now).await? {
                let found = account::by_ids(db, &[AccountId(earlier)]).await?;
                return found.into_iter().next().ok_or(ServiceError::NotFound);
            }
            lock_admins(actor, db).await?;
            if !account::insert(db, new, None).await? {
                let message = "Another account has this e-mail address. `accounts` finds it.";
                return Err(UserError::new("email", UserErrorCode::Taken, message).into());
            }
            let made = AccountEvent::RoleChanged { from: None, to: new.role };
            session::note(db, new.id, Some(admin), made, now).await?;
            password::invite(services, db, new, now).await?;
            Ok(new.clone())
        })
        .await
}

/// Gives an account a role. Its sessions end, so that nothing goes on with the rights of
/// the old one.
///
/// # Errors
/// Not an admin; no such account; the actor's own one, as a user error.
pub async fn set_role(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
    role: Role,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    give_role(actor, services, id.ok_or(ServiceError::NotFound)?, role).await
}

/// What [`set_role`] does once the actor is known to be an admin.
pub(super) async fn give_role(
    actor: &Actor,
    services: &Services,
    id: AccountId,
    role: Role,
) -> Result<Account, ServiceError> {
    let now = services.ambient.now();
    let changed = services
        .database
        .write(async |db| {
            let (mut account, admins) = lock(actor, db, id).await?;
            if account.role == role {
                return Ok(account);
            }
            if account.role == Role::Admin {
                refuse_loss(actor, id, &admins)?;
            }
            let from = Some(account.role);
            account.role = role;
            account::set_role(db, id, role).await?;
            let given = AccountEvent::RoleChanged { from, to: role };
            session::note(db, id, actor.account_id(), given, now).await?;
            session::end_sessions(services, db, id, None, actor, now).await?;
            Ok::<_, ServiceError>(account)
        })
        .await?;
    services.sessions.refresh();
    Ok(changed)
}

/// Disables an account: its sessions and live streams end, and nobody signs in to it. What
/// it wrote and what is assigned to it stays.
///
/// # Errors
/// Not an admin; no such account; the actor's own one, as a user error.
pub async fn disable(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    let id = id.ok_or(ServiceError::NotFound)?;
    let now = services.ambient.now();
    let disabled = services
        .database
        .write(async |db| {
            let (mut account, admins) = lock(actor, db, id).await?;
            if account.disabled_at.is_some() {
                return Ok(account);
            }
            refuse_loss(actor, id, &admins)?;
            account.disabled_at = Some(now);
            account::update(db, &account).await?;
            password_reset::invalidate(db, &account.email, now).await?;
            let data = AccountEvent::AccountDisabled {};
            session::note(db, id, actor.account_id(), data, now).await?;
            session::end_sessions(services, db, id, None, actor, now).await?;
            Ok::<_, ServiceError>(account)
        })
        .await?;
    services.sessions.refresh();
    Ok(disabled)
}

/// Lets a disabled account sign in again.
///
/// # Errors
/// Not an admin; no such account.
pub async fn enable(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    let id = id.ok_or(ServiceError::NotFound)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let (mut account, _) = lock(actor, db, id).await?;
            if account.disabled_at.take().is_some() {
                account::update(db, &account).await?;
                let data = AccountEvent::AccountEnabled {};
                session::note(db, id, actor.account_id(), data, now).await?;
            }
            Ok::<_, ServiceError>(account)
        })
        .await
}

/// Changes an account's name or language; `None` leaves one as it is.
///
/// # Errors
/// Not an admin; no such account; errors of the input.
pub async fn update(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
    name: Option<&str>,
    locale: Option<Locale>,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    let id = id.ok_or(ServiceError::NotFound)?;
    let mut review = Review::default();
    let name = review.text("name", "The name", name.map(PersonName::parse).transpose());
    let name = review.finish(name)?;
    let (name, now) = (&name, services.ambient.now());
    let updated = services
        .database
        .write(async |db| {
            let (mut account, _) = lock(actor, db, id).await?;
            let old = (account.name.clone(), account.locale);
            if let Some(name) = name {
                name.as_str().clone_into(&mut account.name);
            }
            account.locale = locale.unwrap_or(account.locale);
            if (&account.name, account.locale) != (&old.0, old.1) {
                account::update(db, &account).await?;
                let data = AccountEvent::AccountUpdated {};
                session::note(db, id, actor.account_id(), data, now).await?;
            }
            Ok::<_, ServiceError>(account)
        })
        .await?;
    // What sessions know of the account.
    services.sessions.refresh();
    Ok(updated)
}

/// The admins who can sign in, none of whom changes until the transaction ends. Refused
/// where the actor is no admin any more.
async fn lock_admins(actor: &Actor, db: &mut Connection) -> Result<Vec<AccountId>, ServiceError> {
    let admins = account::lock_admins(db).await?;
    if actor.account_id().is_some_and(|actor| !admins.contains(&actor)) {
        return Err(ServiceError::Forbidden);
    }
    Ok(admins)
}

/// An account, and with it the admins who can sign in.
async fn lock(
    actor: &Actor,
    db: &mut Connection,
    id: AccountId,
) -> Result<(Account, Vec<AccountId>), ServiceError> {
    let admins = lock_admins(actor, db).await?;
    let account = account::lock_and_read(db, id).await?.ok_or(ServiceError::NotFound)?;
    Ok((account, admins))
}

/// Refuses to take an account from the admins where nobody could give it back.
fn refuse_loss(actor: &Actor, id: AccountId, admins: &[AccountId]) -> Result<(), UserError> {
    if actor.account_id() == Some(id) {
        let message = "This is your own account: ask another admin to do it.";
        return Err(UserError::new("id", UserErrorCode::OwnAccount, message));
    }
    if admins == [id] {
        let message = "This is the last admin who can sign in: make somebody else one first.";
        return Err(UserError::new("id", UserErrorCode::LastAdmin, message));
    }
    Ok(())
}
