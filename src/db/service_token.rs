//! Service tokens.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError, schema::service_tokens};
use crate::{
    crypto::token::TokenHash,
    domain::{
        clock::Timestamp,
        ids::{AccountId, ServiceTokenId},
        service_token::{Scopes, ServiceToken},
    },
};

/// Uses within this time of the last recorded use are not recorded.
const PRECISION: TimeDelta = TimeDelta::minutes(1);

#[derive(Queryable, Selectable)]
#[diesel(table_name = service_tokens)]
struct ServiceTokenRow {
    id: Uuid,
    name: String,
    provision_customers: bool,
    create_handoffs: bool,
    created_at: Timestamp,
    created_by: Option<Uuid>,
    last_used_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<ServiceTokenRow> for ServiceToken {
    fn from(row: ServiceTokenRow) -> Self {
        Self {
            id: ServiceTokenId(row.id),
            name: row.name,
            scopes: Scopes {
                provision_customers: row.provision_customers,
                create_handoffs: row.create_handoffs,
            },
            created_at: row.created_at,
            created_by: row.created_by.map(AccountId),
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// Inserts a service token.
pub async fn insert(
    db: &mut Connection,
    token: &ServiceToken,
    hash: TokenHash,
) -> Result<(), DbError> {
    diesel::insert_into(service_tokens::table)
        .values((
            service_tokens::id.eq(token.id.0),
            service_tokens::name.eq(&token.name),
            service_tokens::token_hash.eq(hash.0.as_slice()),
            service_tokens::provision_customers.eq(token.scopes.provision_customers),
            service_tokens::create_handoffs.eq(token.scopes.create_handoffs),
            service_tokens::created_at.eq(token.created_at),
            service_tokens::created_by.eq(token.created_by.map(|id| id.0)),
            service_tokens::expires_at.eq(token.expires_at),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the service token with an id.
pub async fn by_id(
    db: &mut Connection,
    id: ServiceTokenId,
) -> Result<Option<ServiceToken>, DbError> {
    let row = service_tokens::table.find(id.0).select(ServiceTokenRow::as_select());
    Ok(row.first(db).await.optional()?.map(ServiceToken::from))
}

/// Returns the service token with a hash, unless it is revoked or has expired. Records its use at most once a
/// minute.
pub async fn by_token(
    db: &mut Connection,
    hash: TokenHash,
    now: Timestamp,
) -> Result<Option<ServiceToken>, DbError> {
    let live = service_tokens::table
        .filter(service_tokens::token_hash.eq(hash.0.as_slice()))
        .filter(service_tokens::revoked_at.is_null())
        .filter(service_tokens::expires_at.is_null().or(service_tokens::expires_at.gt(now)))
        .select(ServiceTokenRow::as_select())
        .first(db)
        .await
        .optional()?;
    let Some(token) = live.map(ServiceToken::from) else { return Ok(None) };
    if token.last_used_at.is_none_or(|at| at + PRECISION <= now) {
        diesel::update(service_tokens::table.find(token.id.0))
            .set(service_tokens::last_used_at.eq(now))
            .execute(db)
            .await?;
    }
    Ok(Some(token))
}

/// Returns all service tokens, newest first, including revoked ones.
pub async fn all(db: &mut Connection) -> Result<Vec<ServiceToken>, DbError> {
    let rows = service_tokens::table
        .order((service_tokens::created_at.desc(), service_tokens::id.desc()))
        .select(ServiceTokenRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(ServiceToken::from).collect())
}

/// Revokes a service token. Returns `None` if it is unknown or already revoked.
pub async fn revoke(
    db: &mut Connection,
    id: ServiceTokenId,
    by: Option<AccountId>,
    now: Timestamp,
) -> Result<Option<ServiceToken>, DbError> {
    let revoked = diesel::update(service_tokens::table.find(id.0))
        .filter(service_tokens::revoked_at.is_null())
        .set((service_tokens::revoked_at.eq(now), service_tokens::revoked_by.eq(by.map(|id| id.0))))
        .returning(ServiceTokenRow::as_returning())
        .get_result(db)
        .await
        .optional()?;
    Ok(revoked.map(ServiceToken::from))
}
