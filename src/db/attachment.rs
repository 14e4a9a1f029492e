//! Attachments: what is on its way, what is tied, what is to be deleted.

use chrono::TimeDelta;
use diesel::{prelude::*, sql_query, sql_types::Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{attachments, comments, tickets},
    ticket,
};
use crate::domain::{
    attachment::{Attachment, Content, FileName},
    clock::Timestamp,
    comment::Visibility,
    ids::{AccountId, AttachmentId, CommentId, TicketId},
};

/// What was never tied is kept for so long.
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// A node that was to delete bytes and has not done so in this time has been stopped.
const DELETED_WITHIN: TimeDelta = TimeDelta::minutes(10);
/// A hundred at once.
const CONDEMN: &str = "
    UPDATE attachments SET condemned_at = $1
    WHERE ticket_id IS NULL AND id IN (
        SELECT id FROM attachments
        WHERE ticket_id IS NULL AND created_at <= $2
            AND (condemned_at IS NULL OR condemned_at <= $3)
        ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED)
    RETURNING id";

#[derive(QueryableByName)]
struct Condemned {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
}

/// An attachment with what decides who may see it.
pub struct Found {
    /// The attachment.
    pub attachment: Attachment,
    /// Its ticket's reporter.
    pub reporter: AccountId,
    /// Its ticket's participants.
    pub participants: Vec<AccountId>,
    /// Who may read the comment that it is on; `None`: it is on the description.
    pub visibility: Option<Visibility>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = attachments)]
struct AttachmentRow {
    id: Uuid,
    ticket_id: Option<Uuid>,
    comment_id: Option<Uuid>,
    name: String,
    size: Option<i64>,
    content_type: Option<String>,
    sha256: Option<Vec<u8>>,
    created_at: Timestamp,
}

impl AttachmentRow {
    fn read(self) -> Option<Attachment> {
        Some(Attachment {
            id: AttachmentId(self.id),
            ticket_id: TicketId(self.ticket_id?),
            comment_id: self.comment_id.map(CommentId),
            name: FileName::from_stored(self.name),
            content: Content {
                size: self.size?.try_into().ok()?,
                media_type: self.content_type?,
                sha256: self.sha256?.try_into().ok()?,
            },
            created_at: self.created_at,
        })
    }
}

/// By what attachments are looked for.
pub enum Requested<'i> {
    /// Themselves.
    Ids(&'i [AttachmentId]),
    /// Those of some tickets' descriptions.
    OfTickets(&'i [TicketId]),
    /// Those of some comments.
    OfComments(&'i [CommentId]),
}

/// Tied attachments, in the order in which they came with what they are tied to.
pub async fn find(db: &mut Connection, requested: Requested<'_>) -> Result<Vec<Found>, DbError> {
    let query = attachments::table
        .inner_join(tickets::table)
        .left_join(comments::table)
        .order(attachments::position)
        .select((
            AttachmentRow::as_select(),
            tickets::reporter_id,
            tickets::participant_ids,
            comments::visibility.nullable(),
        ))
        .into_boxed();
    let query = match requested {
        Requested::Ids(ids) => {
            query.filter(attachments::id.eq_any(ids.iter().map(|id| id.0).collect::<Vec<_>>()))
        }
        Requested::OfTickets(ids) => query
            .filter(attachments::comment_id.is_null())
            .filter(attachments::ticket_id.eq_any(ids.iter().map(|id| id.0).collect::<Vec<_>>())),
        Requested::OfComments(ids) => query
            .filter(attachments::comment_id.eq_any(ids.iter().map(|id| id.0).collect::<Vec<_>>())),
    };
    let rows =
        query.load::<(AttachmentRow, Uuid, Vec<Option<Uuid>>, Option<Visibility>)>(db).await?;
    let found = rows.into_iter().filter_map(|(row, reporter, participants, visibility)| {
        Some(Found {
            attachment: row.read()?,
            reporter: AccountId(reporter),
            participants: ticket::accounts(participants),
            visibility,
        })
    });
    Ok(found.collect())
}

/// How many files of somebody are on their way, or were never used and are not deleted yet.
pub async fn count_unused(db: &mut Connection, uploader: AccountId) -> Result<i64, DbError> {
    let unused = attachments::table
        .filter(attachments::uploader_id.eq(uploader.0))
        .filter(attachments::ticket_id.is_null());
    Ok(unused.count().get_result(db).await?)
}

/// Notes a file whose bytes are about to come.
pub async fn begin(
    db: &mut Connection,
    id: AttachmentId,
    uploader: AccountId,
    name: &FileName,
    now: Timestamp,
) -> Result<(), DbError> {
    diesel::insert_into(attachments::table)
        .values((
            attachments::id.eq(id.0),
            attachments::uploader_id.eq(uploader.0),
            attachments::name.eq(name.as_str()),
            attachments::created_at.eq(now),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Notes that a file's bytes are stored.
pub async fn complete(
    db: &mut Connection,
    id: AttachmentId,
    content: &Content,
) -> Result<(), DbError> {
    let size = i64::try_from(content.size).map_err(|error| DbError::Value(error.to_string()))?;
    diesel::update(attachments::table.find(id.0))
        .set((
            attachments::size.eq(size),
            attachments::content_type.eq(&content.media_type),
            attachments::sha256.eq(content.sha256.as_slice()),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Ties an uploaded file to a ticket's description or a comment on it; `false` where it is
/// another's, was tied before, or is being deleted.
pub async fn attach(
    db: &mut Connection,
    uploader: AccountId,
    id: AttachmentId,
    position: i16,
    to: (TicketId, Option<CommentId>),
) -> Result<bool, DbError> {
    let tied = diesel::update(attachments::table.find(id.0))
        .filter(attachments::uploader_id.eq(uploader.0))
        .filter(attachments::ticket_id.is_null())
        .filter(attachments::condemned_at.is_null())
        .filter(attachments::size.is_not_null())
        .set((
            attachments::ticket_id.eq(to.0.0),
            attachments::comment_id.eq(to.1.map(|id| id.0)),
            attachments::position.eq(position),
        ))
        .execute(db)
        .await?;
    Ok(tied == 1)
}

/// Condemns some of the files that were never tied: from then on they can't be. Those that
/// another node is at are passed over.
pub async fn mark_for_deletion(
    db: &mut Connection,
    now: Timestamp,
) -> Result<Vec<AttachmentId>, DbError> {
    let condemned = sql_query(CONDEMN)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(now - KEPT_FOR)
        .bind::<Timestamptz, _>(now - DELETED_WITHIN)
        .load::<Condemned>(db)
        .await?;
    Ok(condemned.into_iter().map(|row| AttachmentId(row.id)).collect())
}

/// Forgets a condemned file whose bytes are gone.
pub async fn delete(db: &mut Connection, id: AttachmentId) -> Result<(), DbError> {
    diesel::delete(attachments::table.find(id.0))
        .filter(attachments::condemned_at.is_not_null())
        .execute(db)
        .await?;
    Ok(())
}
