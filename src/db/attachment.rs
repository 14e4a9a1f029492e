//! Attachments: files being uploaded, attached files, and unused files to delete.

use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_query,
    sql_types::{self, Array, BigInt, Timestamptz},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Connection, DbError,
    schema::{attachments, comments, redacted_attachments, tickets},
    ticket,
};
use crate::domain::{
    attachment::{Attachment, Content, FileName},
    clock::Timestamp,
    comment::Visibility,
    ids::{AccountId, AttachmentId, CommentId, TicketId},
};

/// How long an unused file is stored.
const UNUSED_RETENTION: TimeDelta = TimeDelta::hours(24);
/// How long an unused file is stored that was uploaded in a request of its own.
pub const KEPT_RETENTION: TimeDelta = TimeDelta::days(7);
/// How long a node has to delete the bytes of a file. After that, another node may try.
const DELETION_TIMEOUT: TimeDelta = TimeDelta::minutes(10);
const MARK_FOR_DELETION: &str = "
    UPDATE attachments SET condemned_at = $1
    WHERE ticket_id IS NULL AND id IN (
        SELECT id FROM attachments
        WHERE ticket_id IS NULL
            AND (condemned_at <= $3 OR (condemned_at IS NULL
                AND created_at <= CASE WHEN is_kept THEN $4 ELSE $2 END))
        ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED)
    RETURNING id";

/// Inserts the rows of files if the account has no more than $4 unused files with them. Call it
/// with the account's lock, without which two uploads would not see each other's files.
const RESERVE: &str = "
    INSERT INTO attachments (id, uploader_id, name, created_at)
    SELECT id, $2, 'file', $3 FROM unnest($1) AS id
    WHERE cardinality($1) + (SELECT count(*) FROM attachments
        WHERE uploader_id = $2 AND ticket_id IS NULL AND NOT is_kept) <= $4";
/// Keeps files if the account has no more than $3 kept and unused files with them. Call it with the
/// account's lock.
const KEEP: &str = "
    UPDATE attachments SET is_kept = true
    WHERE id = ANY ($1) AND uploader_id = $2 AND size IS NOT NULL
        AND condemned_at IS NULL
        AND cardinality($1) + (SELECT count(*) FROM attachments
            WHERE uploader_id = $2 AND ticket_id IS NULL AND is_kept) <= $3";
const LOCK_UPLOADER: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('attachments of ' || $1::text, 0))";

#[derive(QueryableByName)]
struct MarkedRow {
    #[diesel(sql_type = sql_types::Uuid)]
    id: Uuid,
}

/// An attachment, and the facts that decide who may see it.
pub struct Found {
    /// The attachment.
    pub attachment: Attachment,
    /// The customer who opened the ticket.
    pub reporter: AccountId,
    /// The participants of the ticket.
    pub participants: Vec<AccountId>,
    /// The visibility of the comment, or `None` if the file is on the description.
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
    fn into_attachment(self) -> Option<Attachment> {
        Some(Attachment {
            id: AttachmentId(self.id),
            ticket_id: TicketId(self.ticket_id?),
            comment_id: self.comment_id.map(CommentId),
            content: self.content()?,
            name: FileName::from_stored(self.name),
            created_at: self.created_at,
        })
    }

    /// Returns the content, or `None` if the bytes are not stored yet.
    fn content(&self) -> Option<Content> {
        Some(Content {
            size: self.size?.try_into().ok()?,
            media_type: self.content_type.clone()?,
            sha256: self.sha256.clone()?.try_into().ok()?,
        })
    }
}

/// The attachments to find.
pub enum Requested<'i> {
    /// The attachments with these ids.
    Ids(&'i [AttachmentId]),
    /// The attachments of the descriptions of these tickets.
    OfTickets(&'i [TicketId]),
    /// The attachments of these comments.
    OfComments(&'i [CommentId]),
}

/// Returns attachments. Those of the same description or comment are in the order in which they
/// were attached.
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
            attachment: row.into_attachment()?,
            reporter: AccountId(reporter),
            participants: ticket::accounts(participants),
            visibility,
        })
    });
    Ok(found.collect())
}

