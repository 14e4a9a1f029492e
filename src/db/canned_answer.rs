//! Canned answers.

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{canned_answers, sql_types},
    text::LongText,
};
use crate::domain::{
    account::Locale,
    canned_answer::CannedAnswer,
    clock::Timestamp,
    ids::{AccountId, CannedAnswerId, CategoryId},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = canned_answers)]
struct CannedAnswerRow {
    id: Uuid,
    account_id: Option<Uuid>,
    title: String,
    category_id: Option<Uuid>,
    locale: Option<Locale>,
    retired_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<CannedAnswerRow> for CannedAnswer {
    fn from(row: CannedAnswerRow) -> Self {
        Self {
            id: CannedAnswerId(row.id),
            owner: row.account_id.map(AccountId),
            title: row.title,
            category: row.category_id.map(CategoryId),
            locale: row.locale,
            retired_at: row.retired_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Returns the shared canned answers and those of an account, each in their order, the shared ones
/// and the active ones first. With `fits`, only those that suit a category and a language.
pub async fn of_account(
    db: &mut Connection,
    account: AccountId,
    retired: bool,
    fits: Option<(CategoryId, Locale)>,
) -> Result<Vec<CannedAnswer>, DbError> {
    let own = canned_answers::account_id.assume_not_null().eq(account.0);
    let visible = canned_answers::account_id.is_null().or(own);
    let mut query = canned_answers::table.filter(visible).into_boxed();
    if !retired {
        query = query.filter(canned_answers::retired_at.is_null());
    }
    if let Some((CategoryId(category), locale)) = fits {
        let same = canned_answers::category_id.assume_not_null().eq(category);
        query = query.filter(canned_answers::category_id.is_null().or(same));
        let same = canned_answers::locale.assume_not_null().eq(locale);
        query = query.filter(canned_answers::locale.is_null().or(same));
    }
    let rows = query
        .order(sql::<Bool>("account_id IS NOT NULL, retired_at IS NOT NULL, position, id"))
        .select(CannedAnswerRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(CannedAnswer::from).collect())
}

/// Returns the canned answers with these ids, in no particular order. Unknown ids are skipped.
pub async fn by_ids(
    db: &mut Connection,
    ids: &[CannedAnswerId],
) -> Result<Vec<CannedAnswer>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let rows = canned_answers::table
        .filter(canned_answers::id.eq_any(ids))
        .select(CannedAnswerRow::as_select())
        .load(db)
        .await?;
    Ok(rows.into_iter().map(CannedAnswer::from).collect())
}

/// Returns the texts of the canned answers with these ids that are shared or an account's own, in no
/// particular order.
pub async fn bodies(
    db: &mut Connection,
    account: AccountId,
    ids: &[CannedAnswerId],
) -> Result<Vec<(CannedAnswerId, String)>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let own = canned_answers::account_id.assume_not_null().eq(account.0);
    let rows = canned_answers::table
        .filter(canned_answers::id.eq_any(ids))
        .filter(canned_answers::account_id.is_null().or(own))
        .select((canned_answers::id, canned_answers::body))
        .load::<(Uuid, LongText)>(db)
        .await?;
    Ok(rows.into_iter().map(|(id, body)| (CannedAnswerId(id), body.0)).collect())
}

/// Inserts a canned answer with its text, after all others of its list.
pub async fn insert(db: &mut Connection, answer: &CannedAnswer, body: &str) -> Result<(), DbError> {
    diesel::sql_query(
        "INSERT INTO canned_answers
             (id, account_id, title, body, category_id, locale, created_at, updated_at, position)
         SELECT $1, $2, $3, $4, $5, $6, $7, $7, coalesce(max(position), 0) + 1
         FROM canned_answers WHERE account_id IS NOT DISTINCT FROM $2",
    )
    .bind::<SqlUuid, _>(answer.id.0)
    .bind::<Nullable<SqlUuid>, _>(answer.owner.map(|id| id.0))
    .bind::<Text, _>(&answer.title)
    .bind::<Text, _>(body)
    .bind::<Nullable<SqlUuid>, _>(answer.category.map(|id| id.0))
    .bind::<Nullable<sql_types::Locale>, _>(answer.locale)
    .bind::<Timestamptz, _>(answer.created_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Updates a canned answer's title and what it fits, and its text unless `body` is `None`.
pub async fn update(
    db: &mut Connection,
    answer: &CannedAnswer,
    body: Option<&str>,
) -> Result<(), DbError> {
    diesel::update(canned_answers::table.find(answer.id.0))
        .set((
            canned_answers::title.eq(&answer.title),
            body.map(|body| canned_answers::body.eq(body)),
            canned_answers::category_id.eq(answer.category.map(|id| id.0)),
            canned_answers::locale.eq(answer.locale),
            canned_answers::updated_at.eq(answer.updated_at),
        ))
        .execute(db)
        .await?;
    Ok(())
}
