//! One's second factors: configured, removed, replaced; and proving once more that
//! it is oneself.

use super::{
    ServiceError, Services, UserError, UserErrorCode, account as accounts, authorise,
    challenge::{self, CodeSent, Presentable, Presented, Proof},
    priority_mail,
    rate_limit::{self, Limited},
    session,
};
use crate::{
    crypto::{password::Password, totp::Authenticator},
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
            ENROLMENT_LIFETIME, Method, REAUTHENTICATION_LIFETIME, RECOVERY_CODES, RecoveryCode,
            Requirement, SecondFactor,
        },
        session::Origin,
    },
};

/// How a session stands to second factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// One is configured.
    Configured,
    /// None is configured; one can be.
    Offered,
    /// None is configured, and nothing else can be done until one is.
    Required,
}

/// What configuring a second factor begins with.
#[derive(Debug)]
pub enum Begun {
    /// The app has to learn this key, and to show its first code.
    Authenticator {
        /// The key; it is shown once.
        authenticator: Authenticator,
        /// The URI that apps take.
        uri: String,
        /// The same as a QR code: an SVG data URI.
        qr_code: String,
        /// Until when it can be confirmed.
        expires_at: Timestamp,
    },
    /// A code is on its way.
    Email(CodeSent),
}

/// A second factor that has just been configured.
#[derive(Debug)]
pub struct Confirmed {
    /// The factor.
    pub factor: SecondFactor,
    /// New recovery codes, where the account had none; they are shown once.
    pub recovery_codes: Vec<RecoveryCode>,
}

/// The actor's account, where they may care for its safety.
async fn owner(actor: &Actor, services: &Services) -> Result<(Identity, Account), ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let identity = *actor.identity().ok_or(ServiceError::Unauthenticated)?;
    Ok((identity, accounts::viewer(actor, services).await?))
}

/// The actor's second factors, and how many recovery codes they have left.
///
/// # Errors
/// Nobody is signed in.
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

/// How a session that has just begun stands to second factors.
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

/// Begins to configure a second factor; an authenticator that was begun before is
/// forgotten.
///
/// # Errors
/// As user errors: codes by e-mail that are configured already or that can't be mailed; not
/// [re-authenticated](reauthenticate), where an authenticator is to be replaced or where the
/// account has a second factor and the session began more than 10 minutes ago.
pub async fn begin(
    actor: &Actor,
    services: &Services,
    method: Method,
    origin: &Origin,
) -> Result<Begun, ServiceError> {
    let (identity, account) = owner(actor, services).await?;
    let mut connection = services.database.read().await?;
    let factors = second_factor::of_account(&mut connection, account.id).await?;
    let configured = factors.iter().any(|factor| factor.method == method);
    // A session that somebody has stolen since must not give its thief a factor of theirs.
    if !factors.is_empty() && !is_fresh(services, &mut connection, &identity).await? {
        require_reauthentication(services, &mut connection, &identity).await?;
    }
    match method {
        Method::Authenticator => {
            if configured {
                require_reauthentication(services, &mut connection, &identity).await?;
            }
            let issuer = &services.settings.issuer;
            let authenticator =
                Authenticator::generate(&services.ambient, issuer, account.email.as_str())?;
            let purpose = account.id.0.as_bytes();
            let sealed = services.keys.seal(&services.ambient, purpose, authenticator.secret());
            let expires_at = services.ambient.now() + ENROLMENT_LIFETIME;
            second_factor::enrol(&mut connection, account.id, &sealed, expires_at).await?;
            let (uri, qr_code) = authenticator.uri()?;
            Ok(Begun::Authenticator { authenticator, uri, qr_code, expires_at })
        }
        Method::Email if configured => {
            let message = "Codes by e-mail are configured already.";
            Err(UserError::new("method", UserErrorCode::Taken, message).into())
        }
        Method::Email => {
            drop(connection);
            let sent = challenge::mail_code(services, &account, identity.session.0, origin).await?;
            Ok(Begun::Email(sent))
        }
    }
}

