//! Second factors: setting them up, signing in with them, removing them.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    session::SignInPayload,
    session_cookie::SessionTransport,
};
use crate::{
    crypto::password::Password,
    domain::second_factor,
    service::{
        self,
        code::CodeSent,
        second_factor::{Advice, Enrolment},
    },
};

/// A kind of second factor that an account can have.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "second_factor::Method")]
pub enum SecondFactorMethod {
    /// An authenticator app, which shows a new code of 6 digits every 30 seconds (TOTP,
    /// RFC 6238).
    Authenticator,
    /// Codes of 6 digits by e-mail. Each is valid for 2 minutes and works once.
    Email,
}

/// A kind of code that is accepted as a second factor.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "second_factor::CodeKind")]
pub enum SecondFactorProof {
    /// A code from the authenticator app.
    Authenticator,
    /// A code mailed by `sendSecondFactorCode`.
    Email,
    /// A recovery code. Each works once.
    RecoveryCode,
}

/// Whether the account of a new session has a second factor.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "Advice")]
pub enum SecondFactorAdvice {
    /// The account has one, and it was used for this sign-in.
    Configured,
    /// The account has none. `beginSecondFactor` sets one up.
    Offered,
    /// The account has none and must have one. Until `confirmSecondFactor` succeeds, most
    /// other operations of the session fail with `SECOND_FACTOR_REQUIRED`.
    Required,
}

/// A second factor of your account.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SecondFactor {
    /// Which kind it is.
    method: SecondFactorMethod,
    /// When it was set up.
    configured_at: DateTime<Utc>,
    /// When one of its codes was last accepted, or null if none has been accepted since it was
    /// set up.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<second_factor::SecondFactor> for SecondFactor {
    fn from(factor: second_factor::SecondFactor) -> Self {
        Self {
            method: factor.method.into(),
            configured_at: factor.configured_at,
            last_used_at: factor.last_used_at,
        }
    }
}

/// The input of `beginSecondFactor`.
#[derive(InputObject)]
pub struct BeginSecondFactorInput {
    /// The kind of second factor to set up.
    method: SecondFactorMethod,
}

/// The payload of `beginSecondFactor`. The second factor is not active until
/// `confirmSecondFactor` succeeds.
#[derive(SimpleObject, Default)]
#[graphql(crate = "crate::graphql::executor")]
pub struct BeginSecondFactorPayload {
    /// The key for the authenticator app, for `AUTHENTICATOR`; null otherwise.
    authenticator: Option<AuthenticatorSetup>,
    /// The first code, which was mailed, for `EMAIL`; null otherwise.
    code_sent: Option<SentCode>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The key of an authenticator in three forms, one of which goes into the app. This is the
/// only response that has it.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct AuthenticatorSetup {
    /// The key in base32, for typing it into the app.
    secret: String,
    /// The key as an `otpauth://` URI, for opening it on the phone.
    uri: String,
    /// The URI as a QR code, for scanning it: an SVG image as a `data:` URI.
    qr_code: String,
    /// When the setup expires, 10 minutes after it began. Confirm it before then.
    expires_at: DateTime<Utc>,
}

/// A code that was mailed. It is valid for 2 minutes, works once, and is void after 5 wrong
/// attempts or when another one is sent.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SentCode {
    /// When the code expires.
    expires_at: DateTime<Utc>,
    /// When another code can be requested.
    next_at: DateTime<Utc>,
    /// Seconds until another code can be requested.
    next_in_seconds: i64,
}

impl SentCode {
    fn new(sent: &CodeSent) -> Self {
        Self {
            expires_at: sent.expires_at,
            next_at: sent.next_at,
            next_in_seconds: second_factor::EMAIL_CODE_PAUSE.num_seconds(),
        }
    }
}

/// The input of `confirmSecondFactor`.
#[derive(InputObject)]
pub struct ConfirmSecondFactorInput {
    /// The kind of second factor that `beginSecondFactor` was called with.
    method: SecondFactorMethod,
    /// The first code from the app or the mail: 6 digits. Spaces are ignored.
    #[graphql(secret)]
    code: String,
}

