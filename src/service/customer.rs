//! Customers, as the control panel makes and updates them.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, error::Review, priority_mail,
    session,
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
        session::Origin,
        text::{ExternalId, PersonName},
    },
};

/// A customer as the control panel has them.
pub struct CustomerInput {
    /// What the control panel calls them.
    pub external_id: String,
    /// Their e-mail address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// The language that they are addressed in; none: as it is, English at first.
    pub locale: Option<Locale>,
    /// The hash of their password in the control panel; none: as it is.
    pub password_hash: Option<String>,
}

/// What provisioning came to.
#[derive(Debug)]
pub struct Provisioned {
    /// The customer's account.
    pub account: Account,
    /// What was done to it.
    pub change: Change,
}

/// What provisioning did to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Made,
    /// It was brought up to date.
    Updated,
    /// Nothing: it was up to date.
    Nothing,
}

/// The input, once it is known to be good.
struct RequestedCustomer {
    external_id: ExternalId,
    email: EmailAddress,
    name: PersonName,
    locale: Option<Locale>,
    password: Option<ImportedPassword>,
}

/// Of two calls that make the same account at once the second finds it at its next
/// look. More looks than this mean that accounts come and go under us.
const LOOKS: usize = 3;

/// Makes a customer's account, or brings it up to date. The same call again changes
/// nothing. Staff are never touched: whoever holds the control panel must not get at
/// the desk itself.
///
/// # Errors
/// The machine may not do it; errors of the input; an address or external id that
/// belongs to somebody else.
pub async fn provision(
    actor: &Actor,
    services: &Services,
    input: CustomerInput,
) -> Result<Provisioned, ServiceError> {
    authorise(actor, Action::ProvisionCustomers, Resource::Desk)?;
    let requested = &review(input)?;
    let (id, now) = (AccountId(services.ambient.uuid()), services.ambient.now());
    let provisioned = services
        .database
        .write(async |db| {
            for _ in 0..LOOKS {
                if let Some(known) = find(db, requested).await? {
                    return update(actor, services, db, known, requested, now).await;
                }
                if let Some(account) = make(actor, db, id, requested, now).await? {
                    return Ok(Provisioned { account, change: Change::Made });
                }
            }
            Err(taken("email", "Another account has this e-mail address."))
        })
        .await?;
    if provisioned.change == Change::Updated {
        // What sessions know of the account.
        services.sessions.refresh();
    }
    Ok(provisioned)
}

fn review(input: CustomerInput) -> Result<RequestedCustomer, ServiceError> {
    let mut review = Review::default();
    let external_id =
        review.text("externalId", "The external id", ExternalId::parse(&input.external_id));
    let email = review.text("email", "The e-mail address", EmailAddress::parse(&input.email));
    let name = review.text("name", "The name", PersonName::parse(&input.name));
    let password = input.password_hash.as_deref().map(ImportedPassword::parse).transpose();
    let password = password.unwrap_or_else(|error| {
        let message = format!("The password hash {error}.");
        review.note(UserError::new("passwordHash", UserErrorCode::Invalid, message));
        None
    });
    let texts = external_id.zip(email).zip(name);
    let ((external_id, email), name) = review.finish(texts)?;
    Ok(RequestedCustomer { external_id, email, name, locale: input.locale, password })
}

fn taken(field: &'static str, message: &str) -> ServiceError {
    UserError::new(field, UserErrorCode::Taken, message).into()
}

/// The account of the external id; or a customer's of the same address that the control
/// panel doesn't know yet, which it may take over.
async fn find(
    db: &mut Connection,
    requested: &RequestedCustomer,
) -> Result<Option<Customer>, ServiceError> {
    if let Some(known) = customer::by_external_id(db, &requested.external_id).await? {
        if known.account.role != Role::Customer {
            let message = "The account of this external id is not a customer's.";
            return Err(taken("externalId", message));
        }
        return Ok(Some(known));
    }
    let Some(found) = customer::by_email(db, &requested.email).await? else { return Ok(None) };
    // It may have been made since the first look, by an equal call.
    let free = found.external_id.as_deref().is_none_or(|id| id == requested.external_id.as_str());
    if free && found.account.role == Role::Customer {
        return Ok(Some(found));
    }
    Err(taken("email", "Another account has this e-mail address."))
}

async fn make(
    actor: &Actor,
    db: &mut Connection,
    id: AccountId,
    requested: &RequestedCustomer,
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
    requested: &RequestedCustomer,
    now: Timestamp,
) -> Result<Provisioned, ServiceError> {
    let account = Account {
        email: requested.email.clone(),
        name: requested.name.as_str().to_owned(),
        locale: requested.locale.unwrap_or(known.account.locale),
        ..known.account.clone()
    };
    // A hash that came before was replaced by ours at a sign-in, or by another password
    // that its owner has set here: it stays so until the control panel has a new one.
    let password = requested.password.as_ref().filter(|password| {
        known.imported_hash.as_deref() != Some(password.fingerprint().as_slice())
    });
    let same = known.external_id.is_some()
        && account.email == known.account.email
        && account.name == known.account.name
        && account.locale == known.account.locale;
    if same && password.is_none() {
        return Ok(Provisioned { account, change: Change::Nothing });
    }
    if !customer::update(db, &account, &requested.external_id, password).await? {
        return Err(taken("email", "Another account has this e-mail address."));
    }
    let data = AccountEvent::CustomerProvisioned {
        token_id: actor.service_token(),
        created: false,
        password_changed: password.is_some(),
    };
    event::append_to_account(db, account.id, &[provisioning(actor, data, now)]).await?;
    if password.is_some() {
        for email in [&known.account.email, &account.email] {
            password_reset::invalidate(db, email, now).await?;
        }
        let changed = SecurityChange::PasswordChanged;
        priority_mail::notify_owner(services, db, &account, changed, &Origin::default(), now)
            .await?;
        session::end_sessions(services, db, account.id, None, actor, now).await?;
    }
    Ok(Provisioned { account, change: Change::Updated })
}

fn provisioning(actor: &Actor, event: AccountEvent, now: Timestamp) -> NewAccountEvent {
    NewAccountEvent { event, actor_id: actor.account_id(), occurred_at: now }
}

/// The customer of an external id whom a machine may act for.
pub(super) async fn by_external_id(
    db: &mut Connection,
    external_id: &str,
) -> Result<Account, ServiceError> {
    let unknown = || {
        let message = "There is no customer with this external id: provision them first.";
        ServiceError::from(UserError::new("externalId", UserErrorCode::NotFound, message))
    };
    let id = ExternalId::parse(external_id).map_err(|_| unknown())?;
    let account = account::by_external_id(db, &id).await?.ok_or_else(unknown)?;
    if account.role == Role::Customer { Ok(account) } else { Err(unknown()) }
}
