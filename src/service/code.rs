//! One-time codes and recovery codes: parsing, verifying, consuming and mailing them.
//!
//! A mailed code belongs to a holder: the challenge or the session that it was requested for. It is
//! valid for two minutes, `EMAIL_CODE_LIFETIME` in `domain/second_factor.rs`.

use uuid::Uuid;

use super::{
    ServiceError, Services, UserError, UserErrorCode, audit, priority_mail,
    rate_limit::{self, Limit},
};
use crate::{
    crypto::totp::Authenticator,
    db::{Connection, DbError, challenge, second_factor},
    domain::{
        account::Account,
        clock::Timestamp,
        event::AccountEvent,
        ids::AccountId,
        priority_mail::{PriorityMail, SecurityChange},
        second_factor::{
            Code, CodeKind, EMAIL_CODE_LIFETIME, EMAIL_CODE_PAUSE, MalformedCode, Method,
            RecoveryCode,
        },
        session::ClientOrigin,
    },
};

/// A well-formed code that a client has submitted.
#[derive(Debug)]
pub(super) enum SubmittedCode {
    Authenticator(Code),
    Email(Code),
    RecoveryCode(RecoveryCode),
}

impl SubmittedCode {
    /// Parses a code. A malformed one does not count as an attempt.
    pub(super) fn parse(kind: CodeKind, text: &str) -> Result<Self, UserError> {
        let parsed = match kind {
            CodeKind::Authenticator => Code::parse(text).map(Self::Authenticator),
            CodeKind::Email => Code::parse(text).map(Self::Email),
            CodeKind::RecoveryCode => RecoveryCode::parse(text).map(Self::RecoveryCode),
        };
        parsed.map_err(|error: MalformedCode| {
            UserError::new("code", UserErrorCode::Invalid, error.to_string())
        })
    }
}

/// A verified code, to be [consumed](consume). A recovery code is looked up only then.
pub(super) enum VerifiedCode {
    Authenticator {
        step: i64,
        /// The sealed key as it was read: another one must not have replaced it.
        read: Vec<u8>,
        /// The key, sealed with the newest sealing key.
        sealed: Vec<u8>,
    },
    Email {
        hash: Vec<u8>,
        /// Whether codes by e-mail are a second factor of the account, which must still be so when the
        /// code is consumed.
        is_factor: bool,
    },
    RecoveryCode {
        hashes: Vec<[u8; 32]>,
    },
}

/// Verifies a code and returns `None` if it is wrong. Verifying a mailed code uses up one of
/// its attempts.
pub(super) async fn verify(
    services: &Services,
    account: AccountId,
    holder: Uuid,
    code: &SubmittedCode,
) -> Result<Option<VerifiedCode>, ServiceError> {
    match code {
        SubmittedCode::Authenticator(code) => verify_authenticator(services, account, code).await,
        SubmittedCode::Email(code) => Ok(verify_mailed(services, holder, code).await?),
        SubmittedCode::RecoveryCode(code) => {
            let hashes = services.keys.hashes(account.0.as_bytes(), code.expose());
            Ok(Some(VerifiedCode::RecoveryCode { hashes }))
        }
    }
}

async fn verify_authenticator(
    services: &Services,
    account: AccountId,
    code: &Code,
) -> Result<Option<VerifiedCode>, ServiceError> {
    let (now, purpose) = (services.ambient.now(), account.0.as_bytes().as_slice());
    let mut connection = services.database.read().await?;
    let Some(read) = second_factor::authenticator(&mut connection, account).await? else {
        return Ok(None);
    };
    let secret = services.keys.open(purpose, &read)?;
    let step = Authenticator::with_secret(secret.clone()).check(code, now);
    let sealed = if services.keys.is_newest(&read) {
        read.clone()
    } else {
        services.keys.seal(&services.ambient, purpose, &secret)
    };
    Ok(step.map(|step| VerifiedCode::Authenticator { step, read, sealed }))
}

async fn verify_mailed(
    services: &Services,
    holder: Uuid,
    code: &Code,
) -> Result<Option<VerifiedCode>, DbError> {
    let mut connection = services.database.read().await?;
    let stored =
        challenge::use_code_attempt(&mut connection, holder, services.ambient.now()).await?;
    let mut hashes = services.keys.hashes(holder.as_bytes(), code.expose()).into_iter();
    // The hashes are keyed, so the time of this comparison reveals nothing about the code.
    Ok(stored
        .filter(|stored| hashes.any(|hash| hash.as_slice() == stored))
        .map(|hash| VerifiedCode::Email { hash, is_factor: true }))
}

