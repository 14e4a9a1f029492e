//! Uploads: files are stored before the ticket or comment that they belong to, and attached to
//! it in its transaction. Files that a request did not use are deleted when it ends, and those that
//! a crash has left after a day. `uploaded_file.rs` keeps files for a later request.
//!
//! [`UploadReceiver::reserve`] counts the files of a request before any of them is read, so that
//! many requests at once cannot exceed the limit on unused files.

use axum::body::Bytes;
use chrono::TimeDelta;
use futures_util::{Stream, StreamExt as _};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise, rate_limit, validation::Validation,
};
use crate::{
    db::{Connection, DbError, attachment as attachments, installation},
    domain::{
        actor::Actor,
        attachment::{Content, FileName, Limits},
        budget::RequestBudget,
        ids::{AccountId, AttachmentId, CommentId, TicketId},
        media_type::TypeDetector,
        policy::{Action, Resource},
    },
    metrics::Limit,
    storage::{Storage, StorageError, UploadWriter},
};

const FIELD: &str = "attachments";

/// How many bytes of a request are received until the room is checked again. The uploads that a node
/// receives at the same time, 100 by default, fit into the GiB that they leave free.
const CHECKED_BYTES: u64 = 4 << 20;

/// An uploaded file, or one that was rejected.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The file's id, also if it was rejected.
    pub id: AttachmentId,
    /// The file's name and content, or the error if it was rejected.
    pub outcome: Result<(FileName, Content), UserError>,
}

/// Why receiving a file failed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError<E> {
    /// The client stopped sending.
    #[error("the upload was interrupted")]
    Sender(E),
    /// The file could not be stored.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl<E> From<StorageError> for ReceiveError<E> {
    fn from(error: StorageError) -> Self {
        Self::Service(error.into())
    }
}

impl<E> From<DbError> for ReceiveError<E> {
    fn from(error: DbError) -> Self {
        Self::Service(error.into())
    }
}

/// The files of one request. Those that are not attached to anything are deleted when it is
/// released or dropped: the request has failed, was a repetition, or its sender has hung up.
pub struct HeldFiles {
    services: Services,
    files: Mutex<Vec<AttachmentId>>,
}

impl HeldFiles {
    /// Deletes the files that are not attached to anything. Once begun, this runs to its end even
    /// if the caller hangs up.
    pub async fn release(&self) {
        let deletion = delete_unused(self.services.clone(), self.take());
        if let Err(error) = tokio::spawn(deletion).await {
            tracing::error!(%error, "deleting the files of a request failed");
        }
    }

    /// Leaves the files alone.
    pub(super) fn keep(&self) {
        self.take();
    }

    fn take(&self) -> Vec<AttachmentId> {
        std::mem::take(&mut *self.files.lock())
    }
}

impl Drop for HeldFiles {
    fn drop(&mut self) {
        let files = self.take();
        if let (false, Ok(runtime)) = (files.is_empty(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(delete_unused(self.services.clone(), files));
        }
    }
}

/// Deletes those of these files that are not attached to anything. What fails is deleted after a
/// day by [`delete_unattached`].
async fn delete_unused(services: Services, files: Vec<AttachmentId>) {
    let deleted = async {
        if files.is_empty() {
            return Ok(());
        }
        let now = services.ambient.now();
        let mut connection = services.database.read().await?;
        let marked = attachments::mark_unattached(&mut connection, &files, now).await?;
        drop(connection);
        delete_marked(&services, marked).await
    };
    if let Err(error) = deleted.await {
        tracing::warn!(%error, "deleting the unused files of a request failed");
    }
}

/// Receives the files of one request.
pub struct UploadReceiver {
    services: Services,
    storage: Option<Storage>,
    uploader: AccountId,
    /// Whether the bytes of the uploader are limited.
    is_customer: bool,
    /// How many more bytes the request may contain.
    remaining_bytes: u64,
    /// How many bytes were received since the room was last checked.
    unchecked_bytes: u64,
}

impl UploadReceiver {
    /// Creates a receiver. Call this before reading any file.
    ///
    /// # Errors
    /// Returns an error if nobody is signed in.
    pub fn new(actor: &Actor, services: &Services) -> Result<Self, ServiceError> {
        authorise(actor, Action::CreateTicket, Resource::Desk)?;
        let uploader = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
        Ok(Self {
            services: services.clone(),
            storage: services.storage.clone(),
            uploader,
            is_customer: !actor.is_staff(),
            remaining_bytes: services.file_limits().max_total_bytes,
            unchecked_bytes: 0,
        })
    }

