//! The caller's own sessions: listing and revoking them.

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::{
    domain::session,
    graphql::{
        context::ContextExt as _,
        error::{Failure, Outcome, UserError},
        id::GlobalId,
        text::Text,
    },
    service,
};

/// One of your sessions: a device or program that is signed in to your account.
#[derive(Description)]
pub struct Session(session::Session);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl Session {
    /// An opaque identifier. Store it and send it back unchanged. `node` does not accept it.
    async fn id(&self) -> ID {
        GlobalId::Session(self.0.id).into()
    }

    /// The `User-Agent` of the client that signed in, at most 255 characters, or null if it
    /// sent none.
    async fn device(&self) -> Option<Text<&str>> {
        self.0.origin.device().map(Text)
    }

    /// The IP address of the client that signed in, or null if it is unknown.
    async fn address(&self) -> Option<String> {
        self.0.origin.address.map(|address| address.to_string())
    }

    /// When the session began.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When the session was last used, to the minute.
    async fn last_used_at(&self) -> DateTime<Utc> {
        self.0.last_used_at
    }

    /// When the session expires if it is not used again. Each use extends it, at most to the
    /// `expiresAt` that the sign-in returned.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.expires_at
    }

    /// Whether this request uses the session.
    async fn is_current(&self, ctx: &Context<'_>) -> Result<bool, Failure> {
        Ok(ctx.actor()?.identity().is_some_and(|identity| identity.session == self.0.id))
    }
}

impl Session {
    /// The caller's sessions, last used first.
    pub async fn of_viewer(ctx: &Context<'_>) -> Result<Vec<Self>, Failure> {
        let sessions = service::session::own::all(ctx.actor()?, ctx.services()?).await?;
        Ok(sessions.into_iter().map(Self).collect())
    }
}

/// The input of `revokeSession`.
#[derive(InputObject)]
pub struct RevokeSessionInput {
    /// The id of one of your sessions: `viewer.sessions` lists them.
    id: ID,
}

/// The payload of `revokeSession`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RevokeSessionPayload {
    /// The id of the session that has ended, or null on failure.
    revoked_session_id: Option<ID>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The payload of `revokeOtherSessions`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RevokeOtherSessionsPayload {
    /// The number of sessions that have ended; 0 if there was no other.
    revoked_count: Option<i64>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct OwnSessionMutation;

#[Object]
impl OwnSessionMutation {
    /// Ends one of your sessions, and its live streams. It may be the session of this request.
    /// User error: `NOT_FOUND` if you have no such session or if it has already ended.
    async fn revoke_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session to end.")] input: RevokeSessionInput,
    ) -> Result<RevokeSessionPayload, Failure> {
        let id = GlobalId::session(&input.id);
        let ended = service::session::own::revoke(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(ended)? {
            Outcome::Done(id) => RevokeSessionPayload {
                revoked_session_id: Some(GlobalId::Session(id).into()),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                RevokeSessionPayload { revoked_session_id: None, user_errors: errors }
            }
        })
    }

    /// Ends all of your sessions except the one of this request, and their live streams.
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
