//! The second step of signing in, and the codes that prove who it is.

use uuid::Uuid;

use super::{
    ServiceError, Services, UserError, UserErrorCode, priority_mail,
    rate_limit::{self, Limited},
    session::{self, SignedIn},
};
use crate::{
    crypto::{
        token::{TokenHash, TokenKind},
        totp::Authenticator,
    },
    db::{Connection, DbError, account, challenge, second_factor},
    domain::{
        account::Account,
        actor::Actor,
        clock::Timestamp,
        event::AccountEvent,
        ids::AccountId,
        priority_mail::{PriorityMail, SecurityChange},
        second_factor::{
            Code, MAILED_CODE_LIFETIME, MAILED_CODE_PAUSE, MalformedCode, Method, RecoveryCode,
        },
        session::Origin,
    },
};

/// What can be presented as a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presentable {
    /// A code of the authenticator.
    Authenticator,
    /// A code that was mailed.
    Email,
    /// One of the recovery codes.
    RecoveryCode,
}

impl From<Method> for Presentable {
    fn from(method: Method) -> Self {
        match method {
            Method::Authenticator => Self::Authenticator,
            Method::Email => Self::Email,
        }
    }
}

/// A code that somebody presents.
#[derive(Debug)]
pub(super) enum Presented {
    Authenticator(Code),
    Email(Code),
    RecoveryCode(RecoveryCode),
}

impl Presented {
    /// Reads what somebody typed: what can't be a code costs no try.
    pub(super) fn parse(what: Presentable, text: &str) -> Result<Self, UserError> {
        let parsed = match what {
            Presentable::Authenticator => Code::parse(text).map(Self::Authenticator),
            Presentable::Email => Code::parse(text).map(Self::Email),
            Presentable::RecoveryCode => RecoveryCode::parse(text).map(Self::RecoveryCode),
        };
        parsed.map_err(|error: MalformedCode| {
            UserError::new("code", UserErrorCode::Invalid, error.to_string())
        })
    }
}

/// A code that was found to be right, and has yet to be used up.
pub(super) enum Proof {
    Authenticator { step: i64, sealed: Vec<u8> },
    Email { hash: Vec<u8> },
    RecoveryCode { hashes: Vec<[u8; 32]> },
}

/// Looks at a code; `holder` is what a mailed one was sent for. A wrong one costs the
/// mailed code one of its tries.
pub(super) async fn examine(
    services: &Services,
    account: AccountId,
    holder: Uuid,
    presented: &Presented,
) -> Result<Option<Proof>, ServiceError> {
    let (now, purpose) = (services.ambient.now(), account.0.as_bytes().as_slice());
    let mut connection = services.database.read().await?;
    match presented {
        Presented::Authenticator(code) => {
            let Some(sealed) = second_factor::authenticator(&mut connection, account).await? else {
                return Ok(None);
            };
            let secret = services.keys.open(purpose, &sealed)?;
            let step = Authenticator::with_secret(secret.clone()).check(code, now);
            let sealed = if services.keys.is_newest(&sealed) {
                sealed
            } else {
                services.keys.seal(&services.ambient, purpose, &secret)
            };
            Ok(step.map(|step| Proof::Authenticator { step, sealed }))
        }
        Presented::Email(code) => {
            let kept = challenge::use_code_attempt(&mut connection, holder, now).await?;
            let mut hashes = services.keys.hashes(holder.as_bytes(), code.expose()).into_iter();
            // Of keyed hashes: what their comparison takes tells nothing of the code.
            Ok(kept
                .filter(|kept| hashes.any(|hash| hash.as_slice() == kept))
                .map(|hash| Proof::Email { hash }))
        }
        Presented::RecoveryCode(code) => {
            let hashes = services.keys.hashes(purpose, code.expose());
            Ok(Some(Proof::RecoveryCode { hashes }))
        }
    }
}

/// Uses a code up, in the transaction of what it proves; `false` where it can't be
/// used, or not any more: of two callers one wins.
pub(super) async fn accept(
    db: &mut Connection,
    account: AccountId,
    holder: Uuid,
    proof: &Proof,
    now: Timestamp,
) -> Result<bool, DbError> {
    match proof {
        Proof::Authenticator { step, sealed } => {
            second_factor::accept_step(db, account, (*step, sealed), now).await
        }
        Proof::Email { hash } => Ok(challenge::consume_code(db, holder, hash).await?
            && second_factor::touch(db, account, Method::Email, now).await?),
        Proof::RecoveryCode { hashes } => {
            second_factor::use_recovery_code(db, account, hashes, now).await
        }
    }
}

/// What was said of a code that is not accepted.
pub(super) fn wrong_code(tries_left: Option<i32>) -> ServiceError {
    let mut message = "This code is wrong, was used before, or is not the last one.".to_owned();
    match tries_left {
        Some(0) => message.push_str(" It was the last try: sign in again."),
        Some(left) => message.push_str(&format!(" Tries left: {left}.")),
        None => {}
    }
    UserError::new("code", UserErrorCode::InvalidCode, message).into()
}

fn expired() -> ServiceError {
    let message =
        "This sign-in has expired, is finished, or took too many wrong codes: sign in again.";
    UserError::new("challengeToken", UserErrorCode::Expired, message).into()
}

