//! Accounts as admins manage them: creating, listing, changing roles, disabling and enabling.

use super::{
    ServiceError, Services, UserError, UserErrorCode, account as accounts, address, audit,
    authorise, authorise_with_proof,
    idempotency::{IdempotentCall, fingerprint},
    password, priority_mail, session,
    validation::Validation,
};
use crate::{
    crypto::password::Password,
    db::{Connection, account, former_staff, password_reset},
    domain::{
        account::{Account, EmailAddress, Locale, Role},
        actor::Actor,
        clock::Timestamp,
        event::AccountEvent,
        ids::AccountId,
        page::{Page, Slice},
        policy::{Action, Resource},
        search::SearchText,
        text::PersonName,
    },
};

/// An account to create with a password, or without one.
pub struct NewAccount {
    /// The e-mail address to sign in with.
    pub email: String,
    /// The name that others see.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The language of mails to the owner.
    pub locale: Locale,
    /// The password. Without one the owner cannot sign in with a password.
    pub password: Option<Password>,
}

/// An account to create without a password. Its owner is invited by mail to set one.
pub struct NewInvitation {
    /// The e-mail address to sign in with.
    pub email: String,
    /// The name that others see.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The language of mails to the owner.
    pub locale: Locale,
    /// Makes the call safe to repeat.
    pub idempotency_key: Option<String>,
}

/// Changes to an account. `None` leaves a field unchanged.
pub struct AccountChanges {
    /// The name that others see.
    pub name: Option<String>,
    /// The language of mails to the owner.
    pub locale: Option<Locale>,
    /// The e-mail address to sign in with.
    pub email: Option<String>,
}

/// A change of an account that ends its sessions.
#[derive(Clone, Copy)]
enum AccessChange {
    SetRole(Role),
    Disable,
}

impl AccessChange {
    /// Returns whether an agent or admin loses access to the desk.
    fn ends_staff_access(self) -> bool {
        match self {
            Self::SetRole(role) => !role.is_staff(),
            Self::Disable => true,
        }
    }
}

/// Checks that the actor is an admin. Call this before validating their arguments.
///
/// # Errors
/// Returns an error if the actor is not an admin.
pub fn require_admin(actor: &Actor) -> Result<(), ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)
}

/// Returns a page of all accounts, ordered by e-mail address. If `role` is set, only accounts
/// with this role. If `text` is set, only accounts with an e-mail address or a word of the
/// name that starts with it.
///
/// # Errors
/// Returns an error if the actor is not an admin.
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

/// Creates an account.
///
/// # Errors
/// Returns an error if the actor is not an admin, and user errors if the input is invalid or
/// another account has the e-mail address.
pub async fn create(
    actor: &Actor,
    services: &Services,
    new: NewAccount,
) -> Result<Account, ServiceError> {
    authorise_with_proof(actor, services, Action::ControlAccess).await?;
    let mut validation = Validation::default();
    let email = validation.text("email", "The e-mail address", EmailAddress::parse(&new.email));
    let name = validation.text("name", "The name", PersonName::parse(&new.name));
    if let Some(error) = new.password.as_ref().and_then(password::length_error) {
        validation.add(error);
    }
    let (email, name) = validation.finish(email.zip(name))?;
    let hashed = match new.password {
        Some(password) => Some(services.passwords.hash(password).await?),
        None => None,
    };
    let now = services.ambient.now();
    let account = new_account(services, (email, name), new.role, new.locale, now);
    let (row, hashed) = (&account, hashed.as_ref());
    services
        .database
        .write(async |db| {
            if !account::insert(db, row, hashed).await? {
                let message = "Another account has this e-mail address.";
                let taken = UserError::new("email", UserErrorCode::Taken, message);
                return Err(ServiceError::from(taken));
            }
            let created = AccountEvent::RoleChanged { from: None, to: row.role };
            audit::record(db, row.id, actor.account_id(), created, now).await?;
            Ok(())
        })
        .await?;
    Ok(account)
}

