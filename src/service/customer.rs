//! Customers, as the control panel provisions them.

use super::{
    ServiceError, Services, UserError, UserErrorCode, address, authorise, priority_mail,
    rate_limit, session, validation::Validation,
};
use crate::{
    crypto::import::ImportedPassword,
    db::{
        Connection, account,
        customer::{self, Customer},
        event::{self, NewAccountEvent},
        password_reset,
    },
    domain::{
        account::{Account, EmailAddress, Locale, Role},
        actor::Actor,
        clock::Timestamp,
        event::AccountEvent,
        ids::AccountId,
        policy::{Action, Resource},
        priority_mail::SecurityChange,
        session::ClientOrigin,
        text::{ExternalId, PersonName},
    },
};

/// A customer as the control panel knows them.
pub struct CustomerInput {
    /// The customer's id in the control panel.
    pub external_id: String,
    /// The e-mail address.
    pub email: String,
    /// The name.
    pub name: String,
    /// The language of mails to the customer. `None` leaves it unchanged. It is English at
    /// first.
    pub locale: Option<Locale>,
    /// The hash of the customer's password in the control panel. `None` leaves the password
    /// unchanged.
    pub password_hash: Option<String>,
}

/// The result of provisioning a customer.
#[derive(Debug)]
pub struct Provisioned {
    /// The customer's account.
    pub account: Account,
    /// How it has changed.
    pub change: Change,
}

/// How provisioning has changed an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created.
    Created,
    /// It was updated.
    Updated,
    /// It was already up to date.
    Unchanged,
}

/// A validated [`CustomerInput`].
struct ValidCustomer {
    external_id: ExternalId,
    email: EmailAddress,
    name: PersonName,
    locale: Option<Locale>,
    password: Option<ImportedPassword>,
}

/// How often provisioning looks for the account and tries to create it. If a concurrent call
/// creates the same account first, the next attempt finds it.
const MAX_ATTEMPTS: usize = 3;

/// Creates a customer's account, or updates it. Repeating the same call changes nothing. Another
/// e-mail address ends the customer's sessions, and both addresses are notified. The
/// accounts of staff are never changed: access to the control panel must not lead to access to
/// the desk.
///
/// # Errors
/// Returns an error if the machine lacks the scope, and user errors if the input is invalid, or
/// the e-mail address or the external id belongs to another account.
pub async fn provision(
    actor: &Actor,
    services: &Services,
    input: CustomerInput,
) -> Result<Provisioned, ServiceError> {
    authorise(actor, Action::ProvisionCustomers, Resource::Desk)?;
    rate_limit::count_machine_call(services, actor).await?;
    let requested = &validate(input)?;
    let (id, now) = (AccountId(services.ambient.uuid()), services.ambient.now());
    let provisioned = services
        .database
        .write(async |db| {
            for _ in 0..MAX_ATTEMPTS {
                if let Some(known) = find(db, requested).await? {
                    return update(actor, services, db, known, requested, now).await;
                }
                if let Some(account) = create(actor, db, id, requested, now).await? {
                    return Ok(Provisioned { account, change: Change::Created });
                }
            }
            Err(email_taken())
        })
        .await?;
    if provisioned.change == Change::Updated {
        // Cached sessions contain the account's language.
        services.sessions.invalidate(provisioned.account.id);
    }
    Ok(provisioned)
}

fn validate(input: CustomerInput) -> Result<ValidCustomer, ServiceError> {
    let mut validation = Validation::default();
    let external_id = ExternalId::parse(&input.external_id);
    let external_id = validation.text("externalId", "The external id", external_id);
    let email = validation.text("email", "The e-mail address", EmailAddress::parse(&input.email));
    let name = validation.text("name", "The name", PersonName::parse(&input.name));
    let password = input.password_hash.as_deref().map(ImportedPassword::parse).transpose();
    let password = password.unwrap_or_else(|error| {
        let message = format!("The password hash {error}.");
        validation.add(UserError::new("passwordHash", UserErrorCode::Invalid, message));
        None
    });
    let texts = external_id.zip(email).zip(name);
    let ((external_id, email), name) = validation.finish(texts)?;
    Ok(ValidCustomer { external_id, email, name, locale: input.locale, password })
}

fn email_taken() -> ServiceError {
    let message = "Another account has this e-mail address.";
    UserError::new("email", UserErrorCode::Taken, message).into()
}

