//! Attachments: files come in before the ticket or comment that they are for, and are tied
//! to it in its own transaction. What is never tied is deleted after a day.

use axum::body::Bytes;
use chrono::TimeDelta;
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use sha2::{Digest as _, Sha256};

use super::{ServiceError, Services, UserError, UserErrorCode, authorise, error::Review};
use crate::{
    crypto::signing,
    db::{
        Connection,
        attachment::{self as attachments, Found, Requested},
        session,
    },
    domain::{
        actor::Actor,
        attachment::{Attachment, Content, FileName, HEAD, Limits, Link, media_type},
        ids::{AccountId, AttachmentId, CommentId, TicketId},
        policy::{self, Action, Resource},
    },
    storage::{Storage, StorageError, UploadWriter},
};

/// How long a link to an attachment can be followed.
const LINK_LIFETIME: TimeDelta = TimeDelta::minutes(10);
const FIELD: &str = "attachments";
/// So many files of one person are kept unused, so that nobody fills the disk or the memory
/// with them.
const MAX_UNUSED: i64 = 50;

/// A file that was uploaded, or was not taken.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The id that it has, or would have had.
    pub id: AttachmentId,
    /// What it holds, or what its sender can mend.
    pub outcome: Result<(FileName, Content), UserError>,
}

/// Why a file could not be received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError<E> {
    /// Its sender broke off.
    #[error("the upload broke off")]
    Sender(E),
    /// It can't be kept.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl<E> From<StorageError> for ReceiveError<E> {
    fn from(error: StorageError) -> Self {
        Self::Service(error.into())
    }
}

/// The files of one request, as they come in.
pub struct Reception {
    services: Services,
    storage: Option<Storage>,
    uploader: AccountId,
    /// So many bytes may still come.
    left: u64,
}

impl Reception {
    /// Begins to take files, before any of their bytes is read.
    ///
    /// # Errors
    /// Nobody is signed in.
    pub fn open(actor: &Actor, services: &Services) -> Result<Self, ServiceError> {
        authorise(actor, Action::CreateTicket, Resource::Desk)?;
        let uploader = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
        let left = limits(services).max_total_bytes;
        Ok(Self { services: services.clone(), storage: services.storage.clone(), uploader, left })
    }

