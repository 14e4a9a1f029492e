//! Re-authentication: proving again who one is, before an action of which the policy requires it.

use super::{
    ServiceError, Services, UserError, UserErrorCode, account as accounts,
    code::{self, CodeSent, SubmittedCode, VerifiedCode},
    rate_limit::{self, Limit},
    session::{
        self,
        log::{self, Outcome, SignInMethod},
    },
};
use crate::{
    crypto::password::Password,
    db::{self, second_factor},
    domain::{
        account::Account,
        actor::{Actor, Identity},
        clock::Timestamp,
        ids::AccountId,
        second_factor::{CodeKind, Method, REAUTHENTICATION_LIFETIME},
        session::ClientOrigin,
    },
};

/// Mails a code to re-authenticate with.
///
/// # Errors
/// Returns a user error if the account has no codes by e-mail but another proof, and
/// [`ServiceError::RateLimited`] after too many codes.
pub async fn send_code(
    actor: &Actor,
    services: &Services,
    origin: &ClientOrigin,
) -> Result<CodeSent, ServiceError> {
    let (identity, account) = accounts::owner(actor, services).await?;
    let factors =
        second_factor::of_account(&mut *services.database.read().await?, account.id).await?;
    if factors.is_empty() {
        return send_to_owner_without_proofs(services, &identity, &account, origin).await;
    }
    if !factors.iter().any(|factor| factor.method == Method::Email) {
        return Err(not_configured().into());
    }
    code::mail(services, &account, identity.session.0, origin).await
}

/// Mails a code to the owner of an account that has no second factor, if it has no password either.
/// An empty password, which the hash of another system may be of, is none. To verify a hash is
/// expensive, so it counts as an attempt unless a code was mailed.
async fn send_to_owner_without_proofs(
    services: &Services,
    identity: &Identity,
    account: &Account,
    origin: &ClientOrigin,
) -> Result<CodeSent, ServiceError> {
    let stored = db::account::password(&mut *services.database.read().await?, account.id).await?;
    let mut attempt = None;
    if let Some(stored) = stored {
        let email = Some(account.email.as_str());
        let counted = rate_limit::count(services, Limit::Password, email, origin).await?;
        let place = rate_limit::take_place(services, &counted, origin).await?;
        let is_empty = services.passwords.is_empty(stored).await;
        drop(place);
        if !rate_limit::unless_busy(services, &counted, is_empty).await? {
            return Err(not_configured().into());
        }
        attempt = Some(counted);
    }
    let sent = code::mail(services, account, identity.session.0, origin).await?;
    if let Some(attempt) = attempt {
        rate_limit::refund(services, attempt).await?;
    }
    Ok(sent)
}

fn not_configured() -> UserError {
    let message = "Codes by e-mail are not configured for your account. Use another method.";
    UserError::of_input(UserErrorCode::NotAvailable, message)
}

/// Re-authenticates the actor's session: with the password, if the account has one, and with
/// a code, if it has a second factor. An account that has neither needs a mailed code. Returns when
/// the re-authentication expires.
///
/// # Errors
/// Returns a user error if the password or the code is wrong or missing, or the session ends meanwhile,
/// and [`ServiceError::RateLimited`] after too many attempts.
pub async fn reauthenticate(
    actor: &Actor,
    services: &Services,
    password: Password,
    code: Option<(CodeKind, &str)>,
    origin: &ClientOrigin,
) -> Result<Timestamp, ServiceError> {
    let (identity, account) = accounts::owner(actor, services).await?;
    let code = code.map(|(kind, code)| SubmittedCode::parse(kind, code)).transpose()?;
    let proven = prove(services, &identity, &account, password, code, origin).await;
    let outcome = proven.as_ref().map_or_else(Outcome::Refused, |_| Outcome::Accepted);
    log::attempt(SignInMethod::Reauthentication, Some(account.id), origin, outcome);
    if let Err(error) = &proven
        && error.has_code(UserErrorCode::InvalidCode)
    {
        code::report_wrong(services, &account, Some(account.id), origin).await?;
    }
    proven
}

async fn prove(
    services: &Services,
    identity: &Identity,
    account: &Account,
    password: Password,
    code: Option<SubmittedCode>,
    origin: &ClientOrigin,
) -> Result<Timestamp, ServiceError> {
    let holder = identity.session.0;
    let email = Some(account.email.as_str());
    let attempt = rate_limit::count(services, Limit::Password, email, origin).await?;
    let place = rate_limit::take_place(services, &attempt, origin).await?;
    let verified = verify_password(services, account.id, password).await;
    drop(place);
    let has_password = rate_limit::unless_busy(services, &attempt, verified).await?;
    let mut attempts = vec![attempt];
    // Only now: a code beside a wrong password is not looked at.
    if code.is_some() {
        attempts.push(rate_limit::count(services, Limit::Code, email, origin).await?);
    }
    let verified = verify_code(services, identity, has_password, code.as_ref()).await?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            session::ensure_valid(db, identity, account, now).await?;
            if let Some(verified) = &verified {
                if !code::consume(db, account.id, holder, verified, now).await? {
                    return Err(code::wrong_code(None));
                }
                code::report_use(services, db, account, (verified, origin), now).await?;
            }
            db::session::reauthenticate(db, identity.session, now).await?;
            Ok(())
        })
        .await?;
    for attempt in attempts {
        rate_limit::refund(services, attempt).await?;
    }
    Ok(now + REAUTHENTICATION_LIFETIME)
}

/// Verifies the password. Returns whether the account has one.
async fn verify_password(
    services: &Services,
    account: AccountId,
    password: Password,
) -> Result<bool, ServiceError> {
    let stored = db::account::password(&mut *services.database.read().await?, account).await?;
    let Some(stored) = stored else { return Ok(false) };
    let typed_nothing = password.chars() == 0;
    let passwords = &services.passwords;
    if passwords.verify(password, Some(stored.clone())).await? {
        return Ok(true);
    }
    if typed_nothing && passwords.is_empty(stored).await? {
        return Ok(false);
    }
    let message = "The password is incorrect.";
    Err(UserError::new("password", UserErrorCode::InvalidCredentials, message).into())
}

/// Verifies the code. Returns `None` if the account needs none and none was submitted: it has a
/// password and no second factor.
async fn verify_code(
    services: &Services,
    identity: &Identity,
    has_password: bool,
    code: Option<&SubmittedCode>,
) -> Result<Option<VerifiedCode>, ServiceError> {
    let factors =
        second_factor::of_account(&mut *services.database.read().await?, identity.id).await?;
    let Some(code) = code else {
        let message = match (factors.is_empty(), has_password) {
            (true, true) => return Ok(None),
            (true, false) => {
                "Your account has neither a password nor a second factor. Have a code mailed, and \
                 enter it."
            }
            (false, _) => "Your account has a second factor. Enter a code as well.",
        };
        return Err(UserError::new("code", UserErrorCode::Required, message).into());
    };
    let verified = code::verify(services, identity.id, identity.session.0, code).await?;
    let verified = verified.ok_or_else(|| code::wrong_code(None))?;
    Ok(Some(match verified {
        VerifiedCode::Email { hash, .. } if factors.is_empty() && !has_password => {
            VerifiedCode::Email { hash, is_factor: false }
        }
        verified => verified,
    }))
}