fn new_account(
    services: &Services,
    (email, name): (EmailAddress, PersonName),
    role: Role,
    locale: Locale,
    now: Timestamp,
) -> Account {
    Account {
        id: AccountId(services.ambient.uuid()),
        email,
        name: name.into_string(),
        role,
        locale,
        disabled_at: None,
        created_at: now,
        session_generation: 0,
    }
}

/// Creates an account without a password and mails its owner a link to set one.
///
/// # Errors
/// Returns an error if the actor is not an admin, and user errors if the input is invalid,
/// another account has the e-mail address, or the installation sends no mail.
pub async fn invite(
    actor: &Actor,
    services: &Services,
    new: NewInvitation,
) -> Result<Account, ServiceError> {
    authorise_with_proof(actor, services, Action::ControlAccess).await?;
    let admin = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut validation = Validation::default();
    let email = validation.text("email", "The e-mail address", EmailAddress::parse(&new.email));
    let name = validation.text("name", "The name", PersonName::parse(&new.name));
    let key = validation.idempotency_key(new.idempotency_key.as_deref());
    let (owner, key) = validation.finish(email.zip(name).zip(key))?;
    let now = services.ambient.now();
    let account = &new_account(services, owner, new.role, new.locale, now);
    let kind = format!("{:?} {:?}", account.role, account.locale);
    let fields = [&kind, account.email.as_str(), &account.name];
    let fingerprint = fingerprint("createAccount", &fields);
    let call = &IdempotentCall { account: admin, key, fingerprint };
    services
        .database
        .write(async |db| {
            if let Some(earlier) = call.earlier_result(db, account.id.0, now).await? {
                let found = account::by_ids(db, &[AccountId(earlier)]).await?;
                return found.into_iter().next().ok_or(ServiceError::NotFound);
            }
            // Not before: mail may have been switched off since the earlier call.
            if !priority_mail::goes_out(db).await? {
                return Err(no_invitations().into());
            }
            insert_invited(actor, services, db, account, now).await?;
            Ok(account.clone())
        })
        .await
}

fn no_invitations() -> UserError {
    UserError::new(
        "email",
        UserErrorCode::NotAvailable,
        "This installation sends no mail, so the owner of the account could not set a password. \
         Ask its operator to create the account with `ticketwire user create`.",
    )
}

async fn insert_invited(
    actor: &Actor,
    services: &Services,
    db: &mut Connection,
    new: &Account,
    now: Timestamp,
) -> Result<(), ServiceError> {
    lock_admins(actor, db, now).await?;
    if !account::insert(db, new, None).await? {
        return Err(email_taken());
    }
    let created = AccountEvent::RoleChanged { from: None, to: new.role };
    audit::record(db, new.id, actor.account_id(), created, now).await?;
    Ok(password::invite(services, db, new, now).await?)
}

/// Sets an account's role. Ends its sessions, so that none keeps the old rights. The open tickets of
/// a member of staff who becomes a customer go back to the queue soon after.
///
/// # Errors
/// Returns an error if the actor is not an admin or the account does not exist, and a user
/// error if it is the actor's own account or the last admin's.
pub async fn set_role(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
    role: Role,
) -> Result<Account, ServiceError> {
    authorise_with_proof(actor, services, Action::ControlAccess).await?;
    let id = id.ok_or(ServiceError::NotFound)?;
    change_access(actor, services, id, AccessChange::SetRole(role)).await
}

/// Sets the role of the account with an e-mail address. See [`set_role`].
///
/// # Errors
/// Returns the errors of [`set_role`], and a user error if no account has this address.
pub async fn set_role_by_email(
    actor: &Actor,
    services: &Services,
    email: &str,
    role: Role,
) -> Result<Account, ServiceError> {
    let account = accounts::by_email(actor, services, email).await?;
    set_role(actor, services, Some(account.id), role).await
}

