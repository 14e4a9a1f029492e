//! Signing in and out.

pub mod own;

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    account::Account,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
};
use crate::{
    crypto::password::Password,
    service::{self, ServiceError, session::SignedIn},
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

/// What `signIn` and `redeemHandoff` answer: a session, or a challenge to be answered first, or
/// neither and the reason why.
#[derive(SimpleObject)]
pub struct SignInPayload {
    /// The new session, where the password was right and no second step is needed.
    session: Option<NewSession>,
    /// The second step, where one is needed. None is in this version.
    challenge: Option<SignInChallenge>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

impl SignInPayload {
    /// What a sign-in came to.
    pub(super) fn of(signed_in: Result<SignedIn, ServiceError>) -> Result<Self, Failure> {
        Ok(match Outcome::of(signed_in)? {
            Outcome::Done(signed_in) => {
                Self { session: Some(NewSession(signed_in)), challenge: None, user_errors: vec![] }
            }
            Outcome::Refused { errors, .. } => {
                Self { session: None, challenge: None, user_errors: errors }
            }
        })
    }
}

/// A session that was just given: the only time that its token is shown.
#[derive(Description)]
pub struct NewSession(SignedIn);

#[Object(use_type_description)]
impl NewSession {
    /// The session's id.
    async fn id(&self) -> ID {
        GlobalId::Session(self.0.session.id).into()
    }

    /// The bearer token: send it as `Authorization: Bearer …` with each request, and
    /// as `{"authorization": "Bearer …"}` in the payload of a websocket's connection_init.
    async fn token(&self) -> &str {
        self.0.token.expose()
    }

    /// When the session ends by itself at the latest: sooner, if it is not used.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.session.expires_at
    }

    /// Who signed in.
    async fn account(&self) -> Account {
        Account::own(self.0.account.clone())
    }
}

/// A second step that has to be taken before a session is given.
#[derive(SimpleObject)]
pub struct SignInChallenge {
    /// What stands for the half-finished sign-in in the next step.
    token: String,
    /// Until when the step can be taken.
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
    /// Signs in with an e-mail address and a password. Needs no session. A wrong
    /// password and an unknown address get the same answer.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who signs in.")] input: SignInInput,
    ) -> Result<SignInPayload, Failure> {
        let password = Password::new(input.password);
        let (actor, desk, origin) = (ctx.actor()?, ctx.desk()?, ctx.origin()?);
        let signed_in =
            service::session::sign_in(actor, desk, &input.email, password, origin).await;
        SignInPayload::of(signed_in)
    }

    /// Ends the session that the request was made with; its live streams end too.
    async fn sign_out(&self, ctx: &Context<'_>) -> Result<SignOutPayload, Failure> {
        service::session::sign_out(ctx.actor()?, ctx.desk()?).await?;
        Ok(SignOutPayload { signed_out: true, user_errors: vec![] })
    }
}