    /// What is wrong with receiving so many files.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refuse(&self, files: usize) -> Result<Option<UserError>, ServiceError> {
        if let Some(error) = self.refuse_number(files) {
            return Ok(Some(error));
        }
        let mut connection = self.services.database.read().await?;
        let unused = attachments::count_unused(&mut connection, self.uploader).await?;
        let files = i64::try_from(files).unwrap_or(i64::MAX);
        Ok((unused.saturating_add(files) > MAX_UNUSED).then(|| {
            let message = format!(
                "At most {MAX_UNUSED} files can be on their way or wait unused: those of requests \
                 that failed count for a day. Send this without files, or wait."
            );
            error(UserErrorCode::TooMany, message)
        }))
    }

    fn refuse_number(&self, files: usize) -> Option<UserError> {
        if self.storage.is_none() {
            return Some(error(
                UserErrorCode::NotAvailable,
                "This installation takes no attachments. Send it without them, and ask its \
                 operator to set storage.folder or storage.s3.",
            ));
        }
        let max = limits(&self.services).max_files;
        (files > max).then(|| {
            let message =
                format!("At most {max} files can be attached at once; these are {files}.");
            error(UserErrorCode::TooMany, message)
        })
    }

    /// Keeps a file's bytes while they come. A file that is empty or too large is given
    /// back as such, and the rest of it is not read.
    ///
    /// # Errors
    /// The sender broke off; the storage or the database failed.
    pub async fn receive<E>(
        &mut self,
        id: AttachmentId,
        name: &str,
        mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Upload, ReceiveError<E>> {
        let storage = self.storage.clone().ok_or(ServiceError::NotFound)?;
        let name = FileName::sanitize(name);
        let now = self.services.ambient.now();
        // Its row first: by it the bytes are found, whatever happens to this process.
        let mut connection = self.services.database.read().await.map_err(ServiceError::from)?;
        attachments::begin(&mut connection, id, self.uploader, &name, now)
            .await
            .map_err(ServiceError::from)?;
        drop(connection);
        let mut writing = storage.begin(id).await?;
        match self.pass_on(&name, &mut writing, &mut chunks).await {
            Ok(Ok(content)) => {
                writing.finish().await?;
                let mut connection =
                    self.services.database.read().await.map_err(ServiceError::from)?;
                attachments::complete(&mut connection, id, &content)
                    .await
                    .map_err(ServiceError::from)?;
                Ok(Upload { id, outcome: Ok((name, content)) })
            }
            Ok(Err(refused)) => {
                abandon(writing).await;
                Ok(Upload { id, outcome: Err(refused) })
            }
            Err(failed) => {
                abandon(writing).await;
                Err(failed)
            }
        }
    }

    async fn pass_on<E>(
        &mut self,
        name: &FileName,
        writing: &mut UploadWriter,
        chunks: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Result<Result<Content, UserError>, ReceiveError<E>> {
        let Limits { max_file_bytes, max_total_bytes, .. } = limits(&self.services);
        let (mut size, mut hash, mut head) = (0_u64, Sha256::new(), Vec::new());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(ReceiveError::Sender)?;
            let length = chunk.len() as u64;
            size += length;
            if size > max_file_bytes {
                let message = format!(
                    "`{}` is larger than {max_file_bytes} bytes, which is the most that a file may \
                     have. Attach a smaller one.",
                    name.as_str()
                );
                return Ok(Err(error(UserErrorCode::TooLarge, message)));
            }
            let Some(left) = self.left.checked_sub(length) else {
                let message = format!(
                    "The files are larger than {max_total_bytes} bytes together. Attach fewer, or \
                     spread them over several comments."
                );
                return Ok(Err(error(UserErrorCode::TooLarge, message)));
            };
            self.left = left;
            hash.update(&chunk);
            head.extend_from_slice(&chunk[..chunk.len().min(HEAD - head.len())]);
            writing.write(chunk).await?;
        }
        if size == 0 {
            let message =
                format!("`{}` is empty. Attach a file that has a content.", name.as_str());
            return Ok(Err(error(UserErrorCode::Required, message)));
        }
        let media_type = media_type(&head).to_owned();
        Ok(Ok(Content { size, media_type, sha256: hash.finalize().into() }))
    }
}

fn limits(services: &Services) -> Limits {
    services.settings.attachments
}

async fn abandon(writing: UploadWriter) {
    if let Err(error) = writing.abandon().await {
        tracing::warn!(%error, "an upload that broke off is left to be deleted later");
    }
}

fn error(code: UserErrorCode, message: impl Into<String>) -> UserError {
    UserError::new(FIELD, code, message)
}

/// Notes what is wrong with the files of an input.
pub(super) fn review(review: &mut Review, uploads: &[Upload]) {
    let mut errors = uploads.iter().filter_map(|upload| upload.outcome.as_ref().err());
    if let Some(first) = errors.next() {
        review.note(first.clone());
    }
}

/// What tells an input's files from another's.
pub(super) fn fingerprints(uploads: &[Upload]) -> Vec<String> {
    let files = uploads.iter().filter_map(|upload| upload.outcome.as_ref().ok());
    files.map(|(name, content)| format!("{:?} {}", content.sha256, name.as_str())).collect()
}

/// Ties uploaded files to a ticket's description or a comment on it, in its transaction.
///
/// # Errors
/// One of them was tied before, or was deleted.
pub(super) async fn tie(
    db: &mut Connection,
    uploader: AccountId,
    uploads: &[Upload],
    ticket: TicketId,
    comment: Option<CommentId>,
) -> Result<(), ServiceError> {
    for (position, upload) in (0_i16..).zip(uploads) {
        if !attachments::attach(db, uploader, upload.id, position, (ticket, comment)).await? {
            let message = "A file was used for something else, or was deleted. Upload it again.";
            return Err(error(UserErrorCode::Expired, message).into());
        }
    }
    Ok(())
}

/// The attachments of some ids that the actor may see, in no order.
///
/// # Errors
/// Nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[AttachmentId],
) -> Result<Vec<Attachment>, ServiceError> {
    visible(actor, services, Requested::Ids(ids)).await
}

