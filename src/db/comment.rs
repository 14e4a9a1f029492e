//! Comments and internal notes.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{comments, tickets},
    ticket,
};
use crate::domain::{
    clock::Timestamp,
    comment::{Comment, Visibility},
    ids::{AccountId, CommentId, TicketId},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = comments)]
struct CommentRow {
    id: Uuid,
    ticket_id: Uuid,
    author_id: Uuid,
    visibility: Visibility,
    body: String,
    created_at: Timestamp,
}

impl From<CommentRow> for Comment {
    fn from(row: CommentRow) -> Self {
        Self {
            id: CommentId(row.id),
            ticket_id: TicketId(row.ticket_id),
            author_id: AccountId(row.author_id),
            visibility: row.visibility,
            body: row.body,
            created_at: row.created_at,
        }
    }
}

/// The comments of some ids, each with its ticket's reporter and participants, in no
/// order; unknown ids are left out.
pub async fn by_ids(
    db: &mut Connection,
    ids: &[CommentId],
) -> Result<Vec<(Comment, AccountId, Vec<AccountId>)>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let rows = comments::table
        .inner_join(tickets::table)
        .filter(comments::id.eq_any(ids))
        .select((CommentRow::as_select(), tickets::reporter_id, tickets::participant_ids))
        .load::<(CommentRow, Uuid, Vec<Option<Uuid>>)>(db)
        .await?;
    let found = rows.into_iter().map(|(row, reporter, participants)| {
        (row.into(), AccountId(reporter), ticket::accounts(participants))
    });
    Ok(found.collect())
}

/// Adds a comment.
pub async fn insert(db: &mut Connection, comment: &Comment) -> Result<(), DbError> {
    diesel::insert_into(comments::table)
        .values((
            comments::id.eq(comment.id.0),
            comments::ticket_id.eq(comment.ticket_id.0),
            comments::author_id.eq(comment.author_id.0),
            comments::visibility.eq(comment.visibility),
            comments::body.eq(&comment.body),
            comments::created_at.eq(comment.created_at),
        ))
        .execute(db)
        .await?;
    Ok(())
}
