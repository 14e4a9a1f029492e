//! One's own sessions.

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::{
    domain::session,
    graphql::{
        context::ContextExt as _,
        error::{Failure, Outcome, UserError},
        id::GlobalId,
    },
    service,
};

/// One of your sessions: a place where you are signed in.
#[derive(Description)]
pub struct Session(session::Session);

#[Object(use_type_description)]
impl Session {
    /// Its global id; `node` doesn't take it.
    async fn id(&self) -> ID {
        GlobalId::Session(self.0.id).into()
    }

    /// What the client said of itself when it signed in (its User-Agent).
    async fn device(&self) -> Option<&str> {
        self.0.origin.device()
    }

    /// The network address that it signed in from.
    async fn address(&self) -> Option<String> {
        self.0.origin.address.map(|address| address.to_string())
    }

    /// When it signed in.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it was last used, to the minute.
    async fn last_used_at(&self) -> DateTime<Utc> {
        self.0.last_used_at
    }

    /// When it ends by itself; later, if it is used.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.expires_at
    }

    /// Whether this request is made through it.
    async fn is_current(&self, ctx: &Context<'_>) -> Result<bool, Failure> {
        Ok(ctx.actor()?.identity().is_some_and(|identity| identity.session == self.0.id))
    }
}

impl Session {
    /// The viewer's sessions, the last used first.
    pub async fn of_viewer(ctx: &Context<'_>) -> Result<Vec<Self>, Failure> {
        let sessions = service::session::own::all(ctx.actor()?, ctx.services()?).await?;
        Ok(sessions.into_iter().map(Self).collect())
    }
}

/// What `revokeSession` takes.
#[derive(InputObject)]
pub struct RevokeSessionInput {
    /// The session: one of `viewer.sessions`.
    id: ID,
}

/// What `revokeSession` answers.
#[derive(SimpleObject)]
pub struct RevokeSessionPayload {
    /// The session that has ended.
    revoked_session_id: Option<ID>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `revokeOtherSessions` answers.
#[derive(SimpleObject)]
pub struct RevokeOtherSessionsPayload {
    /// How many sessions have ended.
    revoked_count: Option<i64>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct OwnSessionMutation;

#[Object]
impl OwnSessionMutation {
    /// Ends one of your sessions; its live streams end too.
    async fn revoke_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which to end.")] input: RevokeSessionInput,
    ) -> Result<RevokeSessionPayload, Failure> {
        let id = GlobalId::session(&input.id);
        let ended = service::session::own::revoke(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(ended)? {
            Outcome::Done(id) => RevokeSessionPayload {
                revoked_session_id: Some(GlobalId::Session(id).into()),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                RevokeSessionPayload { revoked_session_id: None, user_errors: errors }
            }
        })
    }

    /// Ends all of your sessions but this one; their live streams end too.
    async fn revoke_other_sessions(
        &self,
        ctx: &Context<'_>,
    ) -> Result<RevokeOtherSessionsPayload, Failure> {
        let ended = service::session::own::revoke_others(ctx.actor()?, ctx.services()?).await?;
        Ok(RevokeOtherSessionsPayload {
            revoked_count: Some(i64::try_from(ended).unwrap_or(i64::MAX)),
            user_errors: vec![],
        })
    }
}