/// Consumes a verified code. Call this in the transaction of what the code permits. Returns `false` if it
/// cannot be used, or no longer: of two concurrent callers only one succeeds.
pub(super) async fn consume(
    db: &mut Connection,
    account: AccountId,
    holder: Uuid,
    code: &VerifiedCode,
    now: Timestamp,
) -> Result<bool, DbError> {
    match code {
        VerifiedCode::Authenticator { step, read, sealed } => {
            second_factor::accept_step(db, account, *step, (read, sealed), now).await
        }
        VerifiedCode::Email { hash, is_factor } => Ok(challenge::consume_code(db, holder, hash)
            .await?
            && (!is_factor || second_factor::touch(db, account, Method::Email, now).await?)),
        VerifiedCode::RecoveryCode { hashes } => {
            second_factor::use_recovery_code(db, account, hashes, now).await
        }
    }
}

/// Records that a code was used if it is a recovery code, and notifies the account's owner. Call this in
/// the transaction that [consumes](consume) it.
pub(super) async fn report_use(
    services: &Services,
    db: &mut Connection,
    owner: &Account,
    (code, origin): (&VerifiedCode, &ClientOrigin),
    now: Timestamp,
) -> Result<(), DbError> {
    if !matches!(code, VerifiedCode::RecoveryCode { .. }) {
        return Ok(());
    }
    let left = second_factor::recovery_codes_left(db, owner.id).await?;
    audit::record(db, owner.id, Some(owner.id), AccountEvent::RecoveryCodeUsed {}, now).await?;
    let used = SecurityChange::RecoveryCodeUsed { left };
    priority_mail::notify_owner(services, db, owner, used, origin, now).await
}

/// Creates the error for a code that is not accepted. `attempts_left` is `None` if attempts
/// are limited only by the rate limit.
pub(super) fn wrong_code(attempts_left: Option<i32>) -> ServiceError {
    let mut message =
        "This code is incorrect, has already been used, or was replaced by a newer one.".to_owned();
    match attempts_left {
        Some(0) => message.push_str(" That was the last attempt. Sign in again."),
        Some(left) => message.push_str(&format!(" Attempts left: {left}.")),
        None => {}
    }
    UserError::new("code", UserErrorCode::InvalidCode, message).into()
}

/// Records a wrong code that was entered after the right password, if there is one, and notifies the
/// owner if it is suspicious: somebody else may know the password or have the session. `actor` is
/// `None` if nobody is signed in.
pub(super) async fn report_wrong(
    services: &Services,
    owner: &Account,
    actor: Option<AccountId>,
    origin: &ClientOrigin,
) -> Result<(), ServiceError> {
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            audit::record(db, owner.id, actor, AccountEvent::SecondFactorFailed {}, now).await?;
            if rate_limit::is_suspicious(db, owner, origin, now).await? {
                let failed = SecurityChange::SecondFactorFailed;
                priority_mail::notify_owner(services, db, owner, failed, origin, now).await?;
            }
            Ok(())
        })
        .await
}

/// A code that was sent by mail.
#[derive(Debug)]
pub struct CodeSent {
    /// When the code expires.
    pub expires_at: Timestamp,
    /// When another code can be requested.
    pub next_at: Timestamp,
}

/// Mails a code to the owner of an account. It replaces the holder's previous code.
///
/// # Errors
/// Returns a user error if the installation sends no mail, and [`ServiceError::RateLimited`]
/// if there were too many codes or the previous one was sent less than
/// [`EMAIL_CODE_PAUSE`] ago.
pub(super) async fn mail(
    services: &Services,
    account: &Account,
    holder: Uuid,
    origin: &ClientOrigin,
) -> Result<CodeSent, ServiceError> {
    if !priority_mail::goes_out(&mut *services.database.read().await?).await? {
        let message = "This installation sends no mail, so it cannot mail codes. Use another \
                       method, or sign in again from the control panel.";
        return Err(UserError::new("method", UserErrorCode::NotAvailable, message).into());
    }
    let code = Code::random(|| services.ambient.bytes());
    let hash = services.keys.hash(holder.as_bytes(), code.expose());
    let now = services.ambient.now();
    let times = (now, now + EMAIL_CODE_LIFETIME);
    let mail = PriorityMail::Code { code: code.expose().to_owned() };
    services
        .database
        .write(async |db| {
            // What the pause refuses does not count.
            let email = account.email.as_str();
            rate_limit::count_mail(services, db, Limit::Code, email, origin).await?;
            let stored =
                challenge::store_code(db, (holder, account.id), hash, times, EMAIL_CODE_PAUSE);
            stored.await?.map_err(|sent_at| ServiceError::RateLimited {
                retry_after: sent_at + EMAIL_CODE_PAUSE - now,
            })?;
            let to = (&account.email, account.locale);
            priority_mail::plan(services, db, to, &mail, EMAIL_CODE_LIFETIME, now).await?;
            Ok::<_, ServiceError>(())
        })
        .await?;
    Ok(CodeSent { expires_at: times.1, next_at: now + EMAIL_CODE_PAUSE })
}