/// Configures the second factor that was begun, with its first code. All other
/// sessions end, and the owner is told.
///
/// # Errors
/// As user errors: a wrong code; nothing that was begun, or too long ago. Too many codes.
pub async fn confirm(
    actor: &Actor,
    services: &Services,
    (method, code): (Method, &str),
    origin: &Origin,
) -> Result<Confirmed, ServiceError> {
    let (identity, account) = owner(actor, services).await?;
    let presented = Presented::parse(method.into(), code)?;
    let counted =
        rate_limit::count(services, Limited::Code, Some(account.email.as_str()), origin).await?;
    let now = services.ambient.now();
    let proof = match &presented {
        Presented::Authenticator(code) => {
            let mut connection = services.database.read().await?;
            let begun = second_factor::enrolment(&mut connection, account.id, now).await?;
            let sealed = begun.ok_or_else(|| {
                let message = "No authenticator was begun in the last 10 minutes: begin anew.";
                UserError::new("method", UserErrorCode::Expired, message)
            })?;
            let secret = services.keys.open(account.id.0.as_bytes(), &sealed)?;
            let step = Authenticator::with_secret(secret).check(code, now);
            step.map(|step| Proof::Authenticator { step, sealed })
        }
        _ => challenge::examine(services, account.id, identity.session.0, &presented).await?,
    };
    let proof = proof.ok_or_else(|| challenge::wrong_code(None))?;
    let codes = (0..RECOVERY_CODES).map(|_| recovery_code(services)).collect::<Vec<_>>();
    let hashes = hashes(services, account.id, &codes);
    let first = services
        .database
        .write(async |db| {
            session::still_stands(db, &identity, &account, now).await?;
            let added = match &proof {
                Proof::Authenticator { step, sealed } => {
                    second_factor::add_authenticator(db, account.id, sealed, *step, now).await?
                }
                Proof::Email { hash } => {
                    db::challenge::consume_code(db, identity.session.0, hash).await?
                        && second_factor::add_email(db, account.id, now).await?
                }
                Proof::RecoveryCode { .. } => false,
            };
            if !added {
                return Err(challenge::wrong_code(None));
            }
            let first = second_factor::recovery_codes_left(db, account.id).await? == 0;
            if first {
                second_factor::set_recovery_codes(db, account.id, &hashes).await?;
            }
            db::session::lift_confinement(db, identity.session).await?;
            session::note(
                db,
                account.id,
                Some(account.id),
                AccountEvent::SecondFactorAdded { method },
                now,
            )
            .await?;
            let added = SecurityChange::SecondFactorAdded { method };
            priority_mail::notify_owner(services, db, &account, added, origin, now).await?;
            let spared = Some(identity.session);
            session::end_sessions(services, db, account.id, spared, actor, now).await?;
            Ok::<_, ServiceError>(first)
        })
        .await?;
    rate_limit::refund(services, counted).await?;
    Ok(Confirmed {
        factor: SecondFactor { method, configured_at: now, last_used_at: None },
        recovery_codes: if first { codes } else { vec![] },
    })
}

