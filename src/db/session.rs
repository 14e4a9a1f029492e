//! Sessions.

use diesel::{
    dsl::{InnerJoin, IntoBoxed},
    pg::Pg,
    prelude::*,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{accounts, sessions},
};
use crate::{
    crypto::token::TokenHash,
    domain::{
        account::{Locale, Role},
        actor::Identity,
        clock::Timestamp,
        ids::{AccountId, SessionId},
        session::Session,
    },
};

/// A session that may be acted through, and until when.
#[derive(Clone, Copy, Debug)]
pub struct LiveSession {
    /// Who acts.
    pub identity: Identity,
    /// When the session ends by itself.
    pub expires_at: Timestamp,
}

/// Adds a session.
pub async fn insert(
    db: &mut Connection,
    session: &Session,
    token: TokenHash,
) -> Result<(), DbError> {
    diesel::insert_into(sessions::table)
        .values((
            sessions::id.eq(session.id.0),
            sessions::account_id.eq(session.account_id.0),
            sessions::token_hash.eq(token.0.as_slice()),
            sessions::created_at.eq(session.created_at),
            sessions::last_used_at.eq(session.last_used_at),
            sessions::expires_at.eq(session.expires_at),
            sessions::address.eq(session.origin.address.map(|address| address.to_string())),
            sessions::device.eq(session.origin.device()),
            sessions::confined.eq(session.confined),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// The session that a token stands for, unless it has ended or its account is disabled.
pub async fn live_by_token(
    db: &mut Connection,
    token: TokenHash,
    now: Timestamp,
) -> Result<Option<LiveSession>, DbError> {
    first(db, live(now).filter(sessions::token_hash.eq(token.0.to_vec()))).await
}

/// A session as it stands now, unless it has ended or its account is disabled.
pub async fn live_by_id(
    db: &mut Connection,
    id: SessionId,
    now: Timestamp,
) -> Result<Option<LiveSession>, DbError> {
    first(db, live(now).filter(sessions::id.eq(id.0))).await
}

type Sessions = IntoBoxed<'static, InnerJoin<sessions::table, accounts::table>, Pg>;

fn live(now: Timestamp) -> Sessions {
    sessions::table
        .inner_join(accounts::table)
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now))
        .filter(accounts::disabled_at.is_null())
        .into_boxed()
}

async fn first(db: &mut Connection, query: Sessions) -> Result<Option<LiveSession>, DbError> {
    type Row = (Uuid, Timestamp, bool, Uuid, Role, Locale);
    let row = query
        .select((
            sessions::id,
            sessions::expires_at,
            sessions::confined,
            accounts::id,
            accounts::role,
            accounts::locale,
        ))
        .first::<Row>(db)
        .await
        .optional()?;
    Ok(row.map(|(session, expires_at, confined, account, role, locale)| LiveSession {
        identity: Identity {
            id: AccountId(account),
            role,
            locale,
            session: SessionId(session),
            confined,
        },
        expires_at,
    }))
}

/// Ends a session of an account; `false` where it had ended before, or is another's.
pub async fn revoke(
    db: &mut Connection,
    account: AccountId,
    id: SessionId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let ended = diesel::update(sessions::table)
        .filter(sessions::id.eq(id.0))
        .filter(sessions::account_id.eq(account.0))
        .filter(sessions::revoked_at.is_null())
        .set(sessions::revoked_at.eq(now))
        .execute(db)
        .await?;
    Ok(ended == 1)
}

/// Ends an account's sessions but one; gives those that had not ended before.
pub async fn revoke_all(
    db: &mut Connection,
    account: AccountId,
    except: Option<SessionId>,
    now: Timestamp,
) -> Result<Vec<SessionId>, DbError> {
    let spared = except.into_iter().map(|id| id.0).collect::<Vec<_>>();
    let ended = diesel::update(sessions::table)
        .filter(sessions::account_id.eq(account.0))
        .filter(sessions::id.ne_all(spared))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now))
        .set(sessions::revoked_at.eq(now))
        .returning(sessions::id)
        .get_results::<Uuid>(db)
        .await?;
    Ok(ended.into_iter().map(SessionId).collect())
}
