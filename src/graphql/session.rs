//! Signing in and out.

pub mod own;

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    second_factor::{SecondFactorAdvice, SecondFactorProof},
    session_cookie::{self, SessionCookie, SessionTransport},
};
use crate::{
    crypto::password::Password,
    service::{
        self, ServiceError,
        second_factor::Advice,
        session::{SignInStep, SignedIn},
    },
};

/// The input of `signIn`.
#[derive(InputObject)]
pub struct SignInInput {
    /// The account's e-mail address, in any letter case.
    email: String,
    /// The account's password.
    #[graphql(secret)]
    password: String,
    /// How the session's token reaches the server.
    #[graphql(default_with = "SessionTransport::Bearer")]
    session_transport: SessionTransport,
}

/// The payload of `signIn`, `verifySecondFactor` and `redeemHandoff`: a session, a challenge
/// for a second factor, or user errors.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SignInPayload {
    /// The new session, or null if a second factor is required or the sign-in failed.
    session: Option<NewSession>,
    /// The challenge to answer with `verifySecondFactor` if the account has a second factor;
    /// null otherwise.
    challenge: Option<SecondFactorRequired>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

impl SignInPayload {
    /// The payload of a first step: a password, or the token of a handoff.
    pub(super) fn of(
        ctx: &Context<'_>,
        step: Result<SignInStep, ServiceError>,
        cookie: Option<&SessionCookie>,
    ) -> Result<Self, Failure> {
        Ok(match Outcome::of(step)? {
            Outcome::Done(SignInStep::SignedIn(signed_in)) => {
                let advice = service::second_factor::advice(ctx.services()?, &signed_in, false);
                let session = Some(NewSession::keep(signed_in, advice, cookie));
                Self { session, challenge: None, user_errors: vec![] }
            }
            Outcome::Done(SignInStep::ChallengeIssued(challenged)) => {
                let challenge = Some(SecondFactorRequired {
                    token: challenged.token.expose().to_owned(),
                    methods: challenged.methods.into_iter().map(Into::into).collect(),
                    expires_at: challenged.expires_at,
                });
                Self { session: None, challenge, user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                Self { session: None, challenge: None, user_errors: errors }
            }
        })
    }

    /// The payload of the second step.
    pub(super) fn of_second_step(
        verified: Result<SignedIn, ServiceError>,
        cookie: Option<&SessionCookie>,
    ) -> Result<Self, Failure> {
        Ok(match Outcome::of(verified)? {
            Outcome::Done(signed_in) => {
                let session = Some(NewSession::keep(signed_in, Advice::Configured, cookie));
                Self { session, challenge: None, user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                Self { session: None, challenge: None, user_errors: errors }
            }
        })
    }
}

/// A session that has just begun, with its token.
#[derive(Description)]
pub struct NewSession {
    signed_in: SignedIn,
    advice: Advice,
    is_in_cookie: bool,
}

impl NewSession {
    /// Puts the token into the cookie, if there is one for it.
    fn keep(signed_in: SignedIn, advice: Advice, cookie: Option<&SessionCookie>) -> Self {
        if let Some(cookie) = cookie {
            session_cookie::keep(cookie, &signed_in);
        }
        Self { signed_in, advice, is_in_cookie: cookie.is_some() }
    }
}

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl NewSession {
    /// An opaque identifier. Store it and send it back unchanged. `node` does not accept it.
    async fn id(&self) -> ID {
        GlobalId::Session(self.signed_in.session.id).into()
    }

    /// The session's token. Send it with each request as `Authorization: Bearer …`, and in the
    /// payload of a websocket's `connection_init` as `{"authorization": "Bearer …"}`. This is
    /// the only response that has it. Null if the token is in a cookie.
    async fn token(&self) -> Option<&str> {
        (!self.is_in_cookie).then(|| self.signed_in.token.expose())
    }

    /// When the session expires at the latest. It expires earlier if it is not used for a
    /// while: see `Session.expiresAt`.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.signed_in.session.expires_at
    }

    /// Whether the account has a second factor, can have one, or must set one up before the
    /// session can be used for anything else.
    async fn second_factor(&self) -> SecondFactorAdvice {
        self.advice.into()
    }

    /// The account that signed in.
    async fn account(&self) -> Account {
        Account::with_contact(self.signed_in.account.clone())
    }
}

/// A challenge: the sign-in needs a code of a second factor before a session begins.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SecondFactorRequired {
    /// The token of the pending sign-in, for `verifySecondFactor` and `sendSecondFactorCode`.
    /// It is not a session token: nothing else accepts it.
    token: String,
    /// The kinds of codes that are accepted; one is enough.
    methods: Vec<SecondFactorProof>,
    /// When the challenge expires, 10 minutes after it was created. It is also void after 5
    /// wrong codes.
    expires_at: DateTime<Utc>,
}

/// The payload of `signOut`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SignOutPayload {
    /// Whether the session has ended. Always true: failures are top-level errors.
    signed_out: bool,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct SessionMutation;

#[Object]
impl SessionMutation {
    /// Signs in with an e-mail address and a password. Requires no session.
    ///
    /// An account with a second factor gets a `challenge` in place of a `session`. A wrong
    /// password, an unknown address and a disabled account are the same user error,
    /// `INVALID_CREDENTIALS`. `RATE_LIMITED` after 10 failed calls for an account from one
    /// network address within 15 minutes; wider limits apply to each account and each network
    /// address as a whole, and 100 sessions an hour can be begun with the password alone.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The address and the password.")] input: SignInInput,
    ) -> Result<SignInPayload, Failure> {
        let cookie = input.session_transport.cookie(ctx)?;
        let password = Password::new(input.password);
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let signed_in =
            service::session::sign_in(actor, services, &input.email, password, origin).await;
        SignInPayload::of(ctx, signed_in, cookie)
    }

    /// Ends the session of this request, and its live streams. Removes the cookie that it is in.
    async fn sign_out(&self, ctx: &Context<'_>) -> Result<SignOutPayload, Failure> {
        service::session::sign_out(ctx.actor()?, ctx.services()?).await?;
        session_cookie::remove(ctx);
        Ok(SignOutPayload { signed_out: true, user_errors: vec![] })
    }
}