/// Finishes a sign-in with a second factor.
///
/// # Errors
/// A wrong code, a challenge that is over, as user errors; too many codes.
pub async fn verify(
    _actor: &Actor,
    services: &Services,
    token: &str,
    (what, code): (Presentable, &str),
    origin: &Origin,
) -> Result<SignedIn, ServiceError> {
    let presented = Presented::parse(what, code)?;
    let hash = TokenHash::presented_as(TokenKind::Challenge, token).ok_or_else(expired)?;
    let (_, account) = pending(services, hash).await?;
    let counted =
        rate_limit::count(services, Limited::Code, Some(account.email.as_str()), origin).await?;
    let now = services.ambient.now();
    let taken = challenge::use_attempt(&mut *services.database.read().await?, hash, now).await?;
    let challenge = taken.ok_or_else(expired)?;
    let wrong = || wrong_code(Some(challenge.attempts_left));
    let proof = examine(services, account.id, challenge.id, &presented).await?.ok_or_else(wrong)?;
    let (session_token, session) = session::new_session(services, &account, origin, false, now);
    let owner = &account;
    services
        .database
        .write(async |db| {
            if !challenge::finish(db, challenge.id, now).await? {
                return Err(expired());
            }
            if !accept(db, owner.id, challenge.id, &proof, now).await? {
                return Err(wrong());
            }
            if matches!(proof, Proof::RecoveryCode { .. }) {
                let left = second_factor::recovery_codes_left(db, owner.id).await?;
                session::note(db, owner.id, Some(owner.id), AccountEvent::RecoveryCodeUsed {}, now)
                    .await?;
                let used = SecurityChange::RecoveryCodeUsed { left };
                priority_mail::notify_owner(services, db, owner, used, origin, now).await?;
            }
            session::begin(services, db, owner, &session, session_token.hash()).await
        })
        .await?;
    rate_limit::refund(services, counted).await?;
    Ok(SignedIn { token: session_token, session, account })
}

/// The challenge that a token stands for, and who is signing in.
async fn pending(
    services: &Services,
    hash: TokenHash,
) -> Result<(challenge::Challenge, Account), ServiceError> {
    let mut connection = services.database.read().await?;
    let found = challenge::find(&mut connection, hash, services.ambient.now()).await?;
    let challenge = found.ok_or_else(expired)?;
    let account = account::by_ids(&mut connection, &[challenge.account_id]).await?;
    let account = account.into_iter().find(|account| {
        account.disabled_at.is_none() && account.session_generation == challenge.session_generation
    });
    Ok((challenge, account.ok_or_else(expired)?))
}

/// A code that is on its way by mail.
#[derive(Debug)]
pub struct CodeSent {
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// From when another can be asked for.
    pub next_at: Timestamp,
}

/// Mails a code for a sign-in whose first step is done.
///
/// # Errors
/// A challenge that is over, codes by e-mail that are not configured, as user errors;
/// too many codes.
pub async fn send_code(
    _actor: &Actor,
    services: &Services,
    token: &str,
    origin: &Origin,
) -> Result<CodeSent, ServiceError> {
    let hash = TokenHash::presented_as(TokenKind::Challenge, token).ok_or_else(expired)?;
    let (challenge, account) = pending(services, hash).await?;
    let factors =
        second_factor::of_account(&mut *services.database.read().await?, account.id).await?;
    if !factors.iter().any(|factor| factor.method == Method::Email) {
        let message = "Codes by e-mail are not configured for this account.";
        return Err(UserError::new("challengeToken", UserErrorCode::NotAvailable, message).into());
    }
    mail_code(services, &account, challenge.id, origin).await
}

/// Mails a code to an account's owner, which voids the last one for this holder.
///
/// # Errors
/// No mail goes out, as a user error; too many, or too soon.
pub(super) async fn mail_code(
    services: &Services,
    account: &Account,
    holder: Uuid,
    origin: &Origin,
) -> Result<CodeSent, ServiceError> {
    if !services.settings.mails {
        let message = "This installation sends no mail, so codes can't be mailed.";
        return Err(UserError::new("method", UserErrorCode::NotAvailable, message).into());
    }
    rate_limit::count_mail(services, Limited::Code, account.email.as_str(), origin).await?;
    let code = Code::random(|| services.ambient.bytes());
    let hash = services.keys.hash(holder.as_bytes(), code.expose());
    let now = services.ambient.now();
    let times = (now, now + MAILED_CODE_LIFETIME);
    let notice = PriorityMail::Code { code: code.expose().to_owned() };
    services
        .database
        .write(async |db| {
            let kept =
                challenge::store_code(db, (holder, account.id), hash, times, MAILED_CODE_PAUSE);
            kept.await?.map_err(|sent_at| ServiceError::RateLimited {
                retry_after: sent_at + MAILED_CODE_PAUSE - now,
            })?;
            let to = (&account.email, account.locale);
            priority_mail::plan(services, db, to, &notice, MAILED_CODE_LIFETIME, now).await?;
            Ok::<_, ServiceError>(())
        })
        .await?;
    Ok(CodeSent { expires_at: times.1, next_at: now + MAILED_CODE_PAUSE })
}