/// The payload of `confirmSecondFactor`.
#[derive(SimpleObject, Default)]
#[graphql(crate = "crate::graphql::executor")]
pub struct ConfirmSecondFactorPayload {
    /// The new second factor, or null on failure.
    second_factor: Option<SecondFactor>,
    /// Ten recovery codes, each of which replaces a code of the second factor once, or null
    /// if the account still has unused ones. This is the only response that has them: ask
    /// the person to write them down.
    recovery_codes: Option<Vec<String>>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `removeSecondFactor`.
#[derive(InputObject)]
pub struct RemoveSecondFactorInput {
    /// The kind of second factor to remove.
    method: SecondFactorMethod,
}

/// The payload of `removeSecondFactor`.
#[derive(SimpleObject, Default)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RemoveSecondFactorPayload {
    /// Your account after the change, or null on failure.
    viewer: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The payload of `regenerateRecoveryCodes`.
#[derive(SimpleObject, Default)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RegenerateRecoveryCodesPayload {
    /// The ten new codes, or null on failure. This is the only response that has them.
    recovery_codes: Option<Vec<String>>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `verifySecondFactor`.
#[derive(InputObject)]
pub struct VerifySecondFactorInput {
    /// The `token` of the challenge that `signIn` or `redeemHandoff` returned.
    #[graphql(secret)]
    challenge_token: String,
    /// The kind of `code`: one of the challenge's `methods`.
    method: SecondFactorProof,
    /// A code of 6 digits, or a recovery code such as `7k2m-9xpq-4vtd`. Spaces are ignored, as
    /// are the hyphens and the letter case of a recovery code.
    #[graphql(secret)]
    code: String,
    /// How the session's token reaches the server.
    #[graphql(default_with = "SessionTransport::Bearer")]
    session_transport: SessionTransport,
}

/// The input of `sendSecondFactorCode`.
#[derive(InputObject)]
pub struct SendSecondFactorCodeInput {
    /// The `token` of the challenge that `signIn` or `redeemHandoff` returned. Without it the
    /// code is for `reauthenticate`, and a session is required.
    #[graphql(secret)]
    challenge_token: Option<String>,
}

/// The payload of `sendSecondFactorCode`.
#[derive(SimpleObject, Default)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SendSecondFactorCodePayload {
    /// The code that was mailed, or null on failure.
    code_sent: Option<SentCode>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `reauthenticate`.
#[derive(InputObject)]
pub struct ReauthenticateInput {
    /// Your password. Not checked if your account has none; empty if your control panel sent the
    /// hash of an empty one.
    #[graphql(secret)]
    password: String,
    /// The kind of `code`; `AUTHENTICATOR` by default.
    method: Option<SecondFactorProof>,
    /// A code of your second factor or a recovery code. If your account has neither a second
    /// factor nor a password, a code that `sendSecondFactorCode` mails. If it has only a password,
    /// leave it out.
    #[graphql(secret)]
    code: Option<String>,
}

/// The payload of `reauthenticate`.
#[derive(SimpleObject, Default)]
#[graphql(crate = "crate::graphql::executor")]
pub struct ReauthenticatePayload {
    /// Until when this session may make protected changes, or null on failure.
    valid_until: Option<DateTime<Utc>>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `resetSecondFactors`.
#[derive(InputObject)]
pub struct ResetSecondFactorsInput {
    /// The id of the account.
    account_id: ID,
}

/// The payload of `resetSecondFactors`.
#[derive(SimpleObject, Default)]
#[graphql(crate = "crate::graphql::executor")]
pub struct ResetSecondFactorsPayload {
    /// The account, which has no second factor any more.
    account: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct SecondFactorMutation;

#[Object]
impl SecondFactorMutation {
    /// Completes a sign-in with a second factor. Requires no session.
    ///
    /// User errors: `INVALID` for a malformed code, which does not count as an attempt;
    /// `INVALID_CODE` for a wrong, used or outdated one; `EXPIRED` if the challenge is unknown,
    /// expired, completed or out of attempts: sign in again. Too many wrong codes for one
    /// account are `RATE_LIMITED`: after 20 within a day, one every 72 minutes. Using a recovery
    /// code notifies the owner by mail, as do wrong codes from an unknown network.
    async fn verify_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The challenge and the code that answers it.")]
        input: VerifySecondFactorInput,
    ) -> Result<SignInPayload, Failure> {
        let cookie = input.session_transport.cookie(ctx)?;
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let proof = (input.method.into(), input.code.as_str());
        let verified =
            service::challenge::verify(actor, services, &input.challenge_token, proof, origin)
                .await;
        SignInPayload::of_second_step(verified, cookie)
    }