    /// Counts the files with these ids towards the account's limit, before any of them is read.
    /// Returns the reason if they cannot be uploaded now.
    ///
    /// # Errors
    /// Returns an error if the database failed, or if the storage failed, is full or is not that of the
    /// installation.
    pub async fn reserve(
        &self,
        files: &[AttachmentId],
    ) -> Result<Result<HeldFiles, UserError>, ServiceError> {
        let Some(storage) = &self.storage else { return Ok(Err(not_available())) };
        if let Some(error) = self.check_file_count(files.len()) {
            return Ok(Err(error));
        }
        require_own(&self.services, storage).await?;
        storage.require_room().await?;
        let (max, now) = (self.services.settings.limits.unused_files, self.services.ambient.now());
        let uploader = self.uploader;
        let database = &self.services.database;
        let reserved = database
            .write_without_events(async |db| {
                attachments::reserve(db, uploader, files, max, now).await
            })
            .await?;
        if !reserved {
            self.services.metrics.refused(Limit::UnusedFiles);
            return Ok(Err(too_many_unused(max)));
        }
        let files = Mutex::new(files.to_vec());
        Ok(Ok(HeldFiles { services: self.services.clone(), files }))
    }

    fn check_file_count(&self, files: usize) -> Option<UserError> {
        let max = self.services.file_limits().max_files;
        (files > max).then(|| {
            let message =
                format!("At most {max} files can be attached at a time. These are {files}.");
            error(UserErrorCode::TooMany, message)
        })
    }

