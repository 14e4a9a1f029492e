//! Second factors: configured, presented, removed.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    session::SignInPayload,
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

/// A second factor that can be configured.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "second_factor::Method")]
pub enum SecondFactorMethod {
    /// A mobile authenticator: an app that shows a new code of 6 digits every 30
    /// seconds (RFC 6238).
    Authenticator,
    /// One-time codes of 6 digits by e-mail, good for 2 minutes.
    Email,
}

/// What can be presented as a second factor.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "second_factor::CodeKind")]
pub enum SecondFactorProof {
    /// A code of the mobile authenticator.
    Authenticator,
    /// A code that `sendSecondFactorCode` has mailed.
    Email,
    /// One of the recovery codes.
    RecoveryCode,
}

/// How a session stands to second factors.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "Advice")]
pub enum SecondFactorAdvice {
    /// The account has one.
    Configured,
    /// The account has none and can have one: `beginSecondFactor`.
    Offered,
    /// The account has none and needs one: the session can do nothing else until
    /// `confirmSecondFactor` has succeeded.
    Required,
}

/// A configured second factor.
#[derive(SimpleObject)]
pub struct SecondFactor {
    /// How it proves that it is you.
    method: SecondFactorMethod,
    /// Since when it is configured.
    configured_at: DateTime<Utc>,
    /// When it last let you in; null: it has not yet.
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

/// What `beginSecondFactor` takes.
#[derive(InputObject)]
pub struct BeginSecondFactorInput {
    /// What to configure.
    method: SecondFactorMethod,
}

/// What `beginSecondFactor` answers. Nothing is configured yet: go on with
/// `confirmSecondFactor`.
#[derive(SimpleObject, Default)]
pub struct BeginSecondFactorPayload {
    /// For an authenticator: what its app has to learn.
    authenticator: Option<AuthenticatorSetup>,
    /// For codes by e-mail: a code is on its way.
    code_sent: Option<SentCode>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What an authenticator app has to learn. It is shown this once only.
#[derive(SimpleObject)]
pub struct AuthenticatorSetup {
    /// The key in base32, to be typed in.
    secret: String,
    /// The key as an `otpauth://` URI, to be opened on the phone itself.
    uri: String,
    /// The URI as a QR code to be scanned: an SVG image in a data URI.
    qr_code: String,
    /// Until when the first code has to be given.
    expires_at: DateTime<Utc>,
}

/// A code that is on its way by mail.
#[derive(SimpleObject)]
pub struct SentCode {
    /// Until when it can be used.
    expires_at: DateTime<Utc>,
    /// From when another can be asked for; it voids this one.
    next_at: DateTime<Utc>,
    /// So many seconds from now another can be asked for.
    next_in_seconds: i64,
}

impl SentCode {
    fn new(sent: &CodeSent) -> Self {
        Self {
            expires_at: sent.expires_at,
            next_at: sent.next_at,
            next_in_seconds: second_factor::MAILED_CODE_PAUSE.num_seconds(),
        }
    }
}

/// What `confirmSecondFactor` takes.
#[derive(InputObject)]
pub struct ConfirmSecondFactorInput {
    /// What was begun.
    method: SecondFactorMethod,
    /// The first code: 6 digits, with spaces or without.
    #[graphql(secret)]
    code: String,
}

/// What `confirmSecondFactor` answers.
#[derive(SimpleObject, Default)]
pub struct ConfirmSecondFactorPayload {
    /// The new second factor.
    second_factor: Option<SecondFactor>,
    /// Ten codes that stand in for a lost second factor, once each: only where the
    /// account had none left, and shown this once only. To be kept on paper.
    recovery_codes: Option<Vec<String>>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `removeSecondFactor` takes.
#[derive(InputObject)]
pub struct RemoveSecondFactorInput {
    /// What to remove.
    method: SecondFactorMethod,
}

/// What `removeSecondFactor` answers.
#[derive(SimpleObject, Default)]
pub struct RemoveSecondFactorPayload {
    /// Your account without it.
    viewer: Option<Account>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `regenerateRecoveryCodes` answers.
#[derive(SimpleObject, Default)]
pub struct RegenerateRecoveryCodesPayload {
    /// The new codes: shown this once only. The old ones are void.
    recovery_codes: Option<Vec<String>>,
    /// What is wrong.
    user_errors: Vec<UserError>,
}

/// What `verifySecondFactor` takes.
#[derive(InputObject)]
pub struct VerifySecondFactorInput {
    /// The token of the challenge that `signIn` gave.
    #[graphql(secret)]
    challenge_token: String,
    /// What is presented.
    method: SecondFactorProof,
    /// The code: 6 digits, or a recovery code; with spaces or without.
    #[graphql(secret)]
    code: String,
}

/// What `sendSecondFactorCode` takes.
#[derive(InputObject)]
pub struct SendSecondFactorCodeInput {
    /// The token of the challenge that `signIn` gave; without one the code is for
    /// `reauthenticate`, and you have to be signed in.
    #[graphql(secret)]
    challenge_token: Option<String>,
}

/// What `sendSecondFactorCode` answers.
#[derive(SimpleObject, Default)]
pub struct SendSecondFactorCodePayload {
    /// The code that is on its way.
    code_sent: Option<SentCode>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `reauthenticate` takes.
#[derive(InputObject)]
pub struct ReauthenticateInput {
    /// Your password; anything where your account has none.
    #[graphql(secret)]
    password: String,
    /// What is presented, where your account has a second factor.
    method: Option<SecondFactorProof>,
    /// Its code, where your account has a second factor.
    #[graphql(secret)]
    code: Option<String>,
}

/// What `reauthenticate` answers.
#[derive(SimpleObject, Default)]
pub struct ReauthenticatePayload {
    /// Until when this session may change what protects your account.
    valid_until: Option<DateTime<Utc>>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `resetSecondFactors` takes.
#[derive(InputObject)]
pub struct ResetSecondFactorsInput {
    /// Whose are removed.
    account_id: ID,
}

/// What `resetSecondFactors` answers.
#[derive(SimpleObject, Default)]
pub struct ResetSecondFactorsPayload {
    /// The account, without second factors.
    account: Option<Account>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct SecondFactorMutation;

#[Object]
impl SecondFactorMutation {
    /// Finishes a sign-in with a second factor. Needs no session. A code works once.
    async fn verify_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is presented.")] input: VerifySecondFactorInput,
    ) -> Result<SignInPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let proof = (input.method.into(), input.code.as_str());
        let verified =
            service::challenge::verify(actor, services, &input.challenge_token, proof, origin)
                .await;
        SignInPayload::of_verified(verified)
    }