    /// Mails a code, either for completing a sign-in or for `reauthenticate`. The previous one
    /// becomes void.
    ///
    /// For accounts that have codes by e-mail as a second factor and, for `reauthenticate`, for
    /// those that have neither a second factor nor a password; others get the user error
    /// `NOT_AVAILABLE`, as do all if this installation sends no mail. `RATE_LIMITED` within 30
    /// seconds of the previous code, and beyond 10 codes an hour. The user error `EXPIRED` means
    /// that the challenge is over.
    async fn send_second_factor_code(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sign-in that the code is for.")] input: SendSecondFactorCodeInput,
    ) -> Result<SendSecondFactorCodePayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let sent = match &input.challenge_token {
            Some(token) => service::challenge::send_code(actor, services, token, origin).await,
            None => service::reauthentication::send_code(actor, services, origin).await,
        };
        Ok(match Outcome::of(sent)? {
            Outcome::Done(sent) => SendSecondFactorCodePayload {
                code_sent: Some(SentCode::new(&sent)),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                SendSecondFactorCodePayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Starts setting up a second factor: returns the key for an authenticator app, or mails
    /// a first code. Then call `confirmSecondFactor`.
    ///
    /// Starting again discards the key of an unconfirmed authenticator. An authenticator can be
    /// replaced; e-mail codes that are already set up fail with `TAKEN`. `NOT_AVAILABLE` means
    /// that this installation sends no mail. Mailed codes are counted: `RATE_LIMITED`, with when to
    /// try again.
    ///
    /// `REAUTHENTICATION_REQUIRED` if you neither signed in nor called `reauthenticate` in the last
    /// 10 minutes. To replace an authenticator: `REAUTHENTICATION_REQUIRED` if you have not called
    /// `reauthenticate` in the last 10 minutes; a recent sign-in is not enough.
    async fn begin_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The second factor to set up.")] input: BeginSecondFactorInput,
    ) -> Result<BeginSecondFactorPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let begun =
            service::second_factor::begin(actor, services, input.method.into(), origin).await;
        let mut payload = BeginSecondFactorPayload::default();
        match Outcome::of(begun)? {
            Outcome::Done(Enrolment::Authenticator { authenticator, uri, qr_code, expires_at }) => {
                let secret = authenticator.base32();
                payload.authenticator =
                    Some(AuthenticatorSetup { secret, uri, qr_code, expires_at });
            }
            Outcome::Done(Enrolment::Email(sent)) => payload.code_sent = Some(SentCode::new(&sent)),
            Outcome::Rejected { errors, .. } => payload.user_errors = errors,
        }
        Ok(payload)
    }

    /// Activates the second factor that `beginSecondFactor` started, with its first code. Your
    /// other sessions end, and you are notified by mail. A session that was limited because
    /// of a missing second factor has full access from now on.
    ///
    /// User errors: `INVALID` for a malformed code, `INVALID_CODE` for a wrong one, and
    /// `EXPIRED` if no authenticator was started in the last 10 minutes or your session ended
    /// meanwhile. Too many wrong codes, or changes within an hour, are `RATE_LIMITED`.
    async fn confirm_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The second factor and its first code.")] input: ConfirmSecondFactorInput,
    ) -> Result<ConfirmSecondFactorPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let first = (input.method.into(), input.code.as_str());
        let confirmed = service::second_factor::confirm(actor, services, first, origin).await;
        Ok(match Outcome::of(confirmed)? {
            Outcome::Done(confirmed) => ConfirmSecondFactorPayload {
                second_factor: Some(confirmed.factor.into()),
                recovery_codes: (!confirmed.recovery_codes.is_empty()).then(|| {
                    confirmed
                        .recovery_codes
                        .iter()
                        .map(super::super::domain::second_factor::RecoveryCode::shown)
                        .collect()
                }),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                ConfirmSecondFactorPayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Removes one of your second factors, and with the last one the recovery codes. Your
    /// other sessions end, and you are notified by mail.
    ///
    /// `REAUTHENTICATION_REQUIRED` if you have not called `reauthenticate` in the last 10 minutes; a
    /// recent sign-in is not enough. Other user errors: `NOT_FOUND` if you have no such second
    /// factor, `SECOND_FACTOR_REQUIRED` if it is the last one of an account that must have one, and
    /// `EXPIRED` if your session ended meanwhile. Too many changes within an hour are `RATE_LIMITED`.
    async fn remove_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The second factor to remove.")] input: RemoveSecondFactorInput,
    ) -> Result<RemoveSecondFactorPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let removed =
            service::second_factor::remove(actor, services, input.method.into(), origin).await;
        Ok(match Outcome::of(removed)? {
            Outcome::Done(()) => RemoveSecondFactorPayload {
                viewer: Some(Account::new(service::account::viewer(actor, services).await?)),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                RemoveSecondFactorPayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Replaces your recovery codes with ten new ones; the old ones become void. You are
    /// notified by mail.
    ///
    /// `REAUTHENTICATION_REQUIRED` if you have not called `reauthenticate` in the last 10 minutes; a
    /// recent sign-in is not enough. Other user errors: `NOT_AVAILABLE` if your account has no
    /// second factor, and `EXPIRED` if your session ended meanwhile. `RATE_LIMITED` beyond ten calls
    /// an hour.
    async fn regenerate_recovery_codes(
        &self,
        ctx: &Context<'_>,
    ) -> Result<RegenerateRecoveryCodesPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let regenerated =
            service::second_factor::regenerate_recovery_codes(actor, services, origin).await;
        Ok(match Outcome::of(regenerated)? {
            Outcome::Done(codes) => RegenerateRecoveryCodesPayload {
                recovery_codes: Some(
                    codes
                        .iter()
                        .map(super::super::domain::second_factor::RecoveryCode::shown)
                        .collect(),
                ),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                RegenerateRecoveryCodesPayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Confirms your identity again, with your password and, if you have a second factor, a
    /// code. If you have neither, with a mailed code. For 10 minutes this session may then change
    /// what protects your account and, as an admin, who has access; fields that need this say so.
    ///
    /// User errors: `INVALID_CREDENTIALS` for a wrong password; `REQUIRED`, `INVALID` or
    /// `INVALID_CODE` for the code. Too many failed calls are `RATE_LIMITED`.
    async fn reauthenticate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Your password and code.")] input: ReauthenticateInput,
    ) -> Result<ReauthenticatePayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let method = input.method.map(second_factor::CodeKind::from);
        let code = input.code.as_deref();
        let proof =
            code.map(|code| (method.unwrap_or(second_factor::CodeKind::Authenticator), code));
        let password = Password::new(input.password);
        let reauthenticated =
            service::reauthentication::reauthenticate(actor, services, password, proof, origin)
                .await;
        Ok(match Outcome::of(reauthenticated)? {
            Outcome::Done(valid_until) => {
                ReauthenticatePayload { valid_until: Some(valid_until), user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                ReauthenticatePayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Removes all second factors and recovery codes of an account whose owner has lost them.
    /// Admins only. The sessions of the account end, and its owner is notified by mail. Fails
    /// with `NOT_FOUND` if there is no such account. `ERASED` means that the account was erased,
    /// `NOT_AVAILABLE` that it has no second factor.
    ///
    /// `REAUTHENTICATION_REQUIRED` if you neither signed in nor called `reauthenticate` in the last
    /// 10 minutes. For your own account: `REAUTHENTICATION_REQUIRED` if you have not called
    /// `reauthenticate` in the last 10 minutes; a recent sign-in is not enough.
    async fn reset_second_factors(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account.")] input: ResetSecondFactorsInput,
    ) -> Result<ResetSecondFactorsPayload, Failure> {
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let id = GlobalId::account(&input.account_id);
        let reset = service::second_factor::reset(actor, services, id).await;
        Ok(match Outcome::of(reset)? {
            Outcome::Done(account) => ResetSecondFactorsPayload {
                account: Some(Account::new(account)),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                ResetSecondFactorsPayload { user_errors: errors, ..Default::default() }
            }
        })
    }
}