/// Removes a second factor. All other sessions end, and the owner is told.
///
/// # Errors
/// As user errors: not [re-authenticated](reauthenticate); not configured; the last
/// one of an account that needs one.
pub async fn remove(
    actor: &Actor,
    services: &Services,
    method: Method,
    origin: &Origin,
) -> Result<(), ServiceError> {
    let (identity, account) = owner(actor, services).await?;
    require_reauthentication(services, &mut *services.database.read().await?, &identity).await?;
    let required = services.settings.second_factors.of(account.role) == Requirement::Required;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            // Two that are removed at once would each take the other for the last.
            session::still_stands(db, &identity, &account, now).await?;
            if !second_factor::remove(db, account.id, method).await? {
                let message = "It is not configured.";
                return Err(UserError::new("method", UserErrorCode::NotFound, message).into());
            }
            if second_factor::of_account(db, account.id).await?.is_empty() {
                if required {
                    let message = "Your account needs a second factor: configure another first.";
                    let code = UserErrorCode::SecondFactorRequired;
                    return Err(UserError::new("method", code, message).into());
                }
                second_factor::set_recovery_codes(db, account.id, &[]).await?;
            }
            let removed = AccountEvent::SecondFactorRemoved { method };
            session::note(db, account.id, Some(account.id), removed, now).await?;
            let removed = SecurityChange::SecondFactorRemoved { method };
            priority_mail::notify_owner(services, db, &account, removed, origin, now).await?;
            let spared = Some(identity.session);
            session::end_sessions(services, db, account.id, spared, actor, now).await?;
            Ok::<_, ServiceError>(())
        })
        .await
}

/// Makes new recovery codes and voids the old ones; the owner is told.
///
/// # Errors
/// As user errors: not [re-authenticated](reauthenticate); no second factor.
pub async fn regenerate_recovery_codes(
    actor: &Actor,
    services: &Services,
    origin: &Origin,
) -> Result<Vec<RecoveryCode>, ServiceError> {
    let (identity, account) = owner(actor, services).await?;
    require_reauthentication(services, &mut *services.database.read().await?, &identity).await?;
    let codes = (0..RECOVERY_CODES).map(|_| recovery_code(services)).collect::<Vec<_>>();
    let (hashes, now) = (hashes(services, account.id, &codes), services.ambient.now());
    services
        .database
        .write(async |db| {
            session::still_stands(db, &identity, &account, now).await?;
            if second_factor::of_account(db, account.id).await?.is_empty() {
                let message = "Recovery codes stand in for a second factor: configure one first.";
                return Err(UserError {
                    field: vec![],
                    code: UserErrorCode::NotAvailable,
                    message: message.into(),
                }
                .into());
            }
            second_factor::set_recovery_codes(db, account.id, &hashes).await?;
            let made = AccountEvent::RecoveryCodesRegenerated {};
            session::note(db, account.id, Some(account.id), made, now).await?;
            let made = SecurityChange::RecoveryCodesRegenerated;
            priority_mail::notify_owner(services, db, &account, made, origin, now).await?;
            Ok::<_, ServiceError>(())
        })
        .await?;
    Ok(codes)
}

/// Mails a code to re-authenticate with.
///
/// # Errors
/// Codes by e-mail that are not configured, as a user error; too many codes.
pub async fn send_code(
    actor: &Actor,
    services: &Services,
    origin: &Origin,
) -> Result<CodeSent, ServiceError> {
    let (identity, account) = owner(actor, services).await?;
    let factors =
        second_factor::of_account(&mut *services.database.read().await?, account.id).await?;
    if !factors.iter().any(|factor| factor.method == Method::Email) {
        let message = "Codes by e-mail are not configured for your account.";
        let code = UserErrorCode::NotAvailable;
        return Err(UserError { field: vec![], code, message: message.into() }.into());
    }
    challenge::mail_code(services, &account, identity.session.0, origin).await
}