/// Inserts the rows of files that an account is about to upload. Returns `false` and inserts
/// nothing if it would have more than `max` unused files, those of other uploads included. Call it
/// in a transaction: the account's other uploads wait until it ends.
pub async fn reserve(
    db: &mut Connection,
    uploader: AccountId,
    files: &[AttachmentId],
    max: u32,
    now: Timestamp,
) -> Result<bool, DbError> {
    sql_query(LOCK_UPLOADER).bind::<sql_types::Uuid, _>(uploader.0).execute(db).await?;
    let inserted = sql_query(RESERVE)
        .bind::<Array<sql_types::Uuid>, _>(ids(files))
        .bind::<sql_types::Uuid, _>(uploader.0)
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(i64::from(max))
        .execute(db)
        .await?;
    Ok(inserted == files.len())
}

/// Keeps files of an account after the request that has uploaded them. Returns `false` if the
/// account would have more than `max` such files. Call it in a transaction: the account's other
/// uploads wait until it ends.
pub async fn keep(
    db: &mut Connection,
    uploader: AccountId,
    files: &[AttachmentId],
    max: u32,
) -> Result<bool, DbError> {
    sql_query(LOCK_UPLOADER).bind::<sql_types::Uuid, _>(uploader.0).execute(db).await?;
    let kept = sql_query(KEEP)
        .bind::<Array<sql_types::Uuid>, _>(ids(files))
        .bind::<sql_types::Uuid, _>(uploader.0)
        .bind::<BigInt, _>(i64::from(max))
        .execute(db)
        .await?;
    Ok(kept == files.len())
}

/// Returns those of these files that an account has uploaded in requests of their own, attached or
/// not, in any order.
pub async fn kept(
    db: &mut Connection,
    uploader: AccountId,
    files: &[AttachmentId],
) -> Result<Vec<(AttachmentId, FileName, Content)>, DbError> {
    let rows = attachments::table
        .filter(attachments::id.eq_any(ids(files)))
        .filter(attachments::uploader_id.eq(uploader.0))
        .filter(attachments::is_kept)
        .filter(attachments::condemned_at.is_null())
        .select(AttachmentRow::as_select())
        .load(db)
        .await?;
    let file = |row: AttachmentRow| {
        let (id, name) = (AttachmentId(row.id), FileName::from_stored(row.name.clone()));
        Some((id, name, row.content()?))
    };
    Ok(rows.into_iter().filter_map(file).collect())
}

/// Marks a kept and unused file of an account for deletion. Returns `false` if there is none with
/// this id.
pub async fn discard(
    db: &mut Connection,
    uploader: AccountId,
    id: AttachmentId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let marked = diesel::update(attachments::table.find(id.0))
        .filter(attachments::uploader_id.eq(uploader.0))
        .filter(attachments::ticket_id.is_null())
        .filter(attachments::is_kept)
        .set(attachments::condemned_at.eq(now))
        .execute(db)
        .await?;
    Ok(marked == 1)
}

fn ids(files: &[AttachmentId]) -> Vec<Uuid> {
    files.iter().map(|id| id.0).collect()
}

