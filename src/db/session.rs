//! Sessions of signed-in people.

use std::collections::HashMap;

use diesel::{
    dsl::{InnerJoin, IntoBoxed, exists, not},
    pg::Pg,
    prelude::*,
    sql_types::{Array, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    prepared::Prepare as _,
    schema::{accounts, sessions},
};
use crate::{
    crypto::token::TokenHash,
    domain::{
        account::{EmailAddress, Locale, Role},
        actor::Identity,
        clock::Timestamp,
        ids::{AccountId, SessionId},
        session::{ClientOrigin, Session},
    },
};

/// A session that is neither expired nor revoked.
#[derive(Clone, Copy, Debug)]
pub struct LiveSession {
    /// The signed-in person.
    pub identity: Identity,
    /// When the session expires, regardless of its use.
    pub expires_at: Timestamp,
    /// When the session was last used, accurate to the minute.
    pub last_used_at: Timestamp,
}

/// Inserts a session.
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
            sessions::network.eq(session.origin.network().map(|network| network.to_string())),
            sessions::device.eq(session.origin.device()),
            sessions::confined.eq(session.confined),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes sessions, as if they had never been.
pub async fn delete(db: &mut Connection, ids: &[SessionId]) -> Result<(), DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    diesel::delete(sessions::table.filter(sessions::id.eq_any(ids))).execute(db).await?;
    Ok(())
}

/// Returns the session with a token, unless it has ended or its account is disabled.
pub async fn live_by_token(
    db: &mut Connection,
    token: TokenHash,
    now: Timestamp,
) -> Result<Option<LiveSession>, DbError> {
    first(db, live(now).filter(sessions::token_hash.eq(token.0.to_vec()))).await
}

/// Returns the session with an id, unless it has ended or its account is disabled.
pub async fn live_by_id(
    db: &mut Connection,
    id: SessionId,
    now: Timestamp,
) -> Result<Option<LiveSession>, DbError> {
    first(db, live(now).filter(sessions::id.eq(id.0))).await
}

/// Returns the roles of the accounts of sessions, without those that [`live_by_id`] does not return.
pub async fn live_roles(
    db: &mut Connection,
    ids: &[SessionId],
    now: Timestamp,
) -> Result<HashMap<SessionId, Role>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let found = live(now).filter(sessions::id.eq_any(ids)).select((sessions::id, accounts::role));
    let found = found.load::<(Uuid, Role)>(db).await?;
    Ok(found.into_iter().map(|(id, role)| (SessionId(id), role)).collect())
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
    type Row = (Uuid, Timestamp, Timestamp, bool, Uuid, Role, Locale);
    let row = query
        .select((
            sessions::id,
            sessions::expires_at,
            sessions::last_used_at,
            sessions::confined,
            accounts::id,
            accounts::role,
            accounts::locale,
        ))
        .first::<Row>(db)
        .await
        .optional()?;
    Ok(row.map(|(session, expires_at, last_used_at, confined, account, role, locale)| {
        LiveSession {
            identity: Identity {
                id: AccountId(account),
                role,
                locale,
                session: SessionId(session),
                confined,
            },
            expires_at,
            last_used_at,
        }
    }))
}

/// Lifts a session's confinement after a second factor was configured.
pub async fn lift_confinement(db: &mut Connection, id: SessionId) -> Result<(), DbError> {
    let session = sessions::table.find(id.0);
    diesel::update(session).set(sessions::confined.eq(false)).execute(db).await?;
    Ok(())
}

/// Records that the person reauthenticated.
pub async fn reauthenticate(
    db: &mut Connection,
    id: SessionId,
    now: Timestamp,
) -> Result<(), DbError> {
    let session = sessions::table.find(id.0);
    diesel::update(session).set(sessions::reauthenticated_at.eq(now)).execute(db).await?;
    Ok(())
}

/// Returns when the person last reauthenticated in a session, if ever.
pub async fn reauthenticated_at(
    db: &mut Connection,
    id: SessionId,
) -> Result<Option<Timestamp>, DbError> {
    Ok(sessions::table.find(id.0).select(sessions::reauthenticated_at).first(db).await?)
}

/// Returns when a session started.
pub async fn created_at(db: &mut Connection, id: SessionId) -> Result<Timestamp, DbError> {
    Ok(sessions::table.find(id.0).select(sessions::created_at).first(db).await?)
}

/// Returns whether an account was used before, but never on this device. Sessions whose network
/// address and device were deleted are of another device.
pub async fn is_new_device(
    db: &mut Connection,
    account: AccountId,
    device: Option<&str>,
) -> Result<bool, DbError> {
    let of_account = || sessions::table.filter(sessions::account_id.eq(account.0));
    let same = of_account()
        .filter(sessions::device.is_not_distinct_from(device))
        .filter(sessions::device.is_not_null().or(sessions::address.is_not_null()));
    Ok(diesel::select(exists(of_account()).and(not(exists(same)))).get_result(db).await?)
}