/// The attachments of some tickets' descriptions that the actor may see, those of each in
/// their order.
///
/// # Errors
/// Nobody is signed in.
pub async fn of_tickets(
    actor: &Actor,
    services: &Services,
    ids: &[TicketId],
) -> Result<Vec<Attachment>, ServiceError> {
    visible(actor, services, Requested::OfTickets(ids)).await
}

/// The attachments of some comments that the actor may see, those of each in their order.
///
/// # Errors
/// Nobody is signed in.
pub async fn of_comments(
    actor: &Actor,
    services: &Services,
    ids: &[CommentId],
) -> Result<Vec<Attachment>, ServiceError> {
    visible(actor, services, Requested::OfComments(ids)).await
}

async fn visible(
    actor: &Actor,
    services: &Services,
    requested: Requested<'_>,
) -> Result<Vec<Attachment>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let found = attachments::find(&mut *services.database.read().await?, requested).await?;
    let visible = found.into_iter().filter(|found| {
        let Found { reporter, participants, visibility, .. } = found;
        let ticket = Resource::Ticket { reporter: *reporter, participants };
        authorise(actor, Action::ViewTicket, ticket).is_ok()
            && visibility.is_none_or(|visibility| policy::sees_comment(actor, visibility))
    });
    Ok(visible.map(|found| found.attachment).collect())
}

/// A link that the actor alone may follow, for a short time.
///
/// # Errors
/// Nobody is signed in.
pub fn link(actor: &Actor, services: &Services, id: AttachmentId) -> Result<String, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    let identity = actor.identity().ok_or(ServiceError::Unauthenticated)?;
    let link = Link {
        attachment: id,
        account: identity.id,
        session: identity.session,
        expires_at: services.ambient.now() + LINK_LIFETIME,
    };
    let base = services.settings.base_url.as_deref().unwrap_or_default().trim_end_matches('/');
    Ok(format!("{base}/attachments/{}", signing::sign_link(&services.keys, &link)))
}

/// What a link leads to, if whoever it was given to may still see it.
///
/// # Errors
/// `Unauthenticated`: it has expired, or the session that it was given to has ended;
/// `NotFound`: it was not signed here, or its holder may not see the attachment.
pub async fn follow(services: &Services, token: &str) -> Result<Attachment, ServiceError> {
    let link = signing::verify_link(&services.keys, token).ok_or(ServiceError::NotFound)?;
    let now = services.ambient.now();
    if link.expires_at <= now {
        return Err(ServiceError::Unauthenticated);
    }
    let mut connection = services.database.read().await?;
    let live = session::live_by_id(&mut connection, link.session, now).await?;
    drop(connection);
    let identity = live.map(|live| live.identity).filter(|who| who.id == link.account);
    let actor = Actor::Account(identity.ok_or(ServiceError::Unauthenticated)?);
    let found = by_ids(&actor, services, &[link.attachment]).await?;
    found.into_iter().next().ok_or(ServiceError::NotFound)
}

/// A range of the bytes of an attachment that was [followed](follow).
///
/// # Errors
/// The storage failed.
pub async fn read(
    services: &Services,
    attachment: &Attachment,
    range: std::ops::Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, ServiceError> {
    let storage = services.storage.as_ref().ok_or(ServiceError::NotFound)?;
    let bytes = storage.read(attachment.id, range).await?;
    Ok(bytes.map(|chunk| chunk.map_err(StorageError::from)).boxed())
}

/// Deletes what was uploaded and never used. Safe on many nodes: the database lets a file
/// be condemned or tied, and never both.
///
/// # Errors
/// The database failed, or the storage did for some of the files: these are tried again.
pub async fn clean(services: &Services) -> Result<(), ServiceError> {
    let Some(storage) = &services.storage else { return Ok(()) };
    let mut failed = None;
    loop {
        let now = services.ambient.now();
        let condemned =
            attachments::mark_for_deletion(&mut *services.database.read().await?, now).await?;
        if condemned.is_empty() {
            return failed.map_or(Ok(()), Err);
        }
        for id in condemned {
            // Its row goes last: until then it is tried again.
            match storage.delete(id).await {
                Ok(()) => attachments::delete(&mut *services.database.read().await?, id).await?,
                Err(error) => failed = Some(error.into()),
            }
        }
    }
}