/// Records the name of a file, and that its bytes are stored.
pub async fn complete(
    db: &mut Connection,
    id: AttachmentId,
    name: &FileName,
    content: &Content,
) -> Result<(), DbError> {
    let size = i64::try_from(content.size).map_err(|error| DbError::Value(error.to_string()))?;
    diesel::update(attachments::table.find(id.0))
        .set((
            attachments::name.eq(name.as_str()),
            attachments::size.eq(size),
            attachments::content_type.eq(&content.media_type),
            attachments::sha256.eq(content.sha256.as_slice()),
        ))
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the ids of the newest files that are attached, ten at most.
pub async fn newest(db: &mut Connection) -> Result<Vec<AttachmentId>, DbError> {
    let ids = attachments::table
        .filter(attachments::ticket_id.is_not_null())
        .filter(attachments::size.is_not_null())
        .order(attachments::id.desc())
        .limit(10)
        .select(attachments::id)
        .load::<Uuid>(db)
        .await?;
    Ok(ids.into_iter().map(AttachmentId).collect())
}

/// Locks files until the transaction ends.
pub async fn lock(db: &mut Connection, files: &[AttachmentId]) -> Result<(), DbError> {
    attachments::table
        .filter(attachments::id.eq_any(ids(files)))
        .order(attachments::id)
        .for_no_key_update()
        .select(attachments::id)
        .load::<Uuid>(db)
        .await?;
    Ok(())
}

/// Attaches an uploaded file to a ticket's description or to a comment. Returns `false` if the
/// file belongs to another account, is already attached, or is being deleted.
pub async fn attach(
    db: &mut Connection,
    uploader: AccountId,
    id: AttachmentId,
    position: i16,
    to: (TicketId, Option<CommentId>),
) -> Result<bool, DbError> {
    let attached = diesel::update(attachments::table.find(id.0))
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
    Ok(attached == 1)
}

/// Marks up to 100 unused files for deletion and returns them, together with those whose deletion
/// did not finish. They can no longer be attached.
/// Files that another node is marking or deleting are skipped.
pub async fn mark_for_deletion(
    db: &mut Connection,
    now: Timestamp,
) -> Result<Vec<AttachmentId>, DbError> {
    let marked = sql_query(MARK_FOR_DELETION)
        .bind::<Timestamptz, _>(now)
        .bind::<Timestamptz, _>(now - UNUSED_RETENTION)
        .bind::<Timestamptz, _>(now - DELETION_TIMEOUT)
        .bind::<Timestamptz, _>(now - KEPT_RETENTION)
        .load::<MarkedRow>(db)
        .await?;
    Ok(marked.into_iter().map(|row| AttachmentId(row.id)).collect())
}

/// Marks those of these files that are neither attached nor kept for deletion and returns them.
pub async fn mark_unattached(
    db: &mut Connection,
    files: &[AttachmentId],
    now: Timestamp,
) -> Result<Vec<AttachmentId>, DbError> {
    let marked = diesel::update(attachments::table)
        .filter(attachments::id.eq_any(ids(files)))
        .filter(attachments::ticket_id.is_null())
        .filter(attachments::is_kept.eq(false))
        .set(attachments::condemned_at.eq(now))
        .returning(attachments::id)
        .get_results::<Uuid>(db)
        .await?;
    Ok(marked.into_iter().map(AttachmentId).collect())
}

/// Detaches a file from its ticket, records that it was redacted and marks it for deletion. Returns
/// `false` if it is not attached to this ticket.
pub async fn redact(
    db: &mut Connection,
    id: AttachmentId,
    of: (TicketId, Option<CommentId>),
    now: Timestamp,
) -> Result<bool, DbError> {
    let detached = diesel::update(attachments::table.find(id.0))
        .filter(attachments::ticket_id.eq(of.0.0))
        .set((
            attachments::ticket_id.eq(None::<Uuid>),
            attachments::comment_id.eq(None::<Uuid>),
            attachments::name.eq("file"),
            attachments::condemned_at.eq(now),
        ))
        .execute(db)
        .await?;
    if detached == 0 {
        return Ok(false);
    }
    diesel::insert_into(redacted_attachments::table)
        .values((
            redacted_attachments::id.eq(id.0),
            redacted_attachments::ticket_id.eq(of.0.0),
            redacted_attachments::comment_id.eq(of.1.map(|id| id.0)),
            redacted_attachments::redacted_at.eq(now),
        ))
        .execute(db)
        .await?;
    Ok(true)
}

/// Returns the ticket of a redacted attachment.
pub async fn redacted_from(
    db: &mut Connection,
    id: AttachmentId,
) -> Result<Option<TicketId>, DbError> {
    let ticket = redacted_attachments::table.find(id.0).select(redacted_attachments::ticket_id);
    Ok(ticket.first::<Uuid>(db).await.optional()?.map(TicketId))
}

/// Deletes the row of a file that is marked for deletion, after its bytes were deleted.
pub async fn delete(db: &mut Connection, id: AttachmentId) -> Result<(), DbError> {
    diesel::delete(attachments::table.find(id.0))
        .filter(attachments::condemned_at.is_not_null())
        .execute(db)
        .await?;
    Ok(())
}
