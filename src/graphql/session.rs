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
};
use crate::{
    crypto::password::Password,
    service::{
        self, ServiceError,
        second_factor::Advice,
        session::{SignInStep, SignedIn},
    },
};

/// What `signIn` takes.
#[derive(InputObject)]
pub struct SignInInput {
    /// The account's e-mail address, in any case.
    email: String,
    /// Its password.
    #[graphql(secret)]
    password: String,
}

/// What a step of signing in answers, with a password, a second factor or a hand-over: a
/// session, or a challenge to be answered first, or neither and the reason why.
#[derive(SimpleObject)]
pub struct SignInPayload {
    /// The new session, where the password was right and no second step is needed.
    session: Option<NewSession>,
    /// The second step, where the account has a second factor: go on with
    /// `verifySecondFactor`.
    challenge: Option<SecondFactorRequired>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

impl SignInPayload {
    /// What a first step came to.
    pub(super) fn of(
        ctx: &Context<'_>,
        step: Result<SignInStep, ServiceError>,
    ) -> Result<Self, Failure> {
        Ok(match Outcome::of(step)? {
            Outcome::Done(SignInStep::SignedIn(signed_in)) => {
                let advice = service::second_factor::advice(ctx.services()?, &signed_in, false);
                let session = Some(NewSession { signed_in, advice });
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
            Outcome::Refused { errors, .. } => {
                Self { session: None, challenge: None, user_errors: errors }
            }
        })
    }

    /// What the second step came to.
    pub(super) fn of_verified(verified: Result<SignedIn, ServiceError>) -> Result<Self, Failure> {
        Ok(match Outcome::of(verified)? {
            Outcome::Done(signed_in) => {
                let session = Some(NewSession { signed_in, advice: Advice::Configured });
                Self { session, challenge: None, user_errors: vec![] }
            }
            Outcome::Refused { errors, .. } => {
                Self { session: None, challenge: None, user_errors: errors }
            }
        })
    }
}

/// A session that was just given: the only time that its token is shown.
#[derive(Description)]
pub struct NewSession {
    signed_in: SignedIn,
    advice: Advice,
}

#[Object(use_type_description)]
impl NewSession {
    /// The session's id.
    async fn id(&self) -> ID {
        GlobalId::Session(self.signed_in.session.id).into()
    }

    /// The bearer token: send it as `Authorization: Bearer …` with each request, and
    /// as `{"authorization": "Bearer …"}` in the payload of a websocket's connection_init.
    async fn token(&self) -> &str {
        self.signed_in.token.expose()
    }

    /// When the session ends by itself at the latest: sooner, if it is not used.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.signed_in.session.expires_at
    }

    /// Whether a second factor is configured, offered or required. Where one is
    /// required and missing, the session can do nothing but configure one.
    async fn second_factor(&self) -> SecondFactorAdvice {
        self.advice.into()
    }

    /// Who signed in.
    async fn account(&self) -> Account {
        Account::own(self.signed_in.account.clone())
    }
}

/// A second step that has to be taken before a session is given.
#[derive(SimpleObject)]
pub struct SecondFactorRequired {
    /// What stands for the half-finished sign-in in `verifySecondFactor` and
    /// `sendSecondFactorCode`. It is no session and opens nothing else.
    token: String,
    /// What can be presented: the choice is the caller's.
    methods: Vec<SecondFactorProof>,
    /// Until when the step can be taken. It takes 5 wrong codes at most.
    expires_at: DateTime<Utc>,
}

/// What `signOut` answers.
#[derive(SimpleObject)]
pub struct SignOutPayload {
    /// Whether the session that the request was made with has ended.
    signed_out: bool,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct SessionMutation;

#[Object]
impl SessionMutation {
    /// Signs in with an e-mail address and a password. Needs no session. An account
    /// with a second factor gets a challenge instead of a session. A wrong password and
    /// an unknown address get the same answer; too many of them get RATE_LIMITED.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who signs in.")] input: SignInInput,
    ) -> Result<SignInPayload, Failure> {
        let password = Password::new(input.password);
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let signed_in =
            service::session::sign_in(actor, services, &input.email, password, origin).await;
        SignInPayload::of(ctx, signed_in)
    }

    /// Ends the session that the request was made with; its live streams end too.
    async fn sign_out(&self, ctx: &Context<'_>) -> Result<SignOutPayload, Failure> {
        service::session::sign_out(ctx.actor()?, ctx.services()?).await?;
        Ok(SignOutPayload { signed_out: true, user_errors: vec![] })
    }
}