    /// Stores a file, which must be reserved, while it is received. A file that is empty or too
    /// large is rejected and the rest of it is not read. So is one with which a customer uploads too
    /// much at once.
    ///
    /// # Errors
    /// Returns an error if the client stopped sending, the storage failed or is full, or the database
    /// failed.
    pub async fn receive<E>(
        &mut self,
        id: AttachmentId,
        name: &str,
        mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Upload, ReceiveError<E>> {
        let storage = self.storage.clone().ok_or(ServiceError::NotFound)?;
        let name = FileName::sanitize(name);
        let mut writing = storage.begin(id).await?;
        let received = match self.write_chunks(&storage, &name, &mut writing, &mut chunks).await {
            Ok(Ok(content)) => self.count(content).await.map_err(ReceiveError::Service),
            other => other,
        };
        match received {
            Ok(Ok(content)) => {
                let finished = async {
                    writing.finish().await?;
                    let mut connection = self.services.database.read().await?;
                    attachments::complete(&mut connection, id, &name, &content).await?;
                    Ok::<_, ReceiveError<E>>(())
                };
                if let Err(error) = finished.await {
                    self.uncount(content.size).await;
                    return Err(error);
                }
                Ok(Upload { id, outcome: Ok((name, content)) })
            }
            Ok(Err(rejected)) => {
                abandon(id, writing).await;
                Ok(Upload { id, outcome: Err(rejected) })
            }
            Err(failed) => {
                abandon(id, writing).await;
                Err(failed)
            }
        }
    }

    /// Writes a file to the storage. Returns its content, or why it is rejected.
    async fn write_chunks<E>(
        &mut self,
        storage: &Storage,
        name: &FileName,
        writing: &mut UploadWriter,
        chunks: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Result<Result<Content, UserError>, ReceiveError<E>> {
        let (mut size, mut hash, mut kind) = (0_u64, Sha256::new(), TypeDetector::default());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(ReceiveError::Sender)?;
            self.unchecked_bytes += chunk.len() as u64;
            if self.unchecked_bytes >= CHECKED_BYTES {
                storage.require_room().await?;
                self.unchecked_bytes = 0;
            }
            size += chunk.len() as u64;
            if let Err(rejected) = self.check_size(name, size, chunk.len() as u64) {
                return Ok(Err(rejected));
            }
            hash.update(&chunk);
            kind.read(&chunk);
            writing.write(chunk).await?;
        }
        if size == 0 {
            let message = format!("The file `{}` is empty. Attach another one.", name.as_str());
            return Ok(Err(error(UserErrorCode::Required, message)));
        }
        let media_type = kind.media_type().to_owned();
        Ok(Ok(Content { size, media_type, sha256: hash.finalize().into() }))
    }

    /// Counts the bytes of a file that a customer has uploaded. Returns the error if it is too much.
    async fn count(&self, content: Content) -> Result<Result<Content, UserError>, ServiceError> {
        if !self.is_customer {
            return Ok(Ok(content));
        }
        let mut connection = self.services.database.read().await?;
        let (uploader, bytes) = (self.uploader, content.size);
        let counted = rate_limit::count_bytes(&self.services, &mut connection, uploader, bytes);
        Ok(counted.await?.map(|()| content).map_err(|retry_after| {
            too_much_in_a_day(
                self.services.settings.limits.customer_upload_bytes_per_day,
                retry_after,
            )
        }))
    }

    /// Uncounts the bytes of a file that could not be stored.
    async fn uncount(&self, bytes: u64) {
        if !self.is_customer {
            return;
        }
        let uncounting = rate_limit::uncount_bytes(&self.services, self.uploader, bytes);
        // That of the request may be used up.
        if let Err(error) = RequestBudget::uncounted(uncounting).await {
            tracing::warn!(%error, "the bytes of a file that was not stored count as uploaded");
        }
    }

    /// Checks the size of a file so far, and counts its latest chunk towards the total.
    fn check_size(&mut self, name: &FileName, size: u64, chunk: u64) -> Result<(), UserError> {
        let Limits { max_file_bytes, max_total_bytes, .. } = self.services.file_limits();
        if size > max_file_bytes {
            let message = format!(
                "The file `{}` is larger than {max_file_bytes} bytes. Attach a smaller one.",
                name.as_str()
            );
            return Err(error(UserErrorCode::TooLarge, message));
        }
        let Some(remaining) = self.remaining_bytes.checked_sub(chunk) else {
            return Err(too_large_together(FIELD, max_total_bytes));
        };
        self.remaining_bytes = remaining;
        Ok(())
    }
}

/// Checks that the storage is that of the installation. In another one, such as the folder of a disk
/// that is not mounted, files would be lost, and would count as deleted.
async fn require_own(services: &Services, storage: &Storage) -> Result<(), ServiceError> {
    let expected = installation::own_storage(&mut *services.database.read().await?).await?;
    Ok(storage.require(&expected).await?)
}

fn error(code: UserErrorCode, message: impl Into<String>) -> UserError {
    UserError::new(FIELD, code, message)
}

/// Creates the error for files that are too large together.
pub(super) fn too_large_together(field: &'static str, max: u64) -> UserError {
    let message = format!(
        "The files together are larger than {max} bytes. Attach fewer files, or add some of them \
         with another comment."
    );
    UserError::new(field, UserErrorCode::TooLarge, message)
}

fn too_many_unused(max: u32) -> UserError {
    let message = format!(
        "At most {max} files of one account can be uploading at a time, or wait to be attached. \
         Send your text without files, or try again when your other uploads have ended."
    );
    error(UserErrorCode::TooMany, message)
}

fn too_much_in_a_day(max: u64, retry_after: TimeDelta) -> UserError {
    // Rounded up, so that a file of this size is accepted then.
    let minutes = retry_after.num_minutes() + 1;
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    let message = format!(
        "You have uploaded as much as is accepted from you at once ({max} bytes). Send your text \
         without files, or try again in {minutes} {unit}."
    );
    error(UserErrorCode::TooMany, message)
}

fn not_available() -> UserError {
    error(
        UserErrorCode::NotAvailable,
        "This installation does not support attachments. Send your text without files. The \
         operator can set storage.folder or storage.s3 to support them.",
    )
}

async fn abandon(id: AttachmentId, writing: UploadWriter) {
    if let Err(error) = writing.abandon().await {
        tracing::warn!(%error, attachment = %id.0, "discarding an unfinished upload failed");
    }
}

/// Adds the errors of rejected files to those of an input: of each file that its error names, or else
/// the first.
pub(super) fn validate(validation: &mut Validation, uploads: &[Upload]) {
    let errors = uploads.iter().filter_map(|upload| upload.outcome.as_ref().err());
    for (place, error) in errors.enumerate() {
        // One that names no position stands for all.
        if place == 0 || error.position.is_some() {
            validation.add(error.clone());
        }
    }
}

/// Returns texts that identify the files of an input, for
/// [`fingerprint`](super::idempotency::fingerprint).
pub(super) fn fingerprints(uploads: &[Upload]) -> Vec<String> {
    let files = uploads.iter().filter_map(|upload| upload.outcome.as_ref().ok());
    files.map(|(name, content)| format!("{:?} {}", content.sha256, name.as_str())).collect()
}

/// Returns the ids of uploaded files.
pub(super) fn ids(uploads: &[Upload]) -> Vec<AttachmentId> {
    uploads.iter().map(|upload| upload.id).collect()
}

/// Locks files that a transaction is going to attach. Call this before the key is claimed: the statement
/// of a group locks them in this order.
pub(super) async fn lock(db: &mut Connection, files: &[AttachmentId]) -> Result<(), DbError> {
    if files.is_empty() { Ok(()) } else { attachments::lock(db, files).await }
}

/// Attaches uploaded files to a ticket's description or to a comment. Call this in the
/// transaction that creates it.
///
/// # Errors
/// Returns a user error if a file is already attached or has been deleted.
pub(super) async fn attach(
    db: &mut Connection,
    uploader: AccountId,
    files: &[AttachmentId],
    ticket: TicketId,
    comment: Option<CommentId>,
) -> Result<(), ServiceError> {
    for (position, &file) in (0_i16..).zip(files) {
        if !attachments::attach(db, uploader, file, position, (ticket, comment)).await? {
            let message = "A file is already attached to something else, or has been deleted. \
                           Upload it again.";
            // A file that was sent with the request is attached to nothing yet.
            return Err(error(UserErrorCode::Expired, message).at("uploadedFileIds").into());
        }
    }
    Ok(())
}

/// Deletes files that were uploaded more than a day ago and not attached, and redacted ones that
/// are left. Several nodes may run this at the same time: once a file is marked for deletion it can
/// no longer be attached.
///
/// # Errors
/// Returns an error if the database failed, or if the storage failed to delete some files. A
/// later call tries those again.
pub async fn delete_unattached(services: &Services) -> Result<(), ServiceError> {
    if services.storage.is_none() {
        return Ok(());
    }
    let mut failed = None;
    loop {
        let now = services.ambient.now();
        let mut connection = services.database.read().await?;
        let marked = attachments::mark_for_deletion(&mut connection, now).await?;
        drop(connection);
        if marked.is_empty() {
            return failed.map_or(Ok(()), Err);
        }
        if let Err(error) = delete_marked(services, marked).await {
            failed = Some(error);
        }
    }
}

/// Deletes the bytes of a file that is marked for deletion. After a failure, [`delete_unattached`]
/// tries again.
pub(super) async fn delete_soon(services: &Services, id: AttachmentId) {
    if let Err(error) = delete_marked(services, vec![id]).await {
        tracing::warn!(%error, attachment = %id.0, "deleting a file failed; it is tried again");
    }
}

/// Deletes files that are marked for deletion. Continues after a failure of the storage.
async fn delete_marked(services: &Services, marked: Vec<AttachmentId>) -> Result<(), ServiceError> {
    let Some(storage) = services.storage.as_ref().filter(|_| !marked.is_empty()) else {
        return Ok(());
    };
    require_own(services, storage).await?;
    let mut failed = None;
    for id in marked {
        // The row goes last, so that a deletion that fails is tried again.
        match storage.delete(id).await {
            Ok(()) => attachments::delete(&mut *services.database.read().await?, id).await?,
            Err(error) => failed = Some(error.into()),
        }
    }
    failed.map_or(Ok(()), Err)
}
