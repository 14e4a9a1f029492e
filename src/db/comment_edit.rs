//! The texts that comments had before their authors edited them.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Connection, DbError, schema::comment_edits as edits, text::LongText};
use crate::domain::{
    clock::Timestamp,
    comment::{Comment, EarlierBody},
    ids::CommentId,
};

/// Stores the current text of a comment as its `number`th, before another one replaces it.
pub async fn insert(
    db: &mut Connection,
    comment: &Comment,
    number: i16,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::insert_into(edits::table)
        .values((
            edits::comment_id.eq(comment.id.0),
            edits::number.eq(number),
            edits::body.eq(&comment.body),
            edits::replaced_at.eq(now),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns how often a comment was edited.
pub async fn count(db: &mut Connection, id: CommentId) -> Result<i64, DbError> {
    Ok(edits::table.filter(edits::comment_id.eq(id.0)).count().get_result(db).await?)
}

/// Returns the earlier texts of comments, those of the same comment in their order.
pub async fn of_comments(
    db: &mut Connection,
    ids: &[CommentId],
) -> Result<Vec<EarlierBody>, DbError> {
    let rows = edits::table
        .filter(edits::comment_id.eq_any(ids.iter().map(|id| id.0)))
        .order((edits::comment_id, edits::number))
        .select((edits::comment_id, edits::body, edits::replaced_at))
        .load::<(Uuid, LongText, Timestamp)>(db)
        .await?;
    let earlier = rows.into_iter().map(|(comment, body, replaced_at)| EarlierBody {
        comment_id: CommentId(comment),
        body: body.0,
        replaced_at,
    });
    Ok(earlier.collect())
}

/// Deletes the earlier texts of a comment.
pub async fn delete(db: &mut Connection, id: CommentId) -> Result<(), DbError> {
    diesel::delete(edits::table.filter(edits::comment_id.eq(id.0))).execute(db).await?;
    Ok(())
}
