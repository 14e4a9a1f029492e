//! Challenges: the second step of signing in, with a second factor.

use super::{
    ServiceError, Services, UserError, UserErrorCode,
    code::{self, CodeSent, SubmittedCode},
    rate_limit::{self, Limit},
    session::{
        self, SignedIn,
        log::{self, Outcome, SignInMethod},
    },
};
use crate::{
    crypto::token::{TokenHash, TokenKind},
    db::{
        account,
        challenge::{self, Challenge},
        second_factor,
    },
    domain::{
        account::Account,
        actor::Actor,
        second_factor::{CodeKind, Method},
        session::ClientOrigin,
    },
};

/// Completes a sign-in with a code of a second factor.
///
/// # Errors
/// Returns a user error if the code is wrong or the challenge has expired, and
/// [`ServiceError::RateLimited`] after too many codes.
pub async fn verify(
    _actor: &Actor,
    services: &Services,
    token: &str,
    (kind, code): (CodeKind, &str),
    origin: &ClientOrigin,
) -> Result<SignedIn, ServiceError> {
    let code = SubmittedCode::parse(kind, code)?;
    let mut account = None;
    let signed_in = sign_in(services, token, &code, origin, &mut account).await;
    let outcome = signed_in.as_ref().map_or_else(Outcome::Refused, |_| Outcome::Accepted);
    let account_id = account.as_ref().map(|account| account.id);
    log::attempt(SignInMethod::SecondFactor, account_id, origin, outcome);
    if let (Err(error), Some(owner)) = (&signed_in, &account)
        && error.has_code(UserErrorCode::InvalidCode)
    {
        code::report_wrong(services, owner, None, origin).await?;
    }
    signed_in
}

/// Signs in, and sets `owner` to the account of the challenge.
async fn sign_in(
    services: &Services,
    token: &str,
    code: &SubmittedCode,
    origin: &ClientOrigin,
    owner: &mut Option<Account>,
) -> Result<SignedIn, ServiceError> {
    let hash = TokenHash::presented_as(TokenKind::Challenge, token).ok_or_else(expired)?;
    let (_, account) = pending(services, hash).await?;
    *owner = Some(account.clone());
    let attempt =
        rate_limit::count(services, Limit::Code, Some(account.email.as_str()), origin).await?;
    let now = services.ambient.now();
    let found = challenge::use_attempt(&mut *services.database.read().await?, hash, now).await?;
    let challenge = found.ok_or_else(expired)?;
    let wrong = || code::wrong_code(Some(challenge.attempts_left));
    let verified = code::verify(services, account.id, challenge.id, code).await?;
    let verified = verified.ok_or_else(wrong)?;
    let (session_token, session) = session::new_session(services, &account, origin, false, now);
    let account = &account;
    services
        .database
        .write(async |db| {
            if !challenge::finish(db, challenge.id, now).await? {
                return Err(expired());
            }
            if !code::consume(db, account.id, challenge.id, &verified, now).await? {
                return Err(wrong());
            }
            code::report_use(services, db, account, (&verified, origin), now).await?;
            session::begin(services, db, account, &session, session_token.hash()).await
        })
        .await?;
    rate_limit::refund(services, attempt).await?;
    Ok(SignedIn { token: session_token, session, account: account.clone() })
}

/// Returns the pending challenge of a token, and the account that is signing in.
async fn pending(
    services: &Services,
    hash: TokenHash,
) -> Result<(Challenge, Account), ServiceError> {
    let mut connection = services.database.read().await?;
    let found = challenge::find(&mut connection, hash, services.ambient.now()).await?;
    let challenge = found.ok_or_else(expired)?;
    let account = account::by_ids(&mut connection, &[challenge.account_id]).await?;
    let account = account.into_iter().find(|account| {
        account.disabled_at.is_none() && account.session_generation == challenge.session_generation
    });
    Ok((challenge, account.ok_or_else(expired)?))
}

fn expired() -> ServiceError {
    let message = "This sign-in has expired, is already complete, or had too many incorrect codes. \
                   Sign in again.";
    UserError::new("challengeToken", UserErrorCode::Expired, message).into()
}

/// Mails a code for a sign-in that waits for its second step.
///
/// # Errors
/// Returns a user error if the challenge has expired or the account has no codes by e-mail,
/// and [`ServiceError::RateLimited`] after too many codes.
pub async fn send_code(
    _actor: &Actor,
    services: &Services,
    token: &str,
    origin: &ClientOrigin,
) -> Result<CodeSent, ServiceError> {
    let hash = TokenHash::presented_as(TokenKind::Challenge, token).ok_or_else(expired)?;
    let (challenge, account) = pending(services, hash).await?;
    let factors =
        second_factor::of_account(&mut *services.database.read().await?, account.id).await?;
    if !factors.iter().any(|factor| factor.method == Method::Email) {
        let message = "Codes by e-mail are not configured for this account. Use another method.";
        return Err(UserError::new("challengeToken", UserErrorCode::NotAvailable, message).into());
    }
    code::mail(services, &account, challenge.id, origin).await
}
