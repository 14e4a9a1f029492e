//! Second factors: configuring and removing them.

use super::{
    ServiceError, Services, UserError, UserErrorCode, account as accounts, audit, authorise,
    authorise_with_proof,
    code::{self, CodeSent, SubmittedCode, VerifiedCode},
    priority_mail,
    rate_limit::{self, Limit, OwnAction},
    session, staff,
};
use crate::{
    crypto::totp::Authenticator,
    db::{self, Connection, DbError, second_factor},
    domain::{
        account::Account,
        actor::{Actor, Identity},
        clock::Timestamp,
        event::AccountEvent,
        ids::AccountId,
        policy::{Action, Resource},
        priority_mail::SecurityChange,
        second_factor::{
            Code, ENROLMENT_LIFETIME, Method, RECOVERY_CODES, RecoveryCode, Requirement,
            SecondFactor,
        },
        session::ClientOrigin,
    },
};

/// What a new session tells its owner about second factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The account has a second factor.
    Configured,
    /// The account has no second factor and can configure one.
    Offered,
    /// The account has no second factor. The session can do nothing else until it has one.
    Required,
}

/// A second factor that has yet to be [confirmed](confirm) with its first code.
#[derive(Debug)]
pub enum Enrolment {
    /// An authenticator app must be set up with this key.
    Authenticator {
        /// The key. It is not shown again.
        authenticator: Authenticator,
        /// The key as a URI for authenticator apps.
        uri: String,
        /// The URI as a QR code: an SVG image in a data URI.
        qr_code: String,
        /// When the enrolment expires.
        expires_at: Timestamp,
    },
    /// The first code was sent by mail.
    Email(CodeSent),
}

/// A newly configured second factor.
#[derive(Debug)]
pub struct Confirmed {
    /// The second factor.
    pub factor: SecondFactor,
    /// New recovery codes if the account had none left, otherwise empty. They are not shown
    /// again.
    pub recovery_codes: Vec<RecoveryCode>,
}

/// Returns the actor's second factors and how many recovery codes they have left.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn of_viewer(
    actor: &Actor,
    services: &Services,
) -> Result<(Vec<SecondFactor>, i64), ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut connection = services.database.read().await?;
    let factors = second_factor::of_account(&mut connection, id).await?;
    Ok((factors, second_factor::recovery_codes_left(&mut connection, id).await?))
}

/// Returns what a new session tells its owner about second factors.
pub fn advice(
    services: &Services,
    signed_in: &session::SignedIn,
    by_second_factor: bool,
) -> Advice {
    match services.settings.second_factors.of(signed_in.account.role) {
        _ if by_second_factor => Advice::Configured,
        Requirement::Required => Advice::Required,
        Requirement::Offered => Advice::Offered,
    }
}

/// Begins to configure a second factor. A new authenticator replaces one that was begun and
/// not confirmed.
///
/// # Errors
/// Returns a user error if codes by e-mail are already configured or cannot be mailed, or if
/// the actor must [re-authenticate](super::reauthentication::reauthenticate) first. They must to
/// replace an authenticator, and to add a second factor unless they have signed in in the last 10
/// minutes.
pub async fn begin(
    actor: &Actor,
    services: &Services,
    method: Method,
    origin: &ClientOrigin,
) -> Result<Enrolment, ServiceError> {
    let (identity, account) = accounts::owner(actor, services).await?;
    // The thief of an older session must not be able to add a second factor of their own.
    authorise_with_proof(actor, services, Action::AddSecondFactor).await?;
    let factors =
        second_factor::of_account(&mut *services.database.read().await?, account.id).await?;
    let configured = factors.iter().any(|factor| factor.method == method);
    match method {
        Method::Authenticator => {
            if configured {
                authorise_with_proof(actor, services, Action::ReplaceSecondFactors).await?;
            }
            enrol_authenticator(services, &account).await
        }
        Method::Email if configured => {
            let message = "Codes by e-mail are already configured for your account.";
            Err(UserError::new("method", UserErrorCode::Taken, message).into())
        }
        Method::Email => {
            let sent = code::mail(services, &account, identity.session.0, origin).await?;
            Ok(Enrolment::Email(sent))
        }
    }
}

async fn enrol_authenticator(
    services: &Services,
    account: &Account,
) -> Result<Enrolment, ServiceError> {
    let issuer = &services.settings.issuer;
    let authenticator = Authenticator::generate(&services.ambient, issuer, account.email.as_str())?;
    let purpose = account.id.0.as_bytes();
    let sealed = services.keys.seal(&services.ambient, purpose, authenticator.secret());
    let expires_at = services.ambient.now() + ENROLMENT_LIFETIME;
    let mut connection = services.database.read().await?;
    second_factor::enrol(&mut connection, account.id, &sealed, expires_at).await?;
    let (uri, qr_code) = authenticator.uri()?;
    Ok(Enrolment::Authenticator { authenticator, uri, qr_code, expires_at })
}