/// Proves once more that it is oneself: with the password, if the account has one,
/// and with a code, if it has a second factor. Gives until when that holds.
///
/// # Errors
/// A wrong password or code, as user errors; too many.
pub async fn reauthenticate(
    actor: &Actor,
    services: &Services,
    password: Password,
    code: Option<(Presentable, &str)>,
    origin: &Origin,
) -> Result<Timestamp, ServiceError> {
    let (identity, account) = owner(actor, services).await?;
    let code = code.map(|(what, code)| Presented::parse(what, code)).transpose()?;
    let email = Some(account.email.as_str());
    let mut counted = vec![rate_limit::count(services, Limited::Password, email, origin).await?];
    if code.is_some() {
        counted.push(rate_limit::count(services, Limited::Code, email, origin).await?);
    }
    let (stored, factors) = {
        let mut connection = services.database.read().await?;
        let stored = db::account::password(&mut connection, account.id).await?;
        (stored, second_factor::of_account(&mut connection, account.id).await?)
    };
    let has_password = stored.is_some();
    let right = services.passwords.verify(password, stored).await?;
    if has_password && !right {
        let message = "The password or the code is wrong.";
        return Err(UserError::new("password", UserErrorCode::InvalidCredentials, message).into());
    }
    let proof = match &code {
        None if factors.is_empty() => None,
        None => {
            let message = "Your account has a second factor: give a code as well.";
            return Err(UserError::new("code", UserErrorCode::Required, message).into());
        }
        Some(presented) => {
            let proof =
                challenge::examine(services, account.id, identity.session.0, presented).await?;
            Some(proof.ok_or_else(|| challenge::wrong_code(None))?)
        }
    };
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            if let Some(proof) = &proof
                && !challenge::accept(db, account.id, identity.session.0, proof, now).await?
            {
                return Err(challenge::wrong_code(None));
            }
            db::session::reauthenticate(db, identity.session, now).await?;
            Ok(())
        })
        .await?;
    for counted in counted {
        rate_limit::refund(services, counted).await?;
    }
    Ok(now + REAUTHENTICATION_LIFETIME)
}

/// Removes all of somebody's second factors, who can't prove any more that they are
/// themselves. Their sessions end, and they are told.
///
/// # Errors
/// Not an admin; no such account.
pub async fn reset(
    actor: &Actor,
    services: &Services,
    account: AccountId,
    origin: &Origin,
) -> Result<Account, ServiceError> {
    authorise(actor, Action::ManageAccounts, Resource::Desk)?;
    let found = db::account::by_ids(&mut *services.database.read().await?, &[account]).await?;
    let account = found.into_iter().next().ok_or(ServiceError::NotFound)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            db::account::lock(db, account.id).await?;
            for method in [Method::Authenticator, Method::Email] {
                second_factor::remove(db, account.id, method).await?;
            }
            second_factor::set_recovery_codes(db, account.id, &[]).await?;
            let reset = AccountEvent::SecondFactorsReset {};
            session::note(db, account.id, actor.account_id(), reset, now).await?;
            let reset = SecurityChange::SecondFactorsReset;
            priority_mail::notify_owner(services, db, &account, reset, origin, now).await?;
            session::end_sessions(services, db, account.id, None, actor, now).await?;
            Ok::<_, DbError>(())
        })
        .await?;
    Ok(account)
}

/// Whether a session has only just begun, with all that the account asks for.
async fn is_fresh(
    services: &Services,
    db: &mut Connection,
    identity: &Identity,
) -> Result<bool, ServiceError> {
    let began = db::session::created_at(db, identity.session).await?;
    Ok(began > services.ambient.now() - REAUTHENTICATION_LIFETIME)
}

async fn require_reauthentication(
    services: &Services,
    db: &mut Connection,
    identity: &Identity,
) -> Result<(), ServiceError> {
    let last = db::session::reauthenticated_at(db, identity.session).await?;
    let oldest = services.ambient.now() - REAUTHENTICATION_LIFETIME;
    if last.is_some_and(|last| last > oldest) {
        return Ok(());
    }
    let message = "Give your password, and a code if you have a second factor, with \
                   `reauthenticate` first; that holds for 10 minutes.";
    let code = UserErrorCode::ReauthenticationRequired;
    Err(UserError { field: vec![], code, message: message.into() }.into())
}

fn recovery_code(services: &Services) -> RecoveryCode {
    RecoveryCode::random(|| services.ambient.bytes::<1>()[0])
}

fn hashes(services: &Services, account: AccountId, codes: &[RecoveryCode]) -> Vec<[u8; 32]> {
    codes.iter().map(|code| services.keys.hash(account.0.as_bytes(), code.expose())).collect()
}