/// Finds the account with the external id, or the account of a customer with the same e-mail
/// address and no external id yet, which the control panel may take over.
async fn find(
    db: &mut Connection,
    requested: &ValidCustomer,
) -> Result<Option<Customer>, ServiceError> {
    if let Some(known) = customer::by_external_id(db, &requested.external_id).await? {
        if known.account.role != Role::Customer {
            let message = "The account with this external id is not a customer's.";
            return Err(UserError::new("externalId", UserErrorCode::Taken, message).into());
        }
        return Ok(Some(known));
    }
    let Some(found) = customer::by_email(db, &requested.email).await? else { return Ok(None) };
    // An equal call may have created it since the query by external id.
    let free = found.external_id.as_deref().is_none_or(|id| id == requested.external_id.as_str());
    if free && found.account.role == Role::Customer {
        return Ok(Some(found));
    }
    Err(email_taken())
}

/// Creates a customer's account. Returns `None` if another account has the e-mail address or
/// the external id.
async fn create(
    actor: &Actor,
    db: &mut Connection,
    id: AccountId,
    requested: &ValidCustomer,
    now: Timestamp,
) -> Result<Option<Account>, ServiceError> {
    let account = Account {
        id,
        email: requested.email.clone(),
        name: requested.name.as_str().to_owned(),
        role: Role::Customer,
        locale: requested.locale.unwrap_or(Locale::En),
        disabled_at: None,
        created_at: now,
        session_generation: 0,
    };
    let password = requested.password.as_ref();
    if !customer::insert(db, &account, &requested.external_id, password).await? {
        return Ok(None);
    }
    let data = AccountEvent::CustomerProvisioned {
        token_id: actor.service_token(),
        created: true,
        password_changed: password.is_some(),
    };
    event::append_to_account(db, id, &[provisioning(actor, data, now)]).await?;
    Ok(Some(account))
}

async fn update(
    actor: &Actor,
    services: &Services,
    db: &mut Connection,
    known: Customer,
    requested: &ValidCustomer,
    now: Timestamp,
) -> Result<Provisioned, ServiceError> {
    let account = Account {
        email: requested.email.clone(),
        name: requested.name.as_str().to_owned(),
        locale: requested.locale.unwrap_or(known.account.locale),
        ..known.account.clone()
    };
    // A hash that was imported before is ignored: signing in has replaced it by our own, or the
    // owner has set another password since.
    let password = requested.password.as_ref().filter(|password| {
        known.imported_hash.as_deref() != Some(password.fingerprint().as_slice())
    });
    let unchanged = known.external_id.is_some()
        && account.email == known.account.email
        && account.name == known.account.name
        && account.locale == known.account.locale;
    if unchanged && password.is_none() {
        return Ok(Provisioned { account, change: Change::Unchanged });
    }
    if !customer::update(db, &account, &requested.external_id, password).await? {
        return Err(email_taken());
    }
    let data = AccountEvent::CustomerProvisioned {
        token_id: actor.service_token(),
        created: false,
        password_changed: password.is_some(),
    };
    event::append_to_account(db, account.id, &[provisioning(actor, data, now)]).await?;
    if !account.email.is_spelling_of(&known.account.email) {
        address::changed(services, db, actor, &known.account, &account, now).await?;
    }
    if password.is_some() {
        for email in [&known.account.email, &account.email] {
            password_reset::invalidate_all(db, email, now).await?;
        }
        let changed = SecurityChange::PasswordChanged;
        priority_mail::notify_owner(services, db, &account, changed, &ClientOrigin::default(), now)
            .await?;
        session::end_sessions(services, db, account.id, None, actor, now).await?;
    }
    Ok(Provisioned { account, change: Change::Updated })
}

fn provisioning(actor: &Actor, event: AccountEvent, now: Timestamp) -> NewAccountEvent {
    NewAccountEvent { event, actor_id: actor.account_id(), occurred_at: now }
}

/// Returns the customer with an external id.
///
/// # Errors
/// Returns a user error if there is no such customer.
pub(super) async fn by_external_id(
    db: &mut Connection,
    external_id: &str,
) -> Result<Account, ServiceError> {
    let unknown = || {
        let message = "There is no customer with this external id. Provision them first.";
        ServiceError::from(UserError::new("externalId", UserErrorCode::NotFound, message))
    };
    let id = ExternalId::parse(external_id).map_err(|_| unknown())?;
    let account = account::by_external_id(db, &id).await?.ok_or_else(unknown)?;
    if account.role == Role::Customer { Ok(account) } else { Err(unknown()) }
}