/// Completes the configuration of a second factor with its first code. Ends the account's
/// other sessions and notifies the owner.
///
/// # Errors
/// Returns a user error if the code is wrong or the enrolment has expired, and
/// [`ServiceError::RateLimited`] after too many codes or changes.
pub async fn confirm(
    actor: &Actor,
    services: &Services,
    (method, code): (Method, &str),
    origin: &ClientOrigin,
) -> Result<Confirmed, ServiceError> {
    let (identity, account) = accounts::owner(actor, services).await?;
    let code = SubmittedCode::parse(method.into(), code)?;
    let attempt =
        rate_limit::count(services, Limit::Code, Some(account.email.as_str()), origin).await?;
    let verified = verify_first_code(services, &identity, &code).await?;
    let verified = verified.ok_or_else(|| code::wrong_code(None))?;
    let codes = new_recovery_codes(services);
    let hashes = hashes(services, account.id, &codes);
    let now = services.ambient.now();
    let first = services
        .database
        .write(async |db| {
            session::ensure_valid(db, &identity, &account, now).await?;
            rate_limit::count_own(services, db, OwnAction::SecurityChange, account.id).await?;
            if !add(db, &identity, &verified, now).await? {
                return Err(code::wrong_code(None));
            }
            let first = second_factor::recovery_codes_left(db, account.id).await? == 0;
            if first {
                second_factor::set_recovery_codes(db, account.id, &hashes).await?;
            }
            db::session::lift_confinement(db, identity.session).await?;
            let event = AccountEvent::SecondFactorAdded { method };
            let notice = SecurityChange::SecondFactorAdded { method };
            report(services, db, actor, &account, (event, notice), origin, now).await?;
            let except = Some(identity.session);
            session::end_sessions(services, db, account.id, except, actor, now).await?;
            Ok::<_, ServiceError>(first)
        })
        .await?;
    rate_limit::refund(services, attempt).await?;
    Ok(Confirmed {
        factor: SecondFactor { method, configured_at: now, last_used_at: None },
        recovery_codes: if first { codes } else { vec![] },
    })
}

async fn verify_first_code(
    services: &Services,
    identity: &Identity,
    code: &SubmittedCode,
) -> Result<Option<VerifiedCode>, ServiceError> {
    match code {
        SubmittedCode::Authenticator(code) => {
            verify_enrolled_authenticator(services, identity.id, code).await
        }
        SubmittedCode::Email(_) | SubmittedCode::RecoveryCode(_) => {
            code::verify(services, identity.id, identity.session.0, code).await
        }
    }
}

async fn verify_enrolled_authenticator(
    services: &Services,
    account: AccountId,
    code: &Code,
) -> Result<Option<VerifiedCode>, ServiceError> {
    let now = services.ambient.now();
    let mut connection = services.database.read().await?;
    let enrolled = second_factor::enrolment(&mut connection, account, now).await?;
    let read = enrolled.ok_or_else(|| {
        let message = "There is no authenticator to confirm, or its setup began more than 10 \
                       minutes ago. Start again with `beginSecondFactor`.";
        UserError::new("method", UserErrorCode::Expired, message)
    })?;
    let secret = services.keys.open(account.0.as_bytes(), &read)?;
    let step = Authenticator::with_secret(secret).check(code, now);
    Ok(step.map(|step| VerifiedCode::Authenticator { step, sealed: read.clone(), read }))
}

/// Adds the second factor that a code has confirmed. Returns `false` if the code can no longer
/// be used.
async fn add(
    db: &mut Connection,
    identity: &Identity,
    code: &VerifiedCode,
    now: Timestamp,
) -> Result<bool, DbError> {
    match code {
        VerifiedCode::Authenticator { step, sealed, .. } => {
            second_factor::add_authenticator(db, identity.id, sealed, *step, now).await
        }
        VerifiedCode::Email { hash, .. } => {
            Ok(db::challenge::consume_code(db, identity.session.0, hash).await?
                && second_factor::add_email(db, identity.id, now).await?)
        }
        VerifiedCode::RecoveryCode { .. } => Ok(false),
    }
}

/// Records a change in the audit trail and notifies the account's owner.
async fn report(
    services: &Services,
    db: &mut Connection,
    actor: &Actor,
    account: &Account,
    (event, notice): (AccountEvent, SecurityChange),
    origin: &ClientOrigin,
    now: Timestamp,
) -> Result<(), DbError> {
    audit::record(db, account.id, actor.account_id(), event, now).await?;
    priority_mail::notify_owner(services, db, account, notice, origin, now).await
}