/// Disables an account. Ends its sessions and their live streams, and prevents signing in. What the
/// owner wrote stays. Their open tickets go back to the queue soon after.
///
/// # Errors
/// Returns an error if the actor is not an admin or the account does not exist, and a user
/// error if it is the actor's own account or the last admin's.
pub async fn disable(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
) -> Result<Account, ServiceError> {
    authorise_with_proof(actor, services, Action::ControlAccess).await?;
    let id = id.ok_or(ServiceError::NotFound)?;
    change_access(actor, services, id, AccessChange::Disable).await
}

async fn change_access(
    actor: &Actor,
    services: &Services,
    id: AccountId,
    change: AccessChange,
) -> Result<Account, ServiceError> {
    let now = services.ambient.now();
    let changed = services
        .database
        .write(async |db| {
            let (mut account, admins) = lock(actor, db, id, now).await?;
            require_not_erased(&account)?;
            let event = match change {
                AccessChange::SetRole(role) if account.role == role => return Ok(account),
                AccessChange::Disable if account.disabled_at.is_some() => return Ok(account),
                AccessChange::SetRole(to) => {
                    AccountEvent::RoleChanged { from: Some(account.role), to }
                }
                AccessChange::Disable => AccountEvent::AccountDisabled {},
            };
            ensure_admin_remains(actor, id, &admins)?;
            if account.is_active_staff() && change.ends_staff_access() {
                former_staff::insert(db, id, actor.account_id(), now).await?;
            }
            match change {
                AccessChange::SetRole(role) => {
                    account.role = role;
                    account::set_role(db, id, role).await?;
                }
                AccessChange::Disable => {
                    account.disabled_at = Some(now);
                    account::update(db, &account).await?;
                    password_reset::invalidate_all(db, &account.email, now).await?;
                }
            }
            audit::record(db, id, actor.account_id(), event, now).await?;
            session::end_sessions(services, db, id, None, actor, now).await?;
            Ok::<_, ServiceError>(account)
        })
        .await?;
    services.sessions.invalidate(changed.id);
    services.former_staff.notify_one();
    Ok(changed)
}

/// Lets the owner of a disabled account sign in again.
///
/// # Errors
/// Returns an error if the actor is not an admin or the account does not exist.
pub async fn enable(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
) -> Result<Account, ServiceError> {
    authorise_with_proof(actor, services, Action::ControlAccess).await?;
    let id = id.ok_or(ServiceError::NotFound)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let (mut account, _) = lock(actor, db, id, now).await?;
            require_not_erased(&account)?;
            if account.disabled_at.take().is_some() {
                account::update(db, &account).await?;
                let data = AccountEvent::AccountEnabled {};
                audit::record(db, id, actor.account_id(), data, now).await?;
            }
            Ok::<_, ServiceError>(account)
        })
        .await
}

/// Changes an account's name, language or e-mail address. Another address ends the account's
/// sessions, and both addresses are notified.
///
/// # Errors
/// Returns an error if the actor is not an admin or the account does not exist, and user errors if
/// the input is invalid, another account has the address, or the actor must re-authenticate to
/// change the address.
pub async fn update(
    actor: &Actor,
    services: &Services,
    id: Option<AccountId>,
    changes: AccountChanges,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    if changes.email.is_some() {
        authorise_with_proof(actor, services, Action::ControlAccess).await?;
        if actor.account_id() == id {
            authorise_with_proof(actor, services, Action::ReplaceSecondFactors).await?;
        }
    }
    let id = id.ok_or(ServiceError::NotFound)?;
    let valid = &changes.validate()?;
    let now = services.ambient.now();
    let updated = services
        .database
        .write(async |db| {
            let (before, _) = lock(actor, db, id, now).await?;
            require_not_erased(&before)?;
            let after = valid.apply(&before);
            if (&after.name, after.locale) != (&before.name, before.locale) {
                account::update(db, &after).await?;
                let data = AccountEvent::AccountUpdated {};
                audit::record(db, id, actor.account_id(), data, now).await?;
            }
            if after.email != before.email && !account::set_email(db, id, &after.email).await? {
                return Err(email_taken());
            }
            if !after.email.is_spelling_of(&before.email) {
                address::changed(services, db, actor, &before, &after, now).await?;
                address::invite_again(services, db, &after, now).await?;
            }
            Ok::<_, ServiceError>(after)
        })
        .await?;
    // Cached sessions contain the account's language.
    services.sessions.invalidate(updated.id);
    Ok(updated)
}