    /// Mails a one-time code: for a half-finished sign-in, or for `reauthenticate`. The
    /// last one is void then. Not sooner than 30 seconds after the last one.
    async fn send_second_factor_code(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it is for.")] input: SendSecondFactorCodeInput,
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
            Outcome::Refused { errors, .. } => {
                SendSecondFactorCodePayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Begins to configure a second factor: shows what an authenticator app has to
    /// learn, or mails a first code. To replace an authenticator you have, call
    /// `reauthenticate` before; so too where you have a second factor and signed in more
    /// than 10 minutes ago.
    async fn begin_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to configure.")] input: BeginSecondFactorInput,
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
            Outcome::Refused { errors, .. } => payload.user_errors = errors,
        }
        Ok(payload)
    }

    /// Configures the second factor that was begun, with its first code. Your other
    /// sessions end.
    async fn confirm_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first code.")] input: ConfirmSecondFactorInput,
    ) -> Result<ConfirmSecondFactorPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let first = (input.method.into(), input.code.as_str());
        let confirmed = service::second_factor::confirm(actor, services, first, origin).await;
        Ok(match Outcome::of(confirmed)? {
            Outcome::Done(confirmed) => ConfirmSecondFactorPayload {
                second_factor: Some(confirmed.factor.into()),
                recovery_codes: (!confirmed.recovery_codes.is_empty())
                    .then(|| confirmed.recovery_codes.iter().map(|code| code.shown()).collect()),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                ConfirmSecondFactorPayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Removes one of your second factors. Call `reauthenticate` before. Your other
    /// sessions end.
    async fn remove_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to remove.")] input: RemoveSecondFactorInput,
    ) -> Result<RemoveSecondFactorPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let removed =
            service::second_factor::remove(actor, services, input.method.into(), origin).await;
        Ok(match Outcome::of(removed)? {
            Outcome::Done(()) => RemoveSecondFactorPayload {
                viewer: Some(Account::new(service::account::viewer(actor, services).await?)),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                RemoveSecondFactorPayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Makes ten new recovery codes and voids the old ones. Call `reauthenticate` before.
    async fn regenerate_recovery_codes(
        &self,
        ctx: &Context<'_>,
    ) -> Result<RegenerateRecoveryCodesPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let made = service::second_factor::regenerate_recovery_codes(actor, services, origin).await;
        Ok(match Outcome::of(made)? {
            Outcome::Done(codes) => RegenerateRecoveryCodesPayload {
                recovery_codes: Some(codes.iter().map(|code| code.shown()).collect()),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                RegenerateRecoveryCodesPayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Proves once more that it is you, for the next 10 minutes of this session: with
    /// your password, and with a code if you have a second factor.
    async fn reauthenticate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What proves it.")] input: ReauthenticateInput,
    ) -> Result<ReauthenticatePayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let method = input.method.map(second_factor::CodeKind::from);
        let code = input.code.as_deref();
        let proof =
            code.map(|code| (method.unwrap_or(second_factor::CodeKind::Authenticator), code));
        let password = Password::new(input.password);
        let proven =
            service::reauthentication::reauthenticate(actor, services, password, proof, origin)
                .await;
        Ok(match Outcome::of(proven)? {
            Outcome::Done(until) => {
                ReauthenticatePayload { valid_until: Some(until), user_errors: vec![] }
            }
            Outcome::Refused { errors, .. } => {
                ReauthenticatePayload { user_errors: errors, ..Default::default() }
            }
        })
    }

    /// Removes all second factors of somebody who has lost them. For admins. Their
    /// sessions end, and they are told by mail.
    async fn reset_second_factors(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose.")] input: ResetSecondFactorsInput,
    ) -> Result<ResetSecondFactorsPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let id = GlobalId::account(&input.account_id).ok_or_else(Failure::not_found)?;
        let reset = service::second_factor::reset(actor, services, id, origin).await;
        Ok(match Outcome::of(reset)? {
            Outcome::Done(account) => ResetSecondFactorsPayload {
                account: Some(Account::new(account)),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                ResetSecondFactorsPayload { user_errors: errors, ..Default::default() }
            }
        })
    }
}