/// Removes one of the actor's second factors. Ends the account's other sessions and notifies
/// the owner.
///
/// # Errors
/// Returns a user error if the actor must
/// [re-authenticate](super::reauthentication::reauthenticate) first, the second factor is not
/// configured, or it is the last one of an account that must have one. Returns
/// [`ServiceError::RateLimited`] after too many changes.
pub async fn remove(
    actor: &Actor,
    services: &Services,
    method: Method,
    origin: &ClientOrigin,
) -> Result<(), ServiceError> {
    authorise_with_proof(actor, services, Action::ReplaceSecondFactors).await?;
    let (identity, account) = accounts::owner(actor, services).await?;
    let required = services.settings.second_factors.of(account.role) == Requirement::Required;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            // Locks the account: otherwise two concurrent removals could leave none.
            session::ensure_valid(db, &identity, &account, now).await?;
            rate_limit::count_own(services, db, OwnAction::SecurityChange, account.id).await?;
            if !second_factor::remove(db, account.id, method).await? {
                let message = "This second factor is not configured for your account.";
                return Err(UserError::new("method", UserErrorCode::NotFound, message).into());
            }
            if second_factor::of_account(db, account.id).await?.is_empty() {
                if required {
                    return Err(last_second_factor().into());
                }
                second_factor::set_recovery_codes(db, account.id, &[]).await?;
            }
            let event = AccountEvent::SecondFactorRemoved { method };
            let notice = SecurityChange::SecondFactorRemoved { method };
            report(services, db, actor, &account, (event, notice), origin, now).await?;
            let except = Some(identity.session);
            session::end_sessions(services, db, account.id, except, actor, now).await?;
            Ok::<_, ServiceError>(())
        })
        .await
}

fn last_second_factor() -> UserError {
    UserError::new(
        "method",
        UserErrorCode::SecondFactorRequired,
        "Your account must have a second factor. Configure another one before you remove this one.",
    )
}

/// Creates new recovery codes, which replace the old ones, and notifies the owner.
///
/// # Errors
/// Returns a user error if the actor must
/// [re-authenticate](super::reauthentication::reauthenticate) first or has no second factor, and
/// [`ServiceError::RateLimited`] after ten replacements within an hour.
pub async fn regenerate_recovery_codes(
    actor: &Actor,
    services: &Services,
    origin: &ClientOrigin,
) -> Result<Vec<RecoveryCode>, ServiceError> {
    authorise_with_proof(actor, services, Action::ReplaceSecondFactors).await?;
    let (identity, account) = accounts::owner(actor, services).await?;
    let codes = new_recovery_codes(services);
    let (hashes, now) = (hashes(services, account.id, &codes), services.ambient.now());
    services
        .database
        .write(async |db| {
            session::ensure_valid(db, &identity, &account, now).await?;
            if second_factor::of_account(db, account.id).await?.is_empty() {
                let message = "Your account has no second factor, so it needs no recovery codes. \
                               Configure a second factor first.";
                return Err(UserError::of_input(UserErrorCode::NotAvailable, message).into());
            }
            rate_limit::count_own(services, db, OwnAction::RecoveryCodes, account.id).await?;
            second_factor::set_recovery_codes(db, account.id, &hashes).await?;
            let event = AccountEvent::RecoveryCodesRegenerated {};
            let notice = SecurityChange::RecoveryCodesRegenerated;
            report(services, db, actor, &account, (event, notice), origin, now).await?;
            Ok::<_, ServiceError>(())
        })
        .await?;
    Ok(codes)
}

/// Removes all second factors of an account whose owner has lost them. Ends its sessions and
/// notifies the owner, without the admin's device and network address.
///
/// # Errors
/// Returns an error if the actor is not an admin or the account does not exist, and a user error if it
/// was erased or has no second factor or they must
/// [re-authenticate](super::reauthentication::reauthenticate) first.
pub async fn reset(
    actor: &Actor,
    services: &Services,
    account: Option<AccountId>,
) -> Result<Account, ServiceError> {
    authorise_with_proof(actor, services, Action::ControlAccess).await?;
    let id = account.ok_or(ServiceError::NotFound)?;
    if actor.account_id() == Some(id) {
        authorise_with_proof(actor, services, Action::ReplaceSecondFactors).await?;
    }
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let (account, _) = staff::lock(actor, db, id, now).await?;
            staff::require_not_erased(&account)
                .map_err(|error| UserError { field: vec!["accountId"], ..error })?;
            let mut removed = false;
            for method in [Method::Authenticator, Method::Email] {
                removed |= second_factor::remove(db, account.id, method).await?;
            }
            if !removed {
                let message = "This account has no second factor. Nothing has changed.";
                let code = UserErrorCode::NotAvailable;
                return Err(UserError::new("accountId", code, message).into());
            }
            second_factor::set_recovery_codes(db, account.id, &[]).await?;
            let event = AccountEvent::SecondFactorsReset {};
            let notice = SecurityChange::SecondFactorsReset;
            let unknown = &ClientOrigin::default();
            report(services, db, actor, &account, (event, notice), unknown, now).await?;
            session::end_sessions(services, db, account.id, None, actor, now).await?;
            Ok::<_, ServiceError>(account)
        })
        .await
}

fn new_recovery_codes(services: &Services) -> Vec<RecoveryCode> {
    let random = || services.ambient.bytes::<1>()[0];
    (0..RECOVERY_CODES).map(|_| RecoveryCode::random(random)).collect()
}

fn hashes(services: &Services, account: AccountId, codes: &[RecoveryCode]) -> Vec<[u8; 32]> {
    codes.iter().map(|code| services.keys.hash(account.0.as_bytes(), code.expose())).collect()
}