/// The validated fields of [`AccountChanges`].
struct ValidChanges {
    name: Option<PersonName>,
    locale: Option<Locale>,
    email: Option<EmailAddress>,
}

impl AccountChanges {
    fn validate(&self) -> Result<ValidChanges, ServiceError> {
        let mut validation = Validation::default();
        let name = self.name.as_deref().map(PersonName::parse).transpose();
        let name = validation.text("name", "The name", name);
        let email = self.email.as_deref().map(EmailAddress::parse).transpose();
        let email = validation.text("email", "The e-mail address", email);
        let (name, email) = validation.finish(name.zip(email))?;
        Ok(ValidChanges { name, locale: self.locale, email })
    }
}

impl ValidChanges {
    fn apply(&self, account: &Account) -> Account {
        let name = self.name.as_ref().map(|name| name.as_str().to_owned());
        Account {
            name: name.unwrap_or_else(|| account.name.clone()),
            locale: self.locale.unwrap_or(account.locale),
            email: self.email.as_ref().unwrap_or(&account.email).clone(),
            ..account.clone()
        }
    }
}

fn email_taken() -> ServiceError {
    let message = "Another account has this e-mail address. Find it with `accounts`.";
    UserError::new("email", UserErrorCode::Taken, message).into()
}

/// Locks the admins who can sign in until the transaction ends, and returns them.
///
/// # Errors
/// Returns an error if the actor is no longer one of them, or if their session has ended.
pub(super) async fn lock_admins(
    actor: &Actor,
    db: &mut Connection,
    now: Timestamp,
) -> Result<Vec<AccountId>, ServiceError> {
    let admins = account::lock_admins(db).await?;
    if actor.account_id().is_some_and(|actor| !admins.contains(&actor)) {
        return Err(ServiceError::Forbidden);
    }
    session::ensure_unchanged(actor, db, now).await?;
    Ok(admins)
}

/// Locks an account and the admins who can sign in, and returns both.
pub(super) async fn lock(
    actor: &Actor,
    db: &mut Connection,
    id: AccountId,
    now: Timestamp,
) -> Result<(Account, Vec<AccountId>), ServiceError> {
    let admins = lock_admins(actor, db, now).await?;
    let account = account::lock_and_read(db, id).await?.ok_or(ServiceError::NotFound)?;
    Ok((account, admins))
}

/// Checks that an account can be changed.
///
/// # Errors
/// Returns a user error if the account was erased.
pub(super) fn require_not_erased(account: &Account) -> Result<(), UserError> {
    if account.is_erased() {
        let message = "This account was erased and cannot be changed. Create another one.";
        return Err(UserError::new("id", UserErrorCode::Erased, message));
    }
    Ok(())
}

/// Returns an error if an account may not lose its access: it is the actor's own, or that of
/// the only admin who can sign in.
pub(super) fn ensure_admin_remains(
    actor: &Actor,
    id: AccountId,
    admins: &[AccountId],
) -> Result<(), UserError> {
    if actor.account_id() == Some(id) {
        let message =
            "You cannot disable, demote or erase your own account. Ask another admin to do it.";
        return Err(UserError::new("id", UserErrorCode::OwnAccount, message));
    }
    if admins == [id] {
        let message =
            "This is the last admin who can sign in. Make another account an admin first.";
        return Err(UserError::new("id", UserErrorCode::LastAdmin, message));
    }
    Ok(())
}