/// Returns whether a session of the account with an e-mail address was started from the origin's
/// network before, or from the same address by a version that did not store networks.
pub async fn knows_network(
    db: &mut Connection,
    email: &str,
    origin: &ClientOrigin,
) -> Result<bool, DbError> {
    let network = origin.network().map(|network| network.to_string());
    let address = origin.address.map(|address| address.to_string());
    let same = sessions::network
        .eq(network)
        .or(sessions::network.is_null().and(sessions::address.eq(address)));
    let spellings = EmailAddress::from_stored(email.to_owned()).spellings();
    let found = sessions::table
        .inner_join(accounts::table)
        .filter(accounts::email.eq_any(spellings))
        .filter(same);
    Ok(diesel::select(exists(found)).get_result(db).await?)
}

/// Revokes a session of an account. Returns `false` if it is already revoked or belongs to another
/// account.
pub async fn revoke(
    db: &mut Connection,
    account: AccountId,
    id: SessionId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let revoked = diesel::update(sessions::table)
        .filter(sessions::id.eq(id.0))
        .filter(sessions::account_id.eq(account.0))
        .filter(sessions::revoked_at.is_null())
        .set(sessions::revoked_at.eq(now))
        .execute(db)
        .await?;
    Ok(revoked == 1)
}

/// Revokes an account's sessions, except for `except`. Returns those that were still live.
pub async fn revoke_all(
    db: &mut Connection,
    account: AccountId,
    except: Option<SessionId>,
    now: Timestamp,
) -> Result<Vec<SessionId>, DbError> {
    let spared = except.into_iter().map(|id| id.0).collect::<Vec<_>>();
    let revoked = diesel::update(sessions::table)
        .filter(sessions::account_id.eq(account.0))
        .filter(sessions::id.ne_all(spared))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now))
        .set(sessions::revoked_at.eq(now))
        .returning(sessions::id)
        .get_results::<Uuid>(db)
        .await?;
    Ok(revoked.into_iter().map(SessionId).collect())
}

/// Revokes an account's live sessions except the `kept` ones that were used last. Returns those that it
/// revoked.
pub async fn revoke_oldest(
    db: &mut Connection,
    account: AccountId,
    kept: i64,
    now: Timestamp,
) -> Result<Vec<SessionId>, DbError> {
    let live = sessions::table
        .filter(sessions::account_id.eq(account.0))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now))
        .order((sessions::last_used_at.desc(), sessions::created_at.desc(), sessions::id.desc()))
        .offset(kept)
        .select(sessions::id)
        .load::<Uuid>(db)
        .await?;
    if live.is_empty() {
        return Ok(vec![]);
    }
    diesel::update(sessions::table)
        .filter(sessions::id.eq_any(&live))
        .set(sessions::revoked_at.eq(now))
        .execute(db)
        .await?;
    Ok(live.into_iter().map(SessionId).collect())
}

/// Records when sessions were last used. Earlier times than those stored are ignored.
pub async fn note_uses(
    db: &mut Connection,
    uses: &[(SessionId, Timestamp)],
) -> Result<(), DbError> {
    let (ids, times) = uses.iter().map(|(id, at)| (id.0, *at)).unzip::<_, _, Vec<_>, Vec<_>>();
    diesel::sql_query(
        "UPDATE sessions SET last_used_at = uses.at
         FROM unnest($1, $2) AS uses (id, at)
         WHERE sessions.id = uses.id AND sessions.last_used_at < uses.at",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Timestamptz>, _>(times)
    .prepared()
    .execute(db)
    .await?;
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions)]
struct SessionRow {
    id: Uuid,
    account_id: Uuid,
    created_at: Timestamp,
    last_used_at: Timestamp,
    expires_at: Timestamp,
    address: Option<String>,
    device: Option<String>,
    confined: bool,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: SessionId(row.id),
            account_id: AccountId(row.account_id),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            origin: origin(row.address.as_deref(), row.device.as_deref()),
            confined: row.confined,
        }
    }
}

/// Builds an origin from a session's columns.
pub(super) fn origin(address: Option<&str>, device: Option<&str>) -> ClientOrigin {
    ClientOrigin::new(address.and_then(|address| address.parse().ok()), device)
}

/// Returns up to `limit` live sessions of an account that were used after `idle_since`, the last
/// used first.
pub async fn of_account(
    db: &mut Connection,
    account: AccountId,
    now: Timestamp,
    idle_since: Timestamp,
    limit: i64,
) -> Result<Vec<Session>, DbError> {
    let rows = sessions::table
        .filter(sessions::account_id.eq(account.0))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now))
        .filter(sessions::last_used_at.gt(idle_since))
        .order((sessions::last_used_at.desc(), sessions::id.desc()))
        .limit(limit)
        .select(SessionRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(Session::from).collect())
}
