//! Comments and internal notes.

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Nullable, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError, prepared::Prepare as _, schema::comments, text::LongText, ticket,
};
use crate::domain::{
    clock::Timestamp,
    comment::{Comment, Visibility},
    ids::{AccountId, CommentId, TicketId},
    policy::TicketScope,
    unread::TicketReader,
};

/// The columns of a [`CommentRow`], of the comment `c`.
macro_rules! comment_columns {
    () => {
        "c.id, c.ticket_id, c.author_id, c.visibility, c.body, c.created_at, c.edited_at, c.redacted_at"
    };
}

#[derive(QueryableByName)]
#[diesel(table_name = comments)]
struct CommentRow {
    id: Uuid,
    ticket_id: Uuid,
    author_id: Uuid,
    visibility: Visibility,
    body: LongText,
    created_at: Timestamp,
    edited_at: Option<Timestamp>,
    redacted_at: Option<Timestamp>,
}

impl From<CommentRow> for Comment {
    fn from(row: CommentRow) -> Self {
        Self {
            id: CommentId(row.id),
            ticket_id: TicketId(row.ticket_id),
            author_id: AccountId(row.author_id),
            visibility: row.visibility,
            body: row.body.0,
            created_at: row.created_at,
            edited_at: row.edited_at,
            redacted_at: row.redacted_at,
        }
    }
}

#[derive(QueryableByName)]
struct PostedRow {
    #[diesel(embed)]
    comment: CommentRow,
    #[diesel(sql_type = SqlUuid)]
    reporter_id: Uuid,
    #[diesel(sql_type = Array<Nullable<SqlUuid>>)]
    participant_ids: Vec<Option<Uuid>>,
}

/// A comment, and those outside the staff who may see its ticket.
pub struct Posted {
    /// The comment.
    pub comment: Comment,
    /// The customer who opened the ticket.
    pub reporter: AccountId,
    /// Its participants.
    pub participants: Vec<AccountId>,
}

/// Returns the comments with these ids, in any order. Unknown ids are skipped.
pub async fn by_ids(db: &mut Connection, ids: &[CommentId]) -> Result<Vec<Posted>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    // The nested `unnest` hides the number of ids from the planner, so that one generic plan is
    // reused. The limits make that plan look up each id by index, even if the tables were small
    // when it was made.
    let rows = diesel::sql_query(concat!(
        "SELECT ",
        comment_columns!(),
        ", t.reporter_id, t.participant_ids
         FROM unnest(ARRAY(SELECT unnest($1))) AS requested (id)
         CROSS JOIN LATERAL (SELECT * FROM comments WHERE id = requested.id LIMIT 1) c
         CROSS JOIN LATERAL (
             SELECT reporter_id, participant_ids FROM tickets WHERE id = c.ticket_id LIMIT 1) t",
    ))
    .bind::<Array<SqlUuid>, _>(ids)
    .prepared()
    .load::<PostedRow>(db)
    .await?;
    let found = rows.into_iter().map(|row| Posted {
        comment: row.comment.into(),
        reporter: AccountId(row.reporter_id),
        participants: ticket::accounts(row.participant_ids),
    });
    Ok(found.collect())
}

/// Returns the comments of events, in any order. Unknown ids are skipped.
pub async fn of_events(db: &mut Connection, ids: &[CommentId]) -> Result<Vec<Comment>, DbError> {
    let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
    // As in `by_ids`, each comment is looked up by index.
    let rows = diesel::sql_query(concat!(
        "SELECT ",
        comment_columns!(),
        "
         FROM unnest(ARRAY(SELECT unnest($1))) AS requested (id)
         CROSS JOIN LATERAL (SELECT * FROM comments WHERE id = requested.id LIMIT 1) c",
    ))
    .bind::<Array<SqlUuid>, _>(ids)
    .prepared()
    .load::<CommentRow>(db)
    .await?;
    Ok(rows.into_iter().map(Comment::from).collect())
}

/// Returns the last comment of each of the tickets in scope, in the order of their events.
/// `internal` is whether internal notes count.
pub async fn last_of_tickets(
    db: &mut Connection,
    scope: TicketScope,
    internal: bool,
    ids: &[TicketId],
) -> Result<Vec<(TicketId, CommentId)>, DbError> {
    let visible = ticket::ids_in_scope(db, scope, ids).await?;
    let rows = diesel::sql_query(
        "SELECT t.id AS ticket_id, c.id
         FROM unnest(ARRAY(SELECT unnest($1))) AS t (id)
         CROSS JOIN LATERAL (
             SELECT (data ->> 'comment_id')::uuid AS id FROM events
             WHERE ticket_id = t.id AND kind = 'comment_added'
               AND ($2 OR audience = 'participants')
             ORDER BY seq DESC LIMIT 1) c",
    )
    .bind::<Array<SqlUuid>, _>(visible)
    .bind::<Bool, _>(internal)
    .prepared()
    .load::<LastRow>(db)
    .await?;
    Ok(rows.into_iter().map(|row| (TicketId(row.ticket_id), CommentId(row.id))).collect())
}

/// Returns the first `limit` comments on a ticket that others than the reader have added after an
/// event, in order, without those that the reader may not see.
pub async fn of_others_since(
    db: &mut Connection,
    ticket: TicketId,
    seq: i64,
    reader: TicketReader,
    limit: i64,
) -> Result<Vec<Comment>, DbError> {
    let rows = diesel::sql_query(concat!(
        "SELECT ",
        comment_columns!(),
        "
         FROM (SELECT (data ->> 'comment_id')::uuid AS id, seq FROM events
               WHERE ticket_id = $1 AND seq > $2 AND kind = 'comment_added'
                 AND actor_id IS DISTINCT FROM $3 AND ($4 OR audience = 'participants')
               ORDER BY seq LIMIT $5) e
         CROSS JOIN LATERAL (SELECT * FROM comments WHERE id = e.id LIMIT 1) c
         ORDER BY e.seq",
    ))
    .bind::<SqlUuid, _>(ticket.0)
    .bind::<BigInt, _>(seq)
    .bind::<SqlUuid, _>(reader.account.0)
    .bind::<Bool, _>(reader.is_staff)
    .bind::<BigInt, _>(limit)
    .prepared()
    .load::<CommentRow>(db)
    .await?;
    Ok(rows.into_iter().map(Comment::from).collect())
}

#[derive(QueryableByName)]
struct LastRow {
    #[diesel(sql_type = SqlUuid)]
    ticket_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Replaces the text of a comment by that of its author.
pub async fn edit(
    db: &mut Connection,
    id: CommentId,
    body: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::update(comments::table.find(id.0))
        .set((comments::body.eq(body), comments::edited_at.eq(now)))
        .execute(db)
        .await?;
    Ok(())
}

/// Erases the text of a comment. Returns `false` if that was done before.
pub async fn redact(db: &mut Connection, id: CommentId, now: Timestamp) -> Result<bool, DbError> {
    let redacted = diesel::update(comments::table.find(id.0))
        .filter(comments::redacted_at.is_null())
        .set((comments::body.eq(""), comments::redacted_at.eq(now)))
        .execute(db)
        .await?;
    Ok(redacted == 1)
}
